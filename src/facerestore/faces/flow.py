"""How faces move from one small grey picture to the next, and how sharp they are in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facerestore.frames import Bytes, Floats

GREY_SIDE = 320  # advised long side of the grey pictures, px: about 1 ms a frame with one face
GRID = 7  # points along each side of the face, 49 in all
INNER = 0.7  # of the box: its corners are background
WINDOW = 11  # px around each point, a quarter of a usual face in the grey picture
LEVELS = 3  # halvings: follows motions of up to about 40 px a frame
THERE_AND_BACK = 0.7  # px a point may end up away from its start after following it back
LEAST_POINTS = 10  # of 49 that must agree, else the motion is unknown
SPREAD = 0.1  # of the box: the points' median distance from the common motion, above it is unknown
LOOK = 32  # px, the size at which sharpness is measured: eyes and mouth are 4 px high
MOST_ZOOM = 1.25  # a frame: faster is a mistake


@dataclass(frozen=True)
class Motion:
    """Scaling and shift of the picture plane: a point p goes to scale * p + shift (px)."""

    scale: float
    shift: tuple[float, float]

    def of(self, points: Floats) -> Floats:
        """Where points [..., 2] go."""
        return self.scale * points + np.array(self.shift)

    def of_box(self, box: Floats) -> Floats:
        """Where a box [4] goes."""
        return self.of(box.reshape(2, 2)).ravel()

    def after(self, other: Motion) -> Motion:
        """`other` first, then this one."""
        x, y = self.of(np.array(other.shift))
        return Motion(self.scale * other.scale, (float(x), float(y)))

    def reversed(self) -> Motion:
        """The motion that undoes this one."""
        return Motion(1 / self.scale, (-self.shift[0] / self.scale, -self.shift[1] / self.scale))


STAY = Motion(1.0, (0.0, 0.0))


def motions(
    before: Bytes, after: Bytes, boxes: Sequence[Floats], *, scale: float
) -> list[Motion | None]:
    """How the inside of each box moves between two grey pictures, uint8 [h, w]; None if unclear.

    Boxes and motions are in display coordinates; `scale` is grey px per display px. Points on a
    grid are followed there and back; the medians of those that return say how the face moves
    (the median flow of Kalal, Mikolajczyk and Matas, ICPR 2010).
    """
    if not boxes:
        return []
    start = np.concatenate([_grid(box * scale) for box in boxes])  # [faces * points, 2]
    end, returned = _follow(before, after, start)
    groups = zip(
        *(np.split(values, len(boxes)) for values in (start, end, returned)), boxes, strict=True
    )
    return [_common(a / scale, b / scale, ok, box) for a, b, ok, box in groups]


def sharpness(grey: Bytes, box: Floats, *, scale: float) -> float:
    """How clear a face's features are, 0..about 1, whatever its size, brightness and contrast.

    The mean Laplacian over the deviation, at LOOK px. 0 for a face outside the picture or without
    contrast.
    """
    import cv2

    left, top, right, bottom = np.round(_inner(box * scale)).astype(int).clip(0)
    part = grey[top:bottom, left:right].astype(np.float32)
    if min(part.shape) < 3 or part.std() < 1:
        return 0.0
    face = cv2.resize(part, (LOOK, LOOK), interpolation=cv2.INTER_AREA)
    return float(np.abs(cv2.Laplacian(face, cv2.CV_32F)).mean() / face.std())


def _inner(box: Floats) -> Floats:
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * INNER
    return np.concatenate([middle - half, middle + half])


def _grid(box: Floats) -> Floats:
    left, top, right, bottom = _inner(box)
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(top, bottom, GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _follow(before: Bytes, after: Bytes, start: Floats) -> tuple[Floats, np.ndarray]:
    """Where points [n, 2] of one picture are in the other, and which of them [n] found back."""
    import cv2

    how = {"winSize": (WINDOW, WINDOW), "maxLevel": LEVELS}
    origin = (start - 0.5).astype(np.float32)[:, None]  # OpenCV's first sample is at 0
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, after, origin, origin.copy(), **how)
    again, back, _ = cv2.calcOpticalFlowPyrLK(after, before, end, end.copy(), **how)
    close = np.linalg.norm(again - origin, axis=2) < THERE_AND_BACK  # [n, 1]
    height, width = before.shape
    inside = np.all((origin > 0) & (origin < [width - 1, height - 1]), axis=2)
    good = close & inside & (np.asarray(there) == 1) & (np.asarray(back) == 1)
    return end[:, 0].astype(np.float64) + 0.5, good[:, 0]


def _common(start: Floats, end: Floats, good: np.ndarray, box: Floats) -> Motion | None:
    """The scaling and shift that most points [n, 2] share, or None if too few agree."""
    if np.count_nonzero(good) < LEAST_POINTS:
        return None
    a, b = start[good], end[good]
    middle, other = np.median(a, axis=0), np.median(b, axis=0)
    zoom = _zoom(a, b)
    shift = np.median(b - other - zoom * (a - middle), axis=0) + other - zoom * middle
    motion = Motion(zoom, (float(shift[0]), float(shift[1])))
    stray = np.median(np.linalg.norm(motion.of(a) - b, axis=1))
    unclear = stray > SPREAD * (box[3] - box[1]) or not 1 / MOST_ZOOM < zoom < MOST_ZOOM
    return None if unclear else motion


def _zoom(start: Floats, end: Floats) -> float:
    """The median ratio of the points' mutual distances after and before."""
    i, j = np.triu_indices(len(start), 1)
    before, after = (np.linalg.norm(p[i] - p[j], axis=1) for p in (start, end))
    far = before > np.median(before)  # near points say little about scale
    return float(np.median(after[far] / before[far]))
