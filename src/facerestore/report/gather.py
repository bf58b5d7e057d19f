"""One pass over both films side by side: everything the page shows, whatever the films' length.

before is the film as it was, after the film as it is now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.evaluation.metrics import temporal_error
from facerestore.evaluation.pairs import paired
from facerestore.evaluation.views import Cutter
from facerestore.faces.identity import crop_sharpness
from facerestore.faces.paste import soft_mask
from facerestore.frames import Bytes, Floats
from facerestore.masks import masks_from
from facerestore.report.measure import (
    Line,
    Stack,
    changed_share,
    difference,
    evenly,
    eye_region,
    flicker,
    mouth_region,
)
from facerestore.survey import Step
from facerestore.video.planes import detector_picture

if TYPE_CHECKING:
    from pathlib import Path

    from facerestore.evaluation.views import View
    from facerestore.faces.detect import Detector
    from facerestore.frames import FaceTrack
    from facerestore.report.persons import Part, Person
    from facerestore.survey import Survey
    from facerestore.video.reader import Film, VideoFrame

    Listener = Callable[[Step], None]

Vectors = Callable[[Bytes, Floats], Floats | None]  # as `Restorer.vectors`

SIZE = 256  # px of the face squares, as in `evaluate`
SMALL_SIDE = 320  # px of the whole pictures that visible changes are looked for in
CENTRED = 0.25  # of the side: a face farther from the middle of its square is somebody else's
TILES = 8  # moments in a film strip
STACK_FRAMES = 720  # in a stacking picture: neighbours, or flicker would not show
MOST_PEOPLE = 8  # with plots and film strips of their own; the table has them all
MASK_SHARE = float((soft_mask(SIZE) > 0).mean())  # of the square
WORST = {  # quantity -> 1 where more is worse, -1 where less is
    "identity": -1, "sharpness": -1, "temporal": 1, "eyes": 1, "mouth": 1, "mask": 1, "score": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """A moment of a film strip: uint8 RGB [S, S, 3] each."""

    seconds: float
    before: Bytes
    after: Bytes
    difference: Bytes


@dataclass(frozen=True)
class Portrait:
    """What was gathered of one person.

    lines: by (quantity, "before" or "after");  stack: of the longest track
    lost:  frames where the detector sees the face before but not after
    strange: frame and likeness where the face has become another
    """

    person: Person
    lines: dict[tuple[str, str], Line]
    tiles: list[Tile]
    stack: Stack
    lost: list[int] = field(default_factory=list)
    strange: list[tuple[int, float]] = field(default_factory=list)

    def add(self, quantity: str, which: str, frame: int, value: float) -> None:
        """Take a value of a frame."""
        self.lines[quantity, which].add(frame, value)


@dataclass(frozen=True)
class Gathered:
    """What was gathered of both films.

    portraits: of the people seen longest
    times:     seconds of each frame of `before` in `after`, float64 [n], nan without a partner
    changed:   share 0..1 of each picture that has visibly changed
    holes:     share 0..1 of each picture in the mask of inpainting; empty without one
    alone:     frames of `before` and of `after` without a partner
    """

    portraits: list[Portrait]
    times: Floats
    changed: Line
    holes: Line
    alone: tuple[int, int]


@dataclass(frozen=True)
class Instruments:
    """What measures: a detector, and an identity network where there is one."""

    detector: Detector
    vectors: Vectors | None = None


def gather(
    before: Film,
    after: Film,
    found: Survey,
    people: list[Person],
    instruments: Instruments,
    *,
    part: Part = (None, None),
    mask: Path | None = None,
    floor: float = 0.0,
    listen: Listener = lambda step: None,
) -> Gathered:
    """Walk both films and measure the faces that `found`, a survey of `before`, follows.

    part:  first and last second of `before` that `after` shows;  mask: of inpainting
    floor: likeness below which a face counts as another
    """
    shown = sorted(people, key=lambda p: -p.frames(found))[:MOST_PEOPLE]
    portraits = [_portrait(person, found) for person in sorted(shown, key=lambda p: p.number)]
    looks = _looks(portraits, found, before, instruments, floor)
    cutter = Cutter(after, before, found, SIZE)
    masks = repeat(None) if mask is None else masks_from(mask, before.info, part[0])
    times = np.full(found.n_frames, np.nan)
    changed, holes = (Line(found.n_frames, worst=1) for _ in range(2))
    alone = [0, 0]
    for pair in paired(after, before, *part):
        hole = None if pair.ref is None else next(masks)
        if pair.out is None or pair.ref is None:
            alone[0] += pair.out is None
            alone[1] += pair.ref is None
            continue
        number = min(pair.number, found.n_frames - 1)
        times[number] = after.seconds(pair.out)
        changed.add(number, changed_share(_small(pair.ref, before), _small(pair.out, after)))
        if hole is not None:
            holes.add(number, float(hole.mean()))
        for view in cutter.faces(number, (pair.out, pair.ref), None):
            if view.thread in looks:
                looks[view.thread].push(view, float(times[number]))
        shot = cutter.shot(number).index + 1
        shots, faces = len(found.shots), len(found.tracks)
        listen(Step("reporting", number + 1, found.n_frames, shot, shots, faces))
    return Gathered(portraits, times, changed, holes, (alone[0], alone[1]))


def _small(frame: VideoFrame, film: Film) -> Bytes:
    """uint8 RGB [h, w, 3]: the whole picture, small."""
    return detector_picture(frame, film.info, long_side=SMALL_SIDE)[0][..., ::-1]


def _looks(
    portraits: list[Portrait],
    found: Survey,
    film: Film,
    instruments: Instruments,
    floor: float,
) -> dict[int, _Look]:
    """What measures each track of the people shown, by its index."""
    area = film.info.display_width * film.info.display_height
    looks = {}
    for portrait in portraits:
        moments = _moments(portrait, found)
        for index in portrait.person.tracks:
            shares = np.minimum(1.0, MASK_SHARE * found.paths[index].side ** 2 / area)
            track = found.tracks[index]
            looks[index] = _Look(portrait, track, shares, moments[index], instruments, floor)
    return looks


def _portrait(person: Person, found: Survey) -> Portrait:
    single = ("identity", "temporal", "mask")
    lines = {
        (name, which): Line(found.n_frames, worst=worst)
        for name, worst in WORST.items()
        for which in (("after",) if name in single else ("before", "after"))
    }
    longest = max((found.tracks[index] for index in person.tracks), key=len)
    count = min(len(longest), STACK_FRAMES)
    stack = Stack(longest.first + (len(longest) - count) // 2, count, SIZE)
    return Portrait(person, lines, [], stack)


def _moments(portrait: Portrait, found: Survey) -> dict[int, set[int]]:
    """By track the frames of the person's film strip."""
    tracks = sorted(portrait.person.tracks, key=lambda index: found.tracks[index].first)
    ends = np.cumsum([len(found.tracks[index]) for index in tracks])
    moments: dict[int, set[int]] = {index: set() for index in tracks}
    for place in evenly(int(ends[-1]), TILES):
        which = int(np.searchsorted(ends, place, side="right"))
        track = found.tracks[tracks[which]]
        moments[tracks[which]].add(track.last + 1 - int(ends[which] - place))
    return moments


class _Look:
    """Measures one track; remembers its last three views.

    shares: float64 [n], of the picture under the face's mask;  moments: frames for the film strip
    """

    def __init__(
        self,
        portrait: Portrait,
        track: FaceTrack,
        shares: Floats,
        moments: set[int],
        instruments: Instruments,
        floor: float,
    ) -> None:
        self.portrait, self.track, self.shares = portrait, track, shares
        self.moments, self.instruments, self.floor = moments, instruments, floor
        self.last: deque[View] = deque(maxlen=3)

    def push(self, view: View, seconds: float) -> None:
        """Measure a view, shown at a second of `after`."""
        if self.last and self.last[-1].frame != view.frame - 1:
            self.last.clear()
        self.last.append(view)
        add, frame = self.portrait.add, view.frame
        self.portrait.stack.add(frame, view.ref, view.out)
        if frame in self.moments:
            tile = Tile(seconds, view.ref, view.out, difference(view.ref, view.out))
            self.portrait.tiles.append(tile)
        add("mask", "after", frame, float(self.shares[frame - self.track.first]))
        add("sharpness", "before", frame, crop_sharpness(view.ref))
        add("sharpness", "after", frame, crop_sharpness(view.out))
        self._score(view)
        self._identity(view)
        if len(self.last) > 1:
            old = self.last[-2]
            pair = np.stack([old.out, view.out]), np.stack([old.ref, view.ref])
            add("temporal", "after", frame, float(temporal_error(*pair)[0]))
        if len(self.last) == 3:
            self._flicker()

    def _flicker(self) -> None:
        middle = self.last[1]
        assert middle.landmarks is not None
        for name, region in (("eyes", eye_region), ("mouth", mouth_region)):
            box = region(middle.landmarks, len(middle.ref))
            for which, picture in (("before", "ref"), ("after", "out")):
                old, now, new = (getattr(view, picture) for view in self.last)
                self.portrait.add(name, which, middle.frame, flicker(old, now, new, box))

    def _score(self, view: View) -> None:
        """The detector looks at both squares where it has looked at the film."""
        if self.track.scores[view.frame - self.track.first] <= 0:  # between two detections
            return
        old, new = self._detect(view.ref), self._detect(view.out)
        self.portrait.add("score", "before", view.frame, old)
        self.portrait.add("score", "after", view.frame, new)
        if old > 0 and new == 0:
            self.portrait.lost.append(view.frame)

    def _detect(self, picture: Bytes) -> float:
        """Score of the face in the middle of a square, 0 where there is none."""
        size = len(picture)
        faces = self.instruments.detector.detect(np.ascontiguousarray(picture[..., ::-1]))
        scores = [
            face.score
            for face in faces
            if np.abs((face.box[:2] + face.box[2:]) / 2 - size / 2).max() <= CENTRED * size
        ]
        return max(scores, default=0.0)

    def _identity(self, view: View) -> None:
        if self.instruments.vectors is None or view.landmarks is None:
            return
        pictures = np.stack([view.ref, view.out])
        found: Any = self.instruments.vectors(pictures, np.stack([view.landmarks] * 2))
        if found is None:
            return
        value = float(found[0] @ found[1])
        self.portrait.add("identity", "after", view.frame, value)
        if value < self.floor:
            self.portrait.strange.append((view.frame, value))
