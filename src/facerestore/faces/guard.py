"""The identity guard: a restored face that is somebody else's counts less, smoothly in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facerestore.frames import Floats

# Cosines of ArcFace vectors: different people lie around 0 and hardly ever above 0.3; the paper's
# restorations reach 0.8 to 0.98 of the clean face (SVFR paper, table 2)
FLOOR = 0.35  # below it a frame is reported and blended
NOBODY = 0.1  # at and below it nothing of the restored face is used
SMOOTH_SECONDS = 0.12  # standard deviation of the smoothing


def strength_for(likeness: Floats) -> Floats:
    """1 from FLOOR up, 0 at NOBODY and below, linear between; same shape."""
    return np.clip((likeness - NOBODY) / (FLOOR - NOBODY), 0.0, 1.0)


def steady_strengths(strengths: Floats, *, rate: float) -> Floats:
    """Strengths [n] smoothed without lag so that nothing pops; never above what a frame allows.

    rate: entries a second
    """
    from scipy.ndimage import gaussian_filter1d, minimum_filter1d

    deviation = SMOOTH_SECONDS * rate
    lowest = minimum_filter1d(strengths, 2 * int(np.ceil(2 * deviation)) + 1, mode="nearest")
    smooth = gaussian_filter1d(lowest.astype(np.float64), deviation, mode="nearest", truncate=2.0)
    return np.minimum(smooth, strengths)
