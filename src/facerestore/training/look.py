"""The look of good films: a little soft, a little grain, lightly compressed. It is no damage.

Portraits are sharper and cleaner than the faces of any film. A network that has seen only them
takes the texture of a good film for a fault, and a good face would not come back as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.video.compress import recompress

if TYPE_CHECKING:
    from facerestore.frames import Bytes

SOFT_SHARE, SOFT = 0.35, 0.8  # of the clips; sigma of the blur in px, at most
GRAIN_SHARE, GRAIN, GRAIN_SIZE = 0.5, 2.0, 0.7  # standard deviation in codes; sigma in px, at most
CODED_SHARE, CODED = 0.35, (14, 23)  # CRF of x264


def like_film(clean: Bytes, rng: np.random.Generator) -> Bytes:
    """A clean clip, uint8 RGB [F, H, W, 3] with H and W even, as a good film would show it."""
    frames = clean
    soft = rng.uniform(0.2, SOFT)
    if rng.random() < SOFT_SHARE:
        frames = np.stack([cv2.GaussianBlur(f, (0, 0), soft) for f in frames])
    level, size = rng.uniform(0, GRAIN), rng.uniform(0.2, GRAIN_SIZE)
    if rng.random() < GRAIN_SHARE:
        frames = np.stack([_grainy(f, level, size, rng) for f in frames])
    quantizer = int(rng.integers(*CODED))
    if rng.random() < CODED_SHARE:
        frames = recompress(frames, codec="libx264", quantizer=quantizer)
    return np.asarray(frames, np.uint8)


def _grainy(picture: Bytes, level: float, size: float, rng: np.random.Generator) -> Bytes:
    noise = cv2.GaussianBlur(rng.standard_normal(picture.shape[:2], np.float32), (0, 0), size)
    noise *= level / max(float(noise.std()), 1e-6)
    return np.clip(picture + noise[..., None] + 0.5, 0, 255).astype(np.uint8)
