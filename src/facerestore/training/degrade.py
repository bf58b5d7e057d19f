"""Make good clips bad: what blind restoration, colorization and inpainting have to undo.

Every draw comes from the generator passed in, so a seed gives the same clip again.
Frames are uint8 RGB [F, S, S, 3] throughout. The parts follow SVFR.md's source, the SVFR paper
section 5.1 (random blur, noise, resize, video compression); the ranges are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.video.compress import recompress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Tasks

LUMA_601 = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as PIL's mode L
WHITE = 255  # what a hole is filled with (released SVFR code)
INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


@dataclass(frozen=True)
class BlindDegradation:
    """One draw of blur, resize, noise and compression, the same for all frames of a clip.

    blur_sigma: gaussian blur in pixels of a 256-px crop;  motion: length of a motion blur in px
    shrink:     the clip is reduced by this factor and enlarged again
    noise:      standard deviation of gaussian noise in 8-bit codes; grain: the same in all channels
    codec, quantizer: video compression at the reduced size, or None
    """

    blur_sigma: float
    motion: int
    motion_angle: float
    shrink: float
    shrink_interpolation: int
    grow_interpolation: int
    noise: float
    grain: bool
    codec: str | None
    quantizer: int


@dataclass(frozen=True)
class Severity:
    """How bad a clip can get: the upper ends of the ranges of BlindDegradation."""

    blur_sigma: float
    shrink: float
    noise: float
    motion: float  # share of clips with motion blur
    codec: float  # share of clips that are compressed


# Most clips are like films that people bring; the worst teach little, the best to leave alone.
SEVERITIES = (
    (0.15, Severity(blur_sigma=0.6, shrink=1.0, noise=3, motion=0, codec=0)),
    (0.6, Severity(blur_sigma=2.0, shrink=3.0, noise=8, motion=0.1, codec=0.6)),
    (0.25, Severity(blur_sigma=3.0, shrink=6.0, noise=14, motion=0.15, codec=0.7)),
)


def draw_blind(rng: np.random.Generator) -> BlindDegradation:
    """Draw from the ranges the bundled model is trained on."""
    at = rng.choice(len(SEVERITIES), p=[share for share, _ in SEVERITIES])
    worst = SEVERITIES[at][1]
    codec = str(rng.choice(["libx264", "mpeg4", "mpeg2video"]))
    return BlindDegradation(
        blur_sigma=float(rng.uniform(0.1, worst.blur_sigma)),
        motion=int(rng.integers(3, 12)) if rng.random() < worst.motion else 0,
        motion_angle=float(rng.uniform(0, 180)),
        shrink=float(np.exp(rng.uniform(0, np.log(worst.shrink)))),
        shrink_interpolation=int(rng.choice(INTERPOLATIONS)),
        grow_interpolation=int(rng.choice(INTERPOLATIONS[:2])),
        noise=float(rng.uniform(0, worst.noise)) if rng.random() < 0.7 else 0.0,
        grain=bool(rng.random() < 0.4),
        codec=codec if rng.random() < worst.codec else None,
        quantizer=int(rng.integers(20, 38) if codec == "libx264" else rng.integers(2, 13)),
    )


def degrade_blind(frames: Bytes, draw: BlindDegradation, rng: np.random.Generator) -> Bytes:
    """Blur, shrink, add noise, compress, enlarge: [F, S, S, 3] -> the same shape."""
    size = frames.shape[1]
    scale = size / 256
    small = max(16, round(size / draw.shrink / 2) * 2)
    bad = np.stack([_shrink(_blur(frame, draw, scale), small, draw) for frame in frames])
    bad = _add_noise(bad, draw, rng)
    if draw.codec:
        bad = recompress(bad, codec=draw.codec, quantizer=draw.quantizer)
    grown = [cv2.resize(f, (size, size), interpolation=draw.grow_interpolation) for f in bad]
    return np.stack(grown)


def _blur(frame: Bytes, draw: BlindDegradation, scale: float) -> Bytes:
    if draw.motion:
        kernel = _motion_kernel(draw.motion, draw.motion_angle)
        frame = np.asarray(cv2.filter2D(frame, -1, kernel), np.uint8)
    if draw.blur_sigma * scale < 0.2:
        return frame
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), draw.blur_sigma * scale), np.uint8)


def _motion_kernel(length: int, angle: float) -> NDArray[np.float32]:
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    centre = ((length - 1) / 2, (length - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, angle, 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return kernel / np.float32(max(float(kernel.sum()), 1e-6))


def _shrink(frame: Bytes, small: int, draw: BlindDegradation) -> Bytes:
    if small >= len(frame):
        return frame
    picture = cv2.resize(frame, (small, small), interpolation=draw.shrink_interpolation)
    return np.asarray(picture, np.uint8)


def _add_noise(frames: Bytes, draw: BlindDegradation, rng: np.random.Generator) -> Bytes:
    if draw.noise == 0:
        return frames
    shape = (*frames.shape[:3], 1 if draw.grain else 3)
    noise = rng.standard_normal(shape, dtype=np.float32) * draw.noise
    return np.clip(frames + noise + 0.5, 0, 255).astype(np.uint8)


def to_grey(frames: Bytes) -> Bytes:
    """Luma of each pixel (ITU-R BT.601, rounded), repeated to three channels."""
    luma = np.clip(frames @ LUMA_601 + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def draw_holes(n_frames: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """bool [F, S, S]: brush strokes or rectangles, half of the time drifting through the clip."""
    mask = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        (_draw_stroke if rng.random() < 0.7 else _draw_box)(mask, rng)
    drift = rng.uniform(-0.02, 0.02, 2) * size if rng.random() < 0.5 else np.zeros(2)
    moved = [_translate(mask, drift * i) for i in range(n_frames)]
    return np.stack(moved) > 0


def _draw_stroke(mask: Bytes, rng: np.random.Generator) -> None:
    size = len(mask)
    points = [rng.uniform(0.1, 0.9, 2)]
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 6))):
        angle += rng.uniform(-1.2, 1.2)
        step = rng.uniform(0.05, 0.25) * np.array([np.cos(angle), np.sin(angle)])
        points.append(points[-1] + step)
    line = np.round(np.array(points) * size).astype(np.int32)
    cv2.polylines(mask, [line], False, 255, thickness=max(1, int(size * rng.uniform(0.01, 0.09))))


def _draw_box(mask: Bytes, rng: np.random.Generator) -> None:
    size = len(mask)
    x, y = (rng.uniform(0, 0.8, 2) * size).astype(int)
    width, height = (rng.uniform(0.05, 0.35, 2) * size).astype(int)
    mask[y : y + height, x : x + width] = 255


def _translate(mask: Bytes, shift: NDArray[np.float64]) -> Bytes:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    size = (mask.shape[1], mask.shape[0])
    return np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)


def degrade(
    clean: Bytes, tasks: Tasks, rng: np.random.Generator
) -> tuple[Bytes, NDArray[np.bool_] | None]:
    """What the model is given for a clean clip [F, S, S, 3], and the holes [F, S, S] or None.

    Order of the released code: degrade, grey, then white where the holes are.
    """
    bad = degrade_blind(clean, draw_blind(rng), rng) if tasks.bfr else clean
    if tasks.color:
        bad = to_grey(bad)
    if not tasks.inpaint:
        return bad, None
    holes = draw_holes(len(clean), clean.shape[1], rng)
    return np.where(holes[..., None], np.uint8(WHITE), bad), holes
