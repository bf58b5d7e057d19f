"""What is compared: the same part of a frame of both films, whole pictures or face squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facerestore.masks import crop_holes
from facerestore.video.planes import crop_rgb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Shot
    from facerestore.survey import Survey
    from facerestore.video.reader import Film, VideoFrame


@dataclass(frozen=True)
class View:
    """The same part of a frame of both films.

    thread:    what it goes on with in time: the index of the face's track, or of the shot
    frame:     number of the reference's frame
    out, ref:  uint8 RGB [H, W, 3];  holes: bool [H, W] or None
    landmarks: float64 [5, 2] as in `Face`, the reference's track in pixels of the view, or None
    """

    thread: int
    frame: int
    out: Bytes
    ref: Bytes
    holes: NDArray[np.bool_] | None = None
    landmarks: Floats | None = None


@dataclass(frozen=True)
class Cutter:
    """Cuts views out of pairs of frames, both films along the paths of the reference's faces.

    found: survey of the reference;  size: side of the face squares in pixels
    """

    out: Film
    ref: Film
    found: Survey
    size: int

    def faces(
        self, number: int, frames: tuple[VideoFrame, VideoFrame], mask: NDArray[np.bool_] | None
    ) -> Iterator[View]:
        """The face squares of the reference's frame `number`; frames: of `out` and `ref`."""
        for index, (track, path) in enumerate(
            zip(self.found.tracks, self.found.paths, strict=True)
        ):
            if track.first <= number <= track.last:
                square = path.matrix(number, self.size)
                pictures = self._cut(frames, square, self.size)
                holes = self._holes(mask, square, self.size)
                points = track.landmarks[number - track.first]
                points = path.in_crop(points, number, self.size)
                yield View(index, number, *pictures, holes, points)

    def whole(
        self, number: int, frames: tuple[VideoFrame, VideoFrame], mask: NDArray[np.bool_] | None
    ) -> View:
        """The whole picture, upright with square pixels."""
        width, height = self.ref.info.display_width, self.ref.info.display_height
        side, upright = max(width, height), np.eye(2, 3)
        out, ref = (picture[:height, :width] for picture in self._cut(frames, upright, side))
        holes = self._holes(mask, upright, side)
        shot = self.shot(number).index
        return View(shot, number, out, ref, None if holes is None else holes[:height, :width])

    def shot(self, number: int) -> Shot:
        """The shot that a frame of the reference belongs to."""
        return next(shot for shot in self.found.shots if number <= shot.last)

    def _cut(
        self, frames: tuple[VideoFrame, VideoFrame], matrix: Floats, size: int
    ) -> tuple[Bytes, Bytes]:
        if frames[0] is frames[1]:  # a film alone
            same = crop_rgb(frames[0], matrix, to_coded=self.out.info.to_coded, size=size)
            return same, same
        to_coded = self.out.info.to_coded, self.ref.info.to_coded
        out, ref = (
            crop_rgb(frame, matrix, to_coded=to, size=size)
            for frame, to in zip(frames, to_coded, strict=True)
        )
        return out, ref

    def _holes(
        self, mask: NDArray[np.bool_] | None, matrix: Floats, size: int
    ) -> NDArray[np.bool_] | None:
        return None if mask is None else crop_holes(mask, matrix, self.ref.info, size)
