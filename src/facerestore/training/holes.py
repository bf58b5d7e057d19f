"""Holes for inpainting: brush strokes and rectangles, still or moving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

MOVING_SHARE = 0.5
STROKE_SHARE = 0.7  # of the shapes; the others are rectangles
MAX_SHAPES = 4
STROKE_WIDTH = (0.01, 0.09)  # of the frame's shorter side
DRIFT = 0.02  # of the shorter side a frame, at most


def draw_holes(
    n_frames: int, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [F, H, W]: brush strokes or rectangles, half of the time drifting through the clip."""
    mask = np.zeros(shape, np.uint8)
    side = min(shape)
    for _ in range(int(rng.integers(1, MAX_SHAPES + 1))):
        (_draw_stroke if rng.random() < STROKE_SHARE else _draw_box)(mask, side, rng)
    moves = rng.random() < MOVING_SHARE
    drift = rng.uniform(-DRIFT, DRIFT, 2) * side if moves else np.zeros(2)
    moved = [_translate(mask, drift * i) for i in range(n_frames)]
    return np.stack(moved) > 0


def _draw_stroke(mask: Bytes, side: int, rng: np.random.Generator) -> None:
    points = [rng.uniform(0.1, 0.9, 2)]
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 6))):
        angle += rng.uniform(-1.2, 1.2)
        step = rng.uniform(0.05, 0.25) * np.array([np.cos(angle), np.sin(angle)])
        points.append(points[-1] + step)
    line = np.round(np.array(points) * mask.shape[::-1]).astype(np.int32)
    width = max(1, int(side * rng.uniform(*STROKE_WIDTH)))
    cv2.polylines(mask, [line], False, 255, thickness=width)


def _draw_box(mask: Bytes, side: int, rng: np.random.Generator) -> None:
    x, y = (rng.uniform(0, 0.8, 2) * mask.shape[::-1]).astype(int)
    width, height = (rng.uniform(0.05, 0.35, 2) * side).astype(int)
    mask[y : y + height, x : x + width] = 255


def _translate(mask: Bytes, shift: NDArray[np.float64]) -> Bytes:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    size = (mask.shape[1], mask.shape[0])
    return np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)
