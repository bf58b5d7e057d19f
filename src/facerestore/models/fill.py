"""Holes filled with a smooth surface: where a model that fills holes starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

ROUNDS = 4  # of smoothing at each size; more come closer to the membrane and change little
CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


def fill_holes(frames: Bytes, holes: NDArray[np.bool_]) -> Bytes:
    """uint8 RGB [F, H, W, 3] with what is in `holes` [F, H, W] replaced, frame by frame.

    Like a membrane spanned over each hole (the Laplace equation), solved roughly from coarse to
    fine. Nothing outside the holes changes; a frame that is all hole becomes grey.
    """
    filled = frames.copy()
    for picture, hole in zip(filled, holes, strict=True):
        if hole.all():
            picture[:] = 128
        elif hole.any():
            smooth = _filled(picture.astype(np.float32), ~hole)
            picture[hole] = np.clip(smooth[hole] + 0.5, 0, 255).astype(np.uint8)
    return filled


def _filled(picture: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [H, W, 3]: the unknown pixels from a picture of half the size, then smoothed."""
    if known.all():
        return picture
    height, width = known.shape
    half = (max(1, width // 2), max(1, height // 2))
    weight = known.astype(np.float32)
    some = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(picture * weight[..., None], half, interpolation=cv2.INTER_AREA)
    small = np.asarray(small / np.maximum(some, 1e-6)[..., None], np.float32)
    coarse = cv2.resize(_filled(small, some > 0), (width, height), interpolation=cv2.INTER_LINEAR)
    filled = np.where(known[..., None], picture, coarse)
    for _ in range(ROUNDS):
        around = cv2.filter2D(filled, -1, CROSS, borderType=cv2.BORDER_REPLICATE)
        filled = np.where(known[..., None], picture, around)
    return filled
