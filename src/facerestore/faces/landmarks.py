"""Landmarks of aligned faces: 68 by facexlib's alignment network, else the detector's five."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import ModelError
from facerestore.faces.detect import weight_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.frames import Bytes, Floats

WEIGHTS = "alignment_WFLW_4HG.pth"  # facexlib's release 0.1.0
WFLW_POINTS = 98


@dataclass(frozen=True)
class Points:
    """count: landmarks a face;  find: frames uint8 RGB [F, S, S, 3] and the detector's five
    [F, 5, 2] -> landmarks float64 [F, count, 2], in px
    """

    count: int
    find: Callable[[Bytes, Floats], Floats]


def load_points() -> Points:
    """68 points where facexlib's weights are in one of the weight folders, else five."""
    path = next((f / WEIGHTS for f in weight_folders() if (f / WEIGHTS).is_file()), None)
    if path is None:
        return Points(5, lambda frames, five: five)
    import torch
    from facexlib.alignment import FAN, landmark_98_to_68

    network: Any = FAN(num_modules=4, num_landmarks=WFLW_POINTS, device="cpu")
    try:
        network.load_state_dict(
            torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
        )
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: does not load ({str(error).splitlines()[0]})") from None
    network.eval()

    @torch.inference_mode()
    def find(frames: Bytes, five: Floats) -> Floats:
        found = [landmark_98_to_68(network.get_landmarks(frame[..., ::-1])) for frame in frames]
        return np.stack(found).astype(np.float64)

    return Points(68, find)
