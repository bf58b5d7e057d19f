"""How good a clip is to learn from, 0 (useless) to 1."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.frames import Bytes

INNER = slice(0.25, 0.75)  # of the side: the face without hair and background
SHARP = 0.05  # sharpness of a clear face of 256 px; 0.5 on the scale of `sharpness_score`
LOOKED_AT = 4  # frames of a clip


@dataclass(frozen=True)
class Quality:
    """name: of the measure;  score: frames uint8 RGB [F, S, S, 3] -> 0..1"""

    name: str
    score: Callable[[Bytes], float]


def load_quality() -> Quality:
    """ARNIQA (Agnolucci et al. 2024) where pyiqa is installed, as in the paper; else sharpness."""
    if find_spec("pyiqa") is None:
        return Quality("sharpness", sharpness_score)
    import torch

    pyiqa: Any = import_module("pyiqa")
    measure: Any = pyiqa.create_metric("arniqa", device="cpu")

    @torch.inference_mode()
    def score(frames: Bytes) -> float:
        chosen = torch.from_numpy(_spread(frames)).permute(0, 3, 1, 2).float() / 255
        return float(measure(chosen).mean())

    return Quality("ARNIQA", score)


def sharpness_score(frames: Bytes) -> float:
    """Variance of the Laplacian relative to the contrast, of the inner face, mapped to 0..1.

    Blur lowers it; so does a face without any contrast. 0.5 is a clear face.
    """
    side = frames.shape[1]
    inner = slice(int(INNER.start * side), int(INNER.stop * side))
    values = []
    for frame in _spread(frames)[:, inner, inner]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = cv2.Laplacian(grey, cv2.CV_32F).var()
        values.append(edges / (grey.var() + 25.0))  # 25: five codes of noise are no contrast
    sharp = float(np.mean(values))
    return sharp / (sharp + SHARP)


def _spread(frames: Bytes) -> Bytes:
    return frames[np.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).round().astype(int)]
