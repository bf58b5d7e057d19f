"""How the released SVFR code cuts faces and prepares frames. For checks only.

The product follows each face and pastes it back instead; see `facerestore.faces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerestore.frames import Bytes, Floats

GROW = 0.4  # crop margin on each side, in sizes of the box
SIZE = 512  # px, of the crops
HOLE = 255  # only exactly white mask pixels are holes
ALIGNED_ROWS, ALIGNED_COLUMNS = slice(0, 224), slice(16, 240)  # cut from a 512 px alignment, too


def union_box(boxes: Sequence[Sequence[float]]) -> Floats:
    """float64 [4], xyxy: the smallest box around all boxes xyxy of a film."""
    every = np.asarray(boxes, np.float64)
    return np.concatenate([every[:, :2].min(axis=0), every[:, 2:].max(axis=0)])


def square_crop(union: Floats, *, width: int, height: int) -> tuple[int, int, int, int]:
    """xyxy in pixels: the grown box inside the frame, cut to a square around the box's centre."""
    frame = np.array([width, height], np.float64)
    size = union[2:] - union[:2]
    low = np.clip(union[:2] - GROW * size, 0, frame)
    high = np.clip(union[2:] + GROW * size, 0, frame)
    side = float((high - low).min())
    corner = np.clip((union[:2] + union[2:]) / 2 - side / 2, low, high - side)
    left, top = (round(v) for v in corner)
    right, bottom = (round(v) for v in corner + side)
    return left, top, right, bottom


def largest_face(boxes_xywh: Sequence[Sequence[float]]) -> int:
    """The face the released code takes: the last one that is larger than the first, else the first.

    It means to take the largest, but compares with the first all the time.
    """
    areas = [w * h for _, _, w, h in boxes_xywh]
    larger = [number for number, area in enumerate(areas) if area > areas[0]]
    return larger[-1] if larger else 0


def resized(picture: Bytes) -> Bytes:
    """uint8 RGB [512, 512, 3] by Pillow's default filter."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE)))


def grey(picture: Bytes) -> Bytes:
    """Pillow's luma, repeated to three channels."""
    from PIL import Image

    return np.repeat(np.asarray(Image.fromarray(picture).convert("L"))[..., None], 3, axis=-1)


def white_holes(picture: Bytes, mask: Bytes) -> Bytes:
    """White where the mask uint8 [512, 512] is exactly 255."""
    return np.where((mask == HOLE)[..., None], np.uint8(HOLE), picture)
