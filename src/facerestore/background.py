"""The background of a film: its whole frames sharpened or coloured, before the faces are pasted.

Frames come one after the other; what the next one needs to know of those before is a few numbers
on a small grid, and is kept with the segments (`saved.py`), so that an interrupted film goes on
with the same colours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.faces.paste import tint_of
from facerestore.models.background import COLOUR_SIDE
from facerestore.models.colours import Colours, coloured, steadied
from facerestore.survey import Step
from facerestore.video.geometry import as_stored, upright
from facerestore.video.layout import layout
from facerestore.video.planes import detector_picture
from facerestore.video.whole import add_change, check_format, grey_of, rgb_of, set_colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.models.background import Background
    from facerestore.survey import Survey
    from facerestore.video.layout import Layout
    from facerestore.video.reader import Film, VideoFrame

LOOK_SIDE = 160  # px, long side of the picture in which old colours are looked for


class Painter:
    """Changes the frames of one film, in their order.

    before:  the colours of the picture before, None at the beginning of a shot
    replaced: the film had colours of its own;  seconds: spent so far
    earlier: calls of the network and its notes from before the film was interrupted
    """

    def __init__(
        self, film: Film, background: Background, found: Survey, listen: Callable[[Step], None]
    ) -> None:
        self.film, self.background, self.found, self.listen = film, background, found, listen
        check_format(film.info)
        self.before: Colours | None = None
        self.replaced, self.seconds = False, 0.0
        self.paid, self.told = background.cost, len(background.notes)  # of films before
        self.earlier: tuple[int, list[str]] = (0, [])
        self.starts = {shot.first: shot.index for shot in found.shots}
        self.shot, self.faces_at, self.painted = 0, 0.0, 0

    def paint(self, frame: VideoFrame, number: int) -> Layout:
        """Change a frame in place; returns its samples as they were."""
        begin = time.monotonic()
        frame.make_writable()
        film = layout(frame).copied()
        if number in self.starts:
            self.before, self.shot = None, self.starts[number]
        if self.background.colours and not self.replaced:
            small, _ = detector_picture(frame, self.film.info, long_side=LOOK_SIDE)
            self.replaced = tint_of(np.divide(small[..., ::-1], 255, dtype=np.float32)) is None
        for field in (0, 1) if self.film.info.interlaced else (None,):
            if self.background.colours:
                self._colour(frame, field)
            else:
                old = rgb_of(frame, field)
                add_change(frame, self.background.sharpened(old) - old, field)
        self.seconds += time.monotonic() - begin
        self.painted = number + 1
        self.faces_at = max(self.faces_at, self.painted)  # they are ready before it
        self._tell()
        return film

    def _colour(self, frame: VideoFrame, field: int | None) -> None:
        to_coded = self.film.info.to_coded
        grey = grey_of(frame, field)
        small = _square(np.ascontiguousarray(upright(grey, to_coded)), COLOUR_SIDE)
        # the second field is shown half a frame later
        seconds = self.film.seconds(frame) + (field or 0) / 2 / float(self.film.info.rate)
        new = Colours(
            np.rint(small * 255).astype(np.uint8), self.background.colours_of(small), seconds
        )
        self.before = steadied(new, self.before)
        ab = np.ascontiguousarray(as_stored(self.before.ab, to_coded))
        set_colours(frame, coloured(grey, ab), field)

    def hear(self, step: Step) -> None:
        """The faces are so far; the film is half as far as faces and frames together."""
        self.faces_at = max(self.faces_at, step.frame)
        self._tell()

    def _tell(self) -> None:
        done, shots = (self.faces_at + self.painted) / 2, len(self.found.shots)
        faces = len(self.found.tracks)
        self.listen(Step("restoring", done, self.found.n_frames, self.shot + 1, shots, faces))

    @property
    def cost(self) -> int:
        """Calls of the network for this film."""
        return self.earlier[0] + self.background.cost - self.paid

    @property
    def notes(self) -> list[str]:
        """What the network says of its work on this film, each thing once."""
        return list(dict.fromkeys([*self.earlier[1], *self.background.notes[self.told :]]))

    def warnings(self) -> list[str]:
        """What the user should know of the frames so far."""
        if self.replaced:
            return [*self.notes, "the film has colours already: the background replaces them"]
        return self.notes

    def known(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What the next frame needs to know: facts for JSON, and arrays."""
        facts = {"cost": self.cost, "notes": self.notes, "seconds": self.seconds}
        facts |= {"replaced": self.replaced, "shot": self.shot}
        if self.before is None:
            return facts, {}
        facts["shown_seconds"] = self.before.seconds
        return facts, {"grey": self.before.grey, "ab": self.before.ab}

    def go_on(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `known` gave."""
        self.earlier = facts["cost"], facts["notes"]
        self.seconds, self.replaced = facts["seconds"], facts["replaced"]
        self.shot = facts["shot"]
        if arrays:
            self.before = Colours(arrays["grey"], arrays["ab"], facts["shown_seconds"])


def _square(grey: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A picture [H, W] as [side, side]; larger ones are averaged, smaller ones interpolated."""
    how = cv2.INTER_AREA if min(grey.shape) >= side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=how), np.float32)
