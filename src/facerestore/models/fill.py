"""Holes filled with a smooth surface: where a model that fills holes starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

AROUND = np.array([1, 2, 3, 2, 1], np.float32) / 9  # weights of the frames around one
ROUNDS = 4  # of smoothing at each size; more come closer to the membrane and change little
CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


def fill_holes(frames: Bytes, holes: NDArray[np.bool_]) -> Bytes:
    """uint8 RGB [F, H, W, 3] of consecutive frames with what is in `holes` [F, H, W] replaced.

    Like a membrane spanned over each hole (the Laplace equation), solved roughly from coarse to
    fine; a frame that is all hole becomes grey. Then each is averaged with the frames around it,
    which steadies it and brings in what a moving hole has shown. Nothing outside the holes changes.
    """
    alone = frames.copy()
    for picture, hole in zip(alone, holes, strict=True):
        if hole.all():
            picture[:] = 128
        elif hole.any():
            smooth = _filled(picture.astype(np.float32), ~hole)
            picture[hole] = np.clip(smooth[hole] + 0.5, 0, 255).astype(np.uint8)
    filled, reach = alone.copy(), len(AROUND) // 2
    for number, (picture, hole) in enumerate(zip(filled, holes, strict=True)):
        if not hole.any():
            continue
        near = np.clip(np.arange(number - reach, number + reach + 1), 0, len(alone) - 1)
        mean = np.einsum("n,npc->pc", AROUND, alone[near][:, hole])
        picture[hole] = (mean + 0.5).astype(np.uint8)
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
