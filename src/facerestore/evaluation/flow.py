"""Motion between neighbouring frames, and what of a film does not follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

    Flow = NDArray[np.float32]
    Mask = NDArray[np.bool_]

LEAST_SIDE = 16  # px; DIS needs a pyramid
# A pixel is seen in both frames where the way there and back ends near its start:
# |there + back|^2 < 0.01 (|there|^2 + |back|^2) + 0.5 (Sundaram, Brox and Keutzer 2010)
RELATIVE, ABSOLUTE = 0.01, 0.5
THOUSANDTHS = 1000.0


def flow_between(first: Bytes, second: Bytes) -> Flow:
    """float32 [H, W, 2]: where each pixel of `first`, uint8 RGB [H, W, 3], is in `second`, in px.

    Dense inverse search (Kroeger et al. 2016) as OpenCV has it, its medium preset.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    return np.asarray(search.calc(grey[0], grey[1], None), np.float32)  # pyright: ignore[reportCallIssue, reportArgumentType]


def warped(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """What `flow` points to: float32 [H, W, C] of the second frame, on the grid of the first."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    at = columns + flow[..., 0], rows + flow[..., 1]
    moved = cv2.remap(values, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32).reshape(values.shape)


def seen_in_both(there: Flow, back: Flow) -> Mask:
    """bool [H, W]: pixels of the first frame that the second one shows, too."""
    height, width = there.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + there[..., 0], rows + there[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    again = warped(back, there)
    off = ((there + again) ** 2).sum(axis=-1)
    size = (there**2).sum(axis=-1) + (again**2).sum(axis=-1)
    return np.asarray(inside & (off < RELATIVE * size + ABSOLUTE))


def warp_error(first: Bytes, second: Bytes, flow: Flow, seen: Mask) -> float:
    """E_warp of Lai et al. 2018 (their equation 8) in thousandths: what changes but does not move.

    The mean over the pixels seen in both frames of the squared difference between `first` and
    `second` fetched back along the flow, uint8 RGB [H, W, 3] taken as 0..1 and summed over the
    channels' mean; nan where no pixel is.
    """
    if first.shape != second.shape or first.shape[:2] != flow.shape[:2]:
        raise ValueError(
            f"expected two pictures and a flow of one size, got {first.shape}, {second.shape}, "
            f"{flow.shape}"
        )
    if not seen.any():
        return float("nan")
    there = warped(np.divide(second, 255, dtype=np.float32), flow)
    squared = ((np.divide(first, 255, dtype=np.float32) - there) ** 2).mean(axis=-1)  # [H, W]
    return float(squared[seen].mean(dtype=np.float64)) * THOUSANDTHS
