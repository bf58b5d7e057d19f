"""From a restored crop to what is blended into the frame: mask, colour match, weights.

Everything is on the crop's own grid and the mask never changes, so nothing can flicker at its edge.
Only new colours follow the face's outline in each frame, or they would lie on the wall behind it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.frames import LUMA_601, Patch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Tasks

    Picture = NDArray[np.float32]

# Fractions of the crop's side. The template has the eyes at y 0.47 and the mouth at y 0.72; the
# mask reaches from the hairline to below the chin, both whole, and from ear to ear.
MASK_CENTRE = (0.5, 0.52)
MASK_RADII = (0.46, 0.46)  # where the weight reaches 0
FEATHER = 0.2  # share of the radii over which the weight falls from 1 to 0
ROUNDNESS = 2.6  # exponent of the superellipse; 2 = ellipse
# New colours go to the middle of the face and, up to an oval around it, to what is about as bright.
OVAL = ((0.5, 0.55), (0.36, 0.40), 0.35, 2.2)  # centre, radii, feather, roundness, as above
CORE = ((0.5, 0.55), (0.2, 0.28), 0.6, 2.2)
TAPER = 0.55  # share of the width that is gone at the chin
DARK, BRIGHT = (0.6, 0.9), (2.0, 1.6)  # luma over the face's: from no colour to full colour
SQUARE = ((0.5, 0.5), (0.49, 0.49), 0.12, 12.0)  # nearly the whole crop: where holes are filled
GUIDE_RADIUS, GUIDE_FLOOR = 3 / 64, 0.0005  # of the side; variance of luma (0..1) that is no edge
MATCH_SIGMA = 1 / 12  # low frequencies that are taken from the source
CHROMA_SIGMA = 1.5 / 256  # of the side: films have chroma at half of the resolution anyway
HOLE_GROW = 0.012  # holes are grown by this before feathering: their rims are spoilt, too
GREY = 4 / 255  # rms distance from the mean tint below which a picture has no colour
SPARSE = 4  # every fourth pixel tells the tint


def soft_mask(size: int) -> Picture:
    """float32 [size, size]: 1 on the face, falling smoothly to exactly 0 before the border."""
    return _superellipse(size, MASK_CENTRE, MASK_RADII, FEATHER, ROUNDNESS)


def hole_mask(size: int) -> Picture:
    """float32 [size, size]: where holes are filled: 1 nearly everywhere, 0 on the border."""
    return _superellipse(size, *SQUARE)


def skin_mask(picture: Bytes, landmarks: Floats | None = None) -> Bytes:
    """uint8 [S, S], 0..255: where a face in uint8 RGB [S, S, 3] takes new colours.

    landmarks: float64 [5, 2] in pixels of the picture, for the tilt of the head
    What is much darker or brighter than the face (hair, wall, collar) takes none, and a guided
    filter (He et al. 2010, equations 5, 6 and 8) lets the weights follow the edges of luma. Nowhere
    above `soft_mask`. It works at a quarter of the size, so noise does not reach it.
    """
    size = len(picture)
    small = max(size // 4, 1)
    luma = np.asarray(picture @ LUMA_601, np.float32) / np.float32(255)
    guide = _resized(luma, small, cv2.INTER_AREA)
    lean = 0.0 if landmarks is None else lean_of(landmarks)
    oval, core = _egg(small, *OVAL, lean=lean), _egg(small, *CORE, lean=lean)
    ratio = guide / np.float32(max(float(np.median(guide[core > 0.9])), 1e-3))
    alike = _rise(ratio, *DARK) * _rise(ratio, *BRIGHT)
    weight = np.asarray(oval * (core + (1 - core) * alike), np.float32)
    bent = _resized(_guided(weight, guide), size, cv2.INTER_LINEAR)
    return np.rint(np.clip(bent, 0, 1) * soft_mask(size) * 255).astype(np.uint8)


def lean_of(landmarks: Floats) -> float:
    """By how many radians the line from eyes to mouth, of points [5, 2], leans to the right."""
    right, down = landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)
    return float(np.arctan2(right, max(down, 1e-6)))


def _resized(picture: Picture, size: int, interpolation: int) -> Picture:
    return np.asarray(cv2.resize(picture, (size, size), interpolation=interpolation), np.float32)


def _rise(values: Picture, none: float, full: float) -> Picture:
    """0 at `none`, 1 at `full`, smooth between."""
    share = np.clip((values - none) / (full - none), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _guided(weight: Picture, guide: Picture) -> Picture:
    """The guided filter: locally the weight that is a linear function of the guide."""
    reach = 2 * max(1, round(GUIDE_RADIUS * len(guide))) + 1

    def mean(values: NDArray[np.floating]) -> Picture:
        return np.asarray(cv2.blur(values, (reach, reach)), np.float32)

    middle, level = mean(guide), mean(weight)
    slope = (mean(guide * weight) - middle * level) / (mean(guide**2) - middle**2 + GUIDE_FLOOR)
    return np.asarray(mean(slope) * guide + mean(level - slope * middle), np.float32)


def _egg(
    size: int,
    centre: tuple[float, float],
    radii: tuple[float, float],
    feather: float,
    roundness: float,
    *,
    lean: float,
) -> Picture:
    """As `_superellipse`, but narrower towards the chin and leaning."""
    axis = (np.arange(size) + 0.5) / size
    right, down = axis[None, :] - centre[0], axis[:, None] - centre[1]
    x = right * np.cos(lean) - down * np.sin(lean)
    y = (right * np.sin(lean) + down * np.cos(lean)) / radii[1]
    x = x / (radii[0] * (1 - TAPER * np.clip(y, 0, 1)))
    return _falling(np.abs(x), np.abs(y), feather, roundness)


def _falling(x: Floats, y: Floats, feather: float, roundness: float) -> Picture:
    """1 inside the superellipse around 0 with radii 1, a cosine fall over `feather`, 0 outside."""
    radius = (x**roundness + y**roundness) ** (1 / roundness)
    fall = np.clip((1 - radius) / feather, 0, 1)
    return ((1 - np.cos(np.pi * fall)) / 2).astype(np.float32)


@lru_cache(maxsize=8)
def _superellipse(
    size: int,
    centre: tuple[float, float],
    radii: tuple[float, float],
    feather: float,
    roundness: float,
) -> Picture:
    """float32 [size, size], read-only: 1 inside, a cosine fall over `feather` of the radii, 0."""
    axis = (np.arange(size) + 0.5) / size
    x = np.abs(axis - centre[0])[None, :] / radii[0]
    y = np.abs(axis - centre[1])[:, None] / radii[1]
    mask = _falling(x, y, feather, roundness)
    mask.flags.writeable = False
    return mask


def match_colour(
    restored: Picture, source: Picture, *, known: Picture | None = None, luma_only: bool = False
) -> Picture:
    """The restored picture with the source's low frequencies: no seam, no drift of brightness.

    restored, source: float32 [S, S, 3], 0..1;  known: float32 [S, S], 0 where the source must not
    count (holes);  luma_only: keep the restored colours (colorization)
    """
    difference = source - restored
    if luma_only:
        difference = np.repeat((difference @ LUMA_601)[..., None], 3, axis=-1)
    if known is None:
        return np.add(restored, _low_pass(difference), dtype=np.float32)
    # normalised convolution: holes borrow the match of their surroundings
    weight = np.maximum(_low_pass(known), 1e-4)[..., None]
    match = _low_pass(difference * known[..., None]) / weight
    return np.add(restored, match, dtype=np.float32)


def tint_of(picture: Picture, *, known: NDArray[np.bool_] | None = None) -> Picture | None:
    """The one tint [3] (colour minus luma) of a picture without colours, else None.

    picture: float32 [S, S, 3], 0..1;  known: bool [S, S], the pixels that count
    """
    few = picture[::SPARSE, ::SPARSE].reshape(-1, 3)
    if known is not None:
        few = few[known[::SPARSE, ::SPARSE].ravel()]
    if not len(few):
        return None
    chroma = few - (few @ LUMA_601)[:, None]
    tint = chroma.mean(axis=0)
    off = np.sqrt(((chroma - tint) ** 2).mean())
    return np.asarray(tint, np.float32) if off < GREY else None


def without_new_colour(
    new: Picture, old: Picture, *, known: NDArray[np.bool_] | None = None
) -> Picture:
    """`new`, in the tint of `old` where that is black and white (or sepia); both [S, S, 3]."""
    tint = tint_of(old, known=known)
    return new if tint is None else np.add((new @ LUMA_601)[..., None], tint, dtype=np.float32)


def _with_smooth_chroma(picture: Picture) -> Picture:
    """Chroma without what rounding it to 8 bits left, which trembles from frame to frame."""
    luma = (picture @ LUMA_601)[..., None]
    sigma = max(len(picture) * CHROMA_SIGMA, 0.1)
    smooth = cv2.GaussianBlur(picture - luma, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.add(luma, smooth, dtype=np.float32)


def _low_pass(picture: Picture) -> Picture:
    """Gaussian of MATCH_SIGMA, computed at a quarter of the size, where it loses nothing."""
    size = len(picture)
    small = _resized(picture, size // 4, cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), size * MATCH_SIGMA / 4, borderType=cv2.BORDER_REFLECT)
    return _resized(np.asarray(small, np.float32), size, cv2.INTER_LINEAR)


def make_patch(
    restored: Bytes,
    source: Bytes,
    tasks: Tasks,
    *,
    holes: NDArray[np.bool_] | None = None,
    skin: Bytes | None = None,
    strength: float = 1.0,
) -> Patch:
    """What to blend for one face in one frame.

    restored, source: uint8 RGB [S, S, 3];  holes: bool [S, S];  skin: uint8 [S, S], how much of new
    colours is used, None = all under the mask;  strength: 0..1, scales all weights
    bfr replaces luma and chroma under the mask; color replaces chroma on the skin only; inpaint
    replaces the holes, grown and feathered, nearly up to the crop's border. Without color a black-
    and-white source stays so.
    """
    mask = soft_mask(len(source))
    new, old = (p.astype(np.float32) / np.float32(255) for p in (restored, source))
    filled = _soft_holes(holes) if tasks.inpaint and holes is not None else None
    if tasks.color:
        new = _with_smooth_chroma(new)
    else:
        new = without_new_colour(new, old, known=None if filled is None else filled == 0)
    if tasks.bfr:
        known = None if filled is None else 1 - filled
        new = match_colour(new, old, known=known, luma_only=tasks.color)
    nothing = np.zeros_like(mask)
    inside = nothing if filled is None else filled * hole_mask(len(source))
    luma = np.maximum(mask, inside) if tasks.bfr else inside
    chroma = luma
    if tasks.color:
        chroma = mask if skin is None else np.minimum(skin / np.float32(255), mask)
    return Patch(
        rgb=np.clip(new, 0, 1).astype(np.float32, copy=False),
        source=old,
        detail=None if filled is None else 1 - filled,
        luma=luma * np.float32(strength),
        chroma=chroma * np.float32(strength),
    )


def _soft_holes(holes: NDArray[np.bool_]) -> Picture:
    """float32 [S, S]: 1 in the holes and on their rims, feathered outside."""
    size = len(holes)
    reach = max(1, round(HOLE_GROW * size))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * reach + 1, 4 * reach + 1))
    grown = np.asarray(cv2.dilate(holes.astype(np.float32), kernel), np.float32)
    soft = np.asarray(cv2.GaussianBlur(grown, (0, 0), reach / 2), np.float32)
    return np.maximum(soft, holes.astype(np.float32))
