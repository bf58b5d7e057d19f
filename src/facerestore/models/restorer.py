"""What the rest of the program knows of a model, and what every model is shown of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from facerestore.frames import LUMA_601
from facerestore.models.fill import fill_holes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks

WHITE = 255  # what a hole is filled with (released SVFR code)


class Restorer(Protocol):
    """What the rest of the program knows of a model.

    window: frames denoised together;  chunk: frames of a shot that are restored together
    cost:   network passes over one frame, summed over all calls so far ("frame-forwards")
    lanes:  clips that can be restored side by side, each call from a thread of its own
    notes:  what the user should know of the run so far;  has_identity: whether `vectors` works
    self_reference: tasks for which a person's own restored frame is the reference of the rest
    """

    window: int
    chunk: int
    cost: int
    lanes: int
    notes: list[str]
    has_identity: bool
    self_reference: tuple[str, ...]

    def close(self) -> None:
        """Give devices and processes back; the model is not used any more."""
        ...

    def side(self, tasks: Tasks, face: float) -> int:
        """Of the square crops for these tasks, in pixels; face: side of the square in the film."""
        ...

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """Frame-forwards for `n_frames` of a new person, the first clip for the reference too."""
        ...

    def vectors(self, pictures: Bytes, landmarks: Floats) -> Floats | None:
        """Unit vectors float64 [F, 512] of who it is, None without an identity network.

        pictures: uint8 RGB [F, S, S, 3];  landmarks: float64 [F, 5, 2] in their pixels
        """
        ...

    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3]; the same inputs give the same frames."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A restorer by name.

    facts: name, version and sha256 of each file, for the record;  why: this one was chosen
    """

    restorer: Restorer
    facts: dict[str, Any]
    why: str


def condition(clip: FaceClip, tasks: Tasks, *, filled: bool = False) -> Bytes:
    """The degraded frames as the network is shown them, uint8 RGB [F, S, S, 3].

    Grey for colorization, then white where holes are (order of the released code), or a smooth
    surface for models that start from one.
    """
    frames = clip.frames
    if tasks.color:
        grey = np.clip(frames @ LUMA_601 + 0.5, 0, 255).astype(np.uint8)
        frames = np.repeat(grey[..., None], 3, axis=-1)
    holes = holes_of(clip, tasks)
    if holes.any():
        white = np.uint8(WHITE)
        frames = fill_holes(frames, holes) if filled else np.where(holes[..., None], white, frames)
    return np.ascontiguousarray(frames)


def holes_of(clip: FaceClip, tasks: Tasks) -> NDArray[np.bool_]:
    """bool [F, S, S]: what has to be made up; nothing without inpainting or without a mask."""
    if tasks.inpaint and clip.holes is not None:
        return clip.holes
    return np.zeros(clip.frames.shape[:3], np.bool_)


def resized(picture: Bytes, side: int) -> Bytes:
    """A reference [S, S, 3] for crops of another size than it was cut out for."""
    if len(picture) == side:
        return picture
    how = cv2.INTER_AREA if len(picture) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)
