"""New colours, smoothed in time along the motion, so that they do not flicker.

Of whole pictures, which are then laid over the picture's own brightness, and of clips of faces.

Colours of whole pictures are CIE L*a*b*'s a and b, as OpenCV scales them, those of clips Cr and Cb:
float32, about -128..127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

    Picture = NDArray[np.float32]

MEMORY_SECONDS = 0.4  # colours of so long ago count 1/e of what they did
LEAST_SECONDS = 1e-3  # between two pictures, whatever their times say
STILL = 1.0  # codes by which motion must explain brightness better than none
SAME = 10.0  # codes by which brightness may differ where two pictures show the same thing
LOOK = 9  # px, side of the square in which brightness is compared, so that grain does not matter
MOST = 127.0  # of a and b
CLIP_FRAMES = 12  # in a clip of a face, colours so many frames away count 1/e
HELD = 1.0  # codes by which a colour has to change before another code is written


@dataclass(frozen=True)
class Colours:
    """The colours of one picture, on a small square grid.

    grey: uint8 [S, S], its brightness;  ab: float32 [S, S, 2], or with weights
    [S, S, 3];  seconds: when it is shown
    """

    grey: Bytes
    ab: Picture
    seconds: float

    def __post_init__(self) -> None:
        side = len(self.grey)
        shapes = (side, side, 2), (side, side, 3)
        if self.grey.shape != (side, side) or self.ab.shape not in shapes:
            raise ValueError(
                f"expected grey [S, S] and ab [S, S, 2], got {self.grey.shape}, {self.ab.shape}"
            )


def steadied(new: Colours, before: Colours | None) -> Colours:
    """New colours, mixed with those of the picture before where both show the same thing.

    What is seen in both is found by optical flow (Kroeger et al. 2016) and by how alike its
    brightness is. Each value lies between those it was mixed of. before: None after a cut
    """
    if before is None:
        return new
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = np.asarray(search.calc(new.grey, before.grey, None), np.float32)  # pyright: ignore[reportCallIssue, reportArgumentType]
    rows, columns = np.indices(new.grey.shape, np.float32)
    at = columns + flow[..., 0], rows + flow[..., 1]
    old = cv2.remap(before.ab, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    there = np.asarray(
        cv2.remap(before.grey, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    off, off_still = _off(new.grey, there), _off(new.grey, before.grey)
    still = off_still <= off + STILL  # noise moves, too, for optical flow
    old, off = np.where(still[..., None], before.ab, old), np.where(still, off_still, off)
    passed = max(new.seconds - before.seconds, LEAST_SECONDS)
    keep = np.float32(np.exp(-passed / MEMORY_SECONDS)) * np.exp(-((off / SAME) ** 2))[..., None]
    return Colours(new.grey, np.asarray(new.ab + keep * (old - new.ab), np.float32), new.seconds)


def _off(grey: Bytes, other: Bytes) -> Picture:
    """By how many codes two pictures differ around each pixel."""
    apart = cv2.absdiff(grey, other).astype(np.float32)
    return np.asarray(cv2.blur(apart, (LOOK, LOOK)), np.float32)


def steady_clip(frames: Bytes, skins: Bytes) -> tuple[Bytes, Bytes]:
    """A coloured clip, uint8 RGB [F, S, S, 3]: colours averaged with those before and after.

    skins: uint8 [F, S, S], how much of the colours is used; averaged with them
    Both ways alike, so nothing lags behind. Colours are Cr and Cb of BT.601, as films have them,
    and luma stays: in L*a*b* they would tremble with the noise of luma. All are whole codes, and a
    colour keeps its code as long as that is nearly right: rounding trembles more than the colours.
    """
    step = MEMORY_SECONDS / CLIP_FRAMES
    forth: list[NDArray[np.float16]] = []
    before: Colours | None = None
    for number, (picture, skin) in enumerate(zip(frames, skins, strict=True)):
        before = steadied(_seen(picture, skin, number * step), before)
        forth.append(before.ab.astype(np.float16))  # kept for the whole clip
    result, weights = np.empty_like(frames), np.empty_like(skins)
    after: Colours | None = None
    held: Picture | None = None
    for number in reversed(range(len(frames))):
        seen = _seen(frames[number], skins[number], -number * step)
        after = steadied(seen, after)
        held = _held(np.asarray((forth[number] + after.ab) / 2, np.float32), held)
        codes = np.dstack([seen.grey, held[..., :2] + 127.5])
        rgb = cv2.cvtColor(np.asarray(codes / 255, np.float32), cv2.COLOR_YCrCb2RGB) * 255
        result[number] = np.clip(np.rint(rgb), 0, 255)
        weights[number] = held[..., 2]
    return result, weights


def _held(new: Picture, before: Picture | None) -> Picture:
    """Whole codes: those of the picture before unless they are further than HELD from the new."""
    whole = np.asarray(np.rint(new), np.float32)
    return whole if before is None else np.where(np.abs(new - before) > HELD, whole, before)


def _seen(picture: Bytes, skin: Bytes, seconds: float) -> Colours:
    """Cr, Cb and the weights of a picture, and its luma in whole codes."""
    scaled = picture.astype(np.float32) / 255
    parts = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2YCrCb), np.float32) * 255
    grey = np.clip(np.rint(parts[..., 0]), 0, 255).astype(np.uint8)
    colours = np.dstack([parts[..., 1:] - np.float32(127.5), skin])
    return Colours(grey, np.asarray(colours, np.float32), seconds)


def coloured(grey: Picture, ab: Picture) -> Picture:
    """float32 RGB [H, W, 3], 0..1: brightness [H, W], 0..1, in colours [h, w, 2] of any size."""
    picture = np.repeat(grey[..., None], 3, axis=-1)
    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2Lab), np.float32)
    size = grey.shape[1], grey.shape[0]
    lab[..., 1:] = cv2.resize(np.clip(ab, -MOST, MOST), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32)
