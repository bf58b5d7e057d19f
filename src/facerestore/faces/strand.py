"""A face followed through one shot, and how its detections and motions become a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facerestore.faces.flow import STAY, Motion
from facerestore.frames import Face, FaceTrack, Floats, Ints

OUTLIER = 0.25  # in box heights: a detection this far off both neighbours that agree is dropped


@dataclass(eq=False)
class Strand:
    """A face being followed: what was seen of it, and how it moved from frame to frame.

    first:   frame number of the first entry
    box:     where it is expected in the frame pushed last, float64 [4]
    motions: from entry i to i + 1; None where the flow was lost
    seen:    frame number -> detection
    sharp:   frame number -> sharpness of the detection
    missed:  frame numbers at which a detection did not find it
    """

    first: int
    box: Floats
    motions: list[Motion | None] = field(default_factory=list)
    seen: dict[int, Face] = field(default_factory=dict)
    sharp: dict[int, float] = field(default_factory=dict)
    missed: list[int] = field(default_factory=list)

    def moved(self, motion: Motion | None) -> None:
        self.motions.append(motion)
        self.box = (motion or STAY).of_box(self.box)

    def met(self, frame: int, face: Face, sharp: float) -> None:
        self.box, self.seen[frame], self.sharp[frame] = face.box, face, sharp

    def seen_until(self, end: int) -> list[int]:
        """The frames up to `end` in which it was detected, in order."""
        return [frame for frame in self.seen if frame <= end]

    def missed_since(self, frame: int, end: int) -> bool:
        """Whether a search after `frame` and up to `end` did not find it."""
        return any(frame < missed <= end for missed in self.missed)

    @property
    def last_seen(self) -> int:
        return next(reversed(self.seen))

    @property
    def unsure(self) -> bool:
        """Whether the last search missed it or its motion was lost just now."""
        missed = bool(self.missed) and self.missed[-1] > self.last_seen
        return missed or (bool(self.motions) and self.motions[-1] is None)


def fused(strand: Strand, shot: int, end: int, gap: int) -> FaceTrack | None:
    """The strand up to frame `end` as a track, or None if it was not seen until then.

    All positions are taken along the motion into the first entry's frame, where a detection
    differs from the next only by what the flow missed; there they are interpolated, and then
    taken back.
    """
    at = np.array(strand.seen_until(end))
    if len(at) == 0:
        return None
    last = min(_followed_to(strand, int(at[-1]), end), int(at[-1]) + gap)
    scale, shift = _summed(strand.motions[: last - strand.first])
    faces = [strand.seen[frame] for frame in at]
    points = np.array([np.vstack([f.box.reshape(2, 2), f.landmarks]) for f in faces])  # [m, 7, 2]
    entry = at - strand.first
    still = (points - shift[entry, None]) / scale[entry, None, None]
    good = _believable(at, still)
    still = _between(at[good], still[good], np.arange(strand.first, last + 1))
    moved = still * scale[:, None, None] + shift[:, None]
    scores = np.zeros(len(moved))
    scores[entry[good]] = np.array([face.score for face in faces])[good]
    boxes = moved[:, :2].reshape(-1, 4)
    return FaceTrack(0, shot, strand.first, boxes, moved[:, 2:], scores)


def _followed_to(strand: Strand, frame: int, end: int) -> int:
    """The last frame up to `end` to which the flow carries a face last seen at `frame`."""
    if strand.missed_since(frame, end):
        return frame
    onward = strand.motions[frame - strand.first : end - strand.first]
    return frame + (onward.index(None) if None in onward else len(onward))


def _summed(steps: Sequence[Motion | None]) -> tuple[Floats, Floats]:
    """The motion from the first entry to each one: scales [n] and shifts [n, 2]."""
    total = [STAY]
    for step in steps:
        total.append((step or STAY).after(total[-1]))
    return np.array([m.scale for m in total]), np.array([m.shift for m in total])


def _believable(at: Ints, still: Floats) -> NDArray[np.bool_]:
    """Which detections to keep: not those far off both neighbours while these two agree."""
    good = np.ones(len(at), bool)
    if len(at) < 3:
        return good
    height = np.median(still[:, 1, 1] - still[:, 0, 1])
    middle = still.mean(axis=1)  # [m, 2]
    before, here, after = middle[:-2], middle[1:-1], middle[2:]
    apart = np.linalg.norm(after - before, axis=1)
    off = np.minimum(np.linalg.norm(here - before, axis=1), np.linalg.norm(here - after, axis=1))
    good[1:-1] = (off < OUTLIER * height) | (apart > off)
    return good


def _between(at: Ints, values: Floats, frames: Ints) -> Floats:
    """Values [m, 7, 2] known `at` some frames, at all of `frames`; constant beyond the ends."""
    flat = values.reshape(len(at), -1)
    lines = [np.interp(frames, at, column) for column in flat.T]
    return np.stack(lines, axis=1).reshape(-1, *values.shape[1:])
