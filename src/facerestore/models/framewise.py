"""Baselines: every frame by itself, with a function of one picture instead of a video model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from facerestore.models.restorer import condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks

CHUNK = 128  # frames, as the bundled model


class Picture(Protocol):
    """Restores one picture."""

    def __call__(self, frame: Bytes, tasks: Tasks, hole: NDArray[np.bool_] | None) -> Bytes:
        """uint8 RGB [S, S, 3] as `condition` shows it -> the same restored.

        hole: bool [S, S], True where to fill, or None
        """
        ...


class FrameWise:
    """A `Restorer` that knows nothing of time: the reference and the seed change nothing."""

    window, chunk, lanes = 1, CHUNK, 1
    has_identity, self_reference = False, ()

    def __init__(self, picture: Picture, size: int) -> None:
        self.picture, self.size = picture, size
        self.cost = 0
        self.notes: list[str] = []

    def close(self) -> None:
        pass

    def side(self, tasks: Tasks, face: float) -> int:
        return self.size

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        return n_frames

    def vectors(self, pictures: Bytes, landmarks: Floats) -> None:
        return None

    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """As `Restorer.restore`."""
        restored = np.empty_like(clip.frames)
        for number, frame in enumerate(condition(clip, tasks)):
            hole = None if clip.holes is None else clip.holes[number]
            restored[number] = self.picture(frame, tasks, hole)
            self.cost += 1
            on_step()
        return restored
