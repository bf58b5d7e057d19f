"""Display coordinates (upright, square pixels) <-> coded samples."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.sidedata.sidedata import Type as SideData

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from av.buffer import Buffer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from facerestore.frames import Floats

MATRIX_UNIT = 65536  # display matrices are 16.16 fixed point


def display_matrix(frame: VideoFrame) -> Floats:
    """float64 [2, 2]: the frame's rotation and mirroring, rounded to quarter turns."""
    raw = display_matrix_values(frame)
    if raw is None:
        return np.eye(2)
    a, b, _, c, d = raw[:5]
    linear = np.array([[a, c], [b, d]]) / MATRIX_UNIT
    rounded = np.round(linear / max(np.abs(linear).max(), 1e-9))
    return rounded if abs(np.linalg.det(rounded)) == 1 else np.eye(2)


def display_matrix_values(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of the frame's display matrix, or None."""
    data = side_data(frame, SideData.DISPLAYMATRIX)
    return struct.unpack("9i", data[:36]) if data else None


def side_data(frame: VideoFrame, kind: SideData) -> bytes | None:
    """The frame's side data of one kind, if it has any."""
    try:
        found = cast("Mapping[SideData, Buffer]", frame.side_data).get(kind)
    except ValueError:  # PyAV gives up on all of it where it meets a type it does not know (EXIF)
        return None
    return None if found is None else bytes(found)


def display_geometry(
    width: int, height: int, sar: Fraction, linear: Floats
) -> tuple[int, int, Floats]:
    """Display width, height and the float64 [2, 3] map from display to coded coordinates.

    linear: [2, 2] from `display_matrix`. The sample aspect ratio stretches the coded width.
    """
    forward = linear @ np.diag([float(sar), 1.0])
    corners = forward @ np.array([[0, width, 0, width], [0, 0, height, height]], float)
    low, high = corners.min(axis=1), corners.max(axis=1)
    back = np.linalg.inv(forward).astype(np.float64)
    size = np.round(high - low).astype(int)
    return int(size[0]), int(size[1]), np.column_stack([back, back @ low])


def lies(to_coded: Floats) -> bool:
    """Whether the stored picture lies on its side."""
    return bool(abs(to_coded[0, 0]) < abs(to_coded[0, 1]))


def upright(stored: NDArray[Any], to_coded: Floats) -> NDArray[Any]:
    """A picture [h, w, ...] as it is stored, turned and mirrored as it is seen; a view."""
    back = to_coded[:, :2]
    if lies(to_coded):
        return _flipped(stored.swapaxes(0, 1), x=back[1, 0] < 0, y=back[0, 1] < 0)
    return _flipped(stored, x=back[0, 0] < 0, y=back[1, 1] < 0)


def as_stored(seen: NDArray[Any], to_coded: Floats) -> NDArray[Any]:
    """The opposite of `upright`."""
    back = to_coded[:, :2]
    if lies(to_coded):
        return _flipped(seen, x=back[1, 0] < 0, y=back[0, 1] < 0).swapaxes(0, 1)
    return _flipped(seen, x=back[0, 0] < 0, y=back[1, 1] < 0)


def _flipped(picture: NDArray[Any], *, x: bool, y: bool) -> NDArray[Any]:
    return picture[:: -1 if y else 1, :: -1 if x else 1]
