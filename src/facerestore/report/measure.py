"""What is measured on the face squares of both films: pure functions, and lines of bounded length.

Pictures are uint8 RGB [S, S, 3] in the codes of the film, differences are in codes of 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facerestore.evaluation.meters import LEAST_APART
from facerestore.frames import LUMA_601

if TYPE_CHECKING:
    from facerestore.frames import Bytes, Floats

    Box = tuple[int, int, int, int]

# Around the points of the face, in eye distances: half a mouth of speech stays inside
EYE_REACH = (0.4, 0.3)  # beyond the eyes, sideways and up and down
MOUTH_REACH = (0.25, 0.4)  # beyond the mouth's corners
VISIBLE = 8  # codes of luma: less is compression noise that nobody sees
AMPLIFY = 4  # so that a change of 8 codes shows as 32


def eye_region(landmarks: Floats, size: int) -> Box:
    """Left, top, right, bottom of the eyes in a square of `size` px; landmarks float64 [5, 2]."""
    return _around(landmarks[:2], landmarks, EYE_REACH, size)


def mouth_region(landmarks: Floats, size: int) -> Box:
    """As `eye_region`, of the mouth."""
    return _around(landmarks[3:], landmarks, MOUTH_REACH, size)


def _around(points: Floats, landmarks: Floats, reach: tuple[float, float], size: int) -> Box:
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    margin = np.array(reach) * max(apart, LEAST_APART * size)
    left, top = np.clip(np.floor(points.min(axis=0) - margin), 0, size - 1).astype(int)
    right, bottom = np.ceil(points.max(axis=0) + margin).astype(int)
    return (
        int(left),
        int(top),
        max(min(int(right), size), left + 1),
        max(min(int(bottom), size), top + 1),
    )


def flicker(before: Bytes, now: Bytes, after: Bytes, region: Box) -> float:
    """How far the middle one of three neighbouring frames is off the mean of the other two.

    The mean of |now - (before + after) / 2| of luma in the region, in codes. Steady motion and slow
    changes of light cancel out nearly; what comes and goes from frame to frame does not.
    """
    left, top, right, bottom = region
    old, this, new = (p[top:bottom, left:right] @ LUMA_601 for p in (before, now, after))
    return float(np.abs(this - (old + new) / 2).mean())


def changed_share(before: Bytes, after: Bytes) -> float:
    """Share 0..1 of the pixels of two pictures [H, W, 3] whose luma differs visibly."""
    return float((np.abs((after @ LUMA_601) - (before @ LUMA_601)) > VISIBLE).mean())


def difference(before: Bytes, after: Bytes) -> Bytes:
    """uint8 [H, W, 3]: after - before, four times as strong, around middle grey."""
    apart = (after.astype(np.int16) - before) * AMPLIFY + 128
    return np.clip(apart, 0, 255).astype(np.uint8)


def evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` of 0..count-1, spread evenly, each in the middle of its share."""
    taken = min(count, wanted)
    return [int((i + 0.5) * count / taken) for i in range(taken)]


class Line:
    """A quantity over a film's frames, kept as the worst value of each of a few stretches.

    So a single bad frame shows however long the film is, and memory does not grow with it.

    frames: of the film;  worst: 1 where more is worse, -1 where less is
    """

    POINTS = 600  # stretches at most; a screen shows no more

    def __init__(self, frames: int, *, worst: int) -> None:
        self.frames, self.sign = frames, worst
        self.points = np.full(min(max(frames, 1), self.POINTS), np.nan)
        self.total, self.count = 0.0, 0

    def add(self, frame: int, value: float) -> None:
        """Take the value of a frame, 0..frames-1; several of one frame may come."""
        place = frame * len(self.points) // self.frames
        self.points[place] = np.fmax(self.points[place] * self.sign, value * self.sign) * self.sign
        self.total, self.count = self.total + value, self.count + 1

    @property
    def mean(self) -> float | None:
        """Over all values, None without any."""
        return self.total / self.count if self.count else None

    def thinned(self, points: int) -> list[float | None]:
        """At most so many values, the worst of each stretch; None where there is none."""
        parts = np.array_split(self.points * self.sign, min(points, len(self.points)))
        worst = [np.nan if np.isnan(part).all() else np.nanmax(part) for part in parts]
        return [None if np.isnan(v) else float(f"{v * self.sign:.3g}") for v in worst]


class Stack:
    """The temporal stacking picture: one column of pixels of each frame, side by side.

    before, after: uint8 [S, n, 3] of n frames from number `first` on; black where there is no face
    """

    def __init__(self, first: int, count: int, size: int) -> None:
        self.first, self.size = first, size
        self.before, self.after = (np.zeros((size, count, 3), np.uint8) for _ in range(2))

    def add(self, frame: int, before: Bytes, after: Bytes) -> None:
        """Take the middle column of both pictures [S, S, 3], if the frame is one of the stack."""
        place = frame - self.first
        if 0 <= place < self.before.shape[1]:
            self.before[:, place] = before[:, self.size // 2]
            self.after[:, place] = after[:, self.size // 2]
