"""Inpainting masks follow the film's geometry: cut out like the face they lie on."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.video.simple import read_mask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.frames import Floats
    from facerestore.video.reader import FilmInfo

    Mask = NDArray[np.bool_]

MARGIN = 0.6  # px of the crop, but at least one of the film; more takes away what is known
SHAPE_TOLERANCE = 0.02  # of the aspect ratio


def check_mask(path: Path, info: FilmInfo) -> None:
    """Raise BadInputError unless the mask can be read and has the film's shape."""
    height, width = next(read_mask(path)).shape
    shape, wanted = width / height, info.display_width / info.display_height
    if abs(shape / wanted - 1) > SHAPE_TOLERANCE:
        raise BadInputError(
            f"{path}: mask of {width}x{height} does not have the shape of the film's picture, "
            f"{info.display_width}x{info.display_height}; draw it on a frame of the film"
        )


def masks_from(path: Path, info: FilmInfo, start_seconds: float | None) -> Iterator[Mask]:
    """The masks of the film's frames from `start_seconds` on, bool [h, w], without end."""
    skipped = round((start_seconds or 0) * info.rate)
    return islice(read_mask(path), skipped, None)


def crop_holes(
    mask: Mask, matrix: Floats, info: FilmInfo, size: int, *, wider: bool = False
) -> Mask:
    """bool [size, size]: the part of a mask that `matrix` [2, 3] (crop px -> display) describes.

    wider: by MARGIN. What lies beside a hole has its colour mixed in, by subsampled chroma and by
    cutting the crop out.
    """
    height, width = mask.shape
    scale = np.array([width / info.display_width, height / info.display_height])
    if wider:
        step = float(np.hypot(*matrix[:, 0]))  # px of the film a px of the crop
        reach = np.maximum(1, np.rint(max(1.0, MARGIN * step) * scale)).astype(int)
        kernel = np.ones(2 * reach[::-1] + 1, np.uint8)
        mask = np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)) > 0
    grid = matrix * scale[:, None]
    grid[:, 2] += grid[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(mask.astype(np.float32), grid, (size, size), flags=flags)
    return np.asarray(picture) > 0.5
