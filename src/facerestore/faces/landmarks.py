"""Landmarks of aligned faces: 68 by facexlib's alignment network, else the detector's five."""

from __future__ import annotations

from dataclasses import dataclass
from pickle import PickleError
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.errors import ModelError
from facerestore.faces.detect import weight_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats

WEIGHTS = "alignment_WFLW_4HG.pth"  # facexlib's release 0.1.0
WFLW_POINTS = 98
SEEN = 256  # px, what the network looks at


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
    except (OSError, RuntimeError, LookupError, TypeError, EOFError, PickleError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise ModelError(f"{path}: does not load ({reason}); download it again") from None
    network.eval()

    @torch.inference_mode()
    def find(frames: Bytes, five: Floats) -> Floats:
        found = []
        for frame in frames:
            seen = np.asarray(cv2.resize(frame, (SEEN, SEEN)), np.float32) / 255
            outputs, _ = network(torch.from_numpy(seen).movedim(-1, 0)[None])
            points = (
                peaks(outputs[-1][0, :-1].numpy()) * frame.shape[1::-1]
            )  # the last: the outline
            found.append(landmark_98_to_68(points))
        return np.stack(found).astype(np.float64)

    return Points(68, find)


def peaks(heatmaps: NDArray[np.float32]) -> Floats:
    """The brightest place of each heatmap [N, h, w], as [N, 2] x and y, fractions of the sides.

    A quarter of a cell off its middle, towards the brighter neighbour. facexlib has the same as
    `get_landmarks`, which NumPy has refused to run since version 1.24.
    """
    count, height, width = heatmaps.shape
    row, column = np.unravel_index(heatmaps.reshape(count, -1).argmax(axis=1), (height, width))
    edged, n = np.pad(heatmaps, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.arange(count)
    across = np.sign(edged[n, row + 1, column + 2] - edged[n, row + 1, column])
    down = np.sign(edged[n, row + 2, column + 1] - edged[n, row, column + 1])
    x, y = column + 0.5 + 0.25 * across, row + 0.5 + 0.25 * down
    return np.stack([x / width, y / height], axis=-1).astype(np.float64)
