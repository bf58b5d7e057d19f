"""The baseline that needs no weights: what OpenCV has for noise, blur and holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Tasks

SIZE = 256  # px of the crops: those of the bundled model, so that both are shown the same
LEAST_SIGMA = 1.0  # in codes; below that there is no noise to take away
SHARPEN, SHARPEN_SIGMA = 0.5, 1.5  # share of the detail that is added, and how fine it is, in px
FILL_RADIUS = 3  # px that Telea's method looks at around each pixel it fills
LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def classic(frame: Bytes, tasks: Tasks, hole: NDArray[np.bool_] | None) -> Bytes:
    """Fill the hole of a picture uint8 RGB [S, S, 3], then take its noise away and sharpen it.

    inpaint: Telea's fast marching (2004).  bfr: non-local means (Buades, Coll and Morel 2005) as
    strong as the noise, then unsharp masking.  There is nothing here for colour.
    """
    if tasks.inpaint and hole is not None:
        filled = cv2.inpaint(frame, hole.astype(np.uint8), FILL_RADIUS, cv2.INPAINT_TELEA)
        frame = np.asarray(filled, np.uint8)
    return unsharp(denoised(frame)) if tasks.bfr else frame


def denoised(frame: Bytes) -> Bytes:
    """Non-local means, as strong as `noise_sigma` says; without noise the picture as it is."""
    sigma = noise_sigma(frame)
    if sigma < LEAST_SIGMA:
        return frame
    return np.asarray(cv2.fastNlMeansDenoisingColored(frame, None, sigma, sigma), np.uint8)


def unsharp(frame: Bytes) -> Bytes:
    """Unsharp masking: half of what a Gaussian blur takes away is added."""
    blurred = cv2.GaussianBlur(frame, (0, 0), SHARPEN_SIGMA)
    return np.asarray(cv2.addWeighted(frame, 1 + SHARPEN, blurred, -SHARPEN, 0), np.uint8)


def noise_sigma(frame: Bytes) -> float:
    """Standard deviation of the luma's noise in codes, by Immerkaer's mask (1996)."""
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inner = cv2.filter2D(luma, cv2.CV_32F, LAPLACE)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(inner).mean())
