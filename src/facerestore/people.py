"""The people of a film: who a face belongs to, and the reference each is restored with.

The first frames of a person are restored without a reference; the best of them becomes the
person's reference for everything that follows, also after cuts (self-referred refinement, SVFR
paper section 4.3), unless the model is better without (`self_reference` in its facts).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import UsageError
from facerestore.faces.guard import FLOOR, steady_strengths, strength_for
from facerestore.faces.identity import appearance, best_frame, same_person
from facerestore.faces.paste import hole_mask, skin_mask, tint_of
from facerestore.frames import Reference
from facerestore.models.colours import steady_clip

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, FaceClip, FaceTrack, Floats
    from facerestore.models.restorer import Restorer
    from facerestore.options import RestoreOptions, Tools
    from facerestore.survey import Survey

COVERED = 0.7  # of the crop in the mask: no more face to see
SAME_FACE = 0.5  # cosine of ArcFace vectors from which two faces are one person's


@dataclass
class Person:
    """Somebody in the film.

    looks:  see `appearance`;  vector: unit vector of the identity network, if there is one
    tracks: so far, as indices in Survey.tracks;  reference: None where the model takes none
    likeness: by track index and frame, the cosine between source and restored face
    """

    looks: NDArray[np.float32]
    vector: Floats | None
    tracks: list[int]
    reference: Reference | None
    likeness: dict[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A clip restored: uint8 RGB [F, S, S, 3] and how much of each frame to use, float64 [F].

    skins: uint8 [F, S, S], how much of new colours, None without color
    likeness: float64 [F], cosine between source and restored face;  None where it is not known
    """

    frames: Bytes
    strengths: Floats
    skins: Bytes | None = None
    likeness: Floats | None = None


class People:
    """Restores clips of people and remembers what each of them looks like.

    sides:   px of the crops by track index
    numbers: person's number by track index;  seconds: spent in the model, on each device
    earlier: cost and notes of the model from before the film was interrupted
    coloured, holes, covered, cut: whether any face had colours, holes, next to nothing but holes,
                               holes that reach beyond what is filled
    """

    def __init__(self, found: Survey, tools: Tools, options: RestoreOptions) -> None:
        self.found, self.tools, self.options = found, tools, options
        self.sides = sides_of(found, tools.restorer, options)
        self.people: list[Person] = []
        self.numbers: dict[int, int] = {}
        self.coloured = self.holes = self.covered = self.cut = False
        self.told, self.paid = len(tools.restorer.notes), tools.restorer.cost  # of films before
        self.earlier: tuple[int, list[str]] = (0, [])
        self.guard = chosen_guard(options, tools)
        areas = [float((path.side**2).sum()) for path in found.paths]
        self.star = int(np.argmax(areas)) if areas else -1  # whom a given picture shows
        self.seconds, lanes = 0.0, tools.restorer.lanes
        self.pool = ThreadPoolExecutor(lanes) if lanes > 1 else None

    def begin(
        self, index: int, clip: FaceClip, on_step: Callable[[], None]
    ) -> Callable[[], Answer]:
        """Start to restore a clip of a track with its person's reference; call the result for it.

        With one device the work is done in that call, with several it is under way before.
        """
        self._remark(clip)
        if index not in self.numbers:
            self.numbers[index] = self._recognise(index, clip, on_step)
        person = self.people[self.numbers[index]]

        def job() -> Answer:
            return self._answer(person, clip, on_step)

        wait = self.pool.submit(job).result if self.pool else job

        def answer() -> Answer:
            found = wait()  # noted in the order of the film, as clips overlap
            for number, value in enumerate(() if found.likeness is None else found.likeness):
                person.likeness[index, clip.first + number // clip.fields] = float(value)
            return found

        return answer

    def close(self) -> None:
        """End the threads; work that has not begun is given up."""
        if self.pool:
            self.pool.shutdown(wait=False, cancel_futures=True)

    @property
    def cost(self) -> int:
        """Frames through the network, summed over passes."""
        return self.earlier[0] + self.tools.restorer.cost - self.paid

    @property
    def notes(self) -> list[str]:
        """What the model says of its work on this film, each thing once."""
        return list(dict.fromkeys([*self.earlier[1], *self.tools.restorer.notes[self.told :]]))

    def warnings(self) -> list[str]:
        """What the user should know of the faces restored so far."""
        words = self.notes
        if self.coloured:
            words.append("the film has colours already: those of the faces are replaced")
        if self.covered:
            words.append("the mask covers a face almost whole: too little is left to fill it from")
        if self.cut:
            words.append("the mask reaches beyond the square of a face: it is filled inside only")
        if self.options.tasks.inpaint and self.numbers and not self.holes:
            words.append("the mask has no hole on a face: nothing was filled")
        return words + self._unlike()

    def _unlike(self) -> list[str]:
        words = []
        done = "its strength is lowered there" if self.guard == "blend" else "look at it"
        for number, person in enumerate(self.people):
            low = {frame: v for (_, frame), v in person.likeness.items() if v < FLOOR}
            if low:
                worst = min(low, key=lambda frame: low[frame])
                words.append(
                    f"person {number + 1} is unlike the source in {len(low)} frames, most at "
                    f"{worst / self.found.rate:.2f} s (likeness {low[worst]:.2f}): {done}"
                )
        return words

    def _answer(self, person: Person, clip: FaceClip, on_step: Callable[[], None]) -> Answer:
        restored = self._run(clip, person.reference, on_step)
        skins = None
        if self.options.tasks.color:
            points = [None] * len(clip) if clip.landmarks is None else clip.landmarks
            found = [skin_mask(*pair) for pair in zip(restored, points, strict=True)]
            restored, skins = steady_clip(restored, np.stack(found))
        likeness = self._likeness(clip, restored)
        strengths = np.ones(len(clip))
        if likeness is not None and self.guard == "blend":
            rate = float(self.found.rate) * clip.fields
            strengths = steady_strengths(strength_for(likeness), rate=rate)
        return Answer(restored, strengths, skins, likeness)

    def _likeness(self, clip: FaceClip, restored: Bytes) -> Floats | None:
        if self.guard == "off" or clip.landmarks is None:
            return None
        before = self.tools.restorer.vectors(clip.frames, clip.landmarks)
        after = self.tools.restorer.vectors(restored, clip.landmarks)
        return None if before is None or after is None else (before * after).sum(axis=-1)

    def _remark(self, clip: FaceClip) -> None:
        if self.options.tasks.color:
            self.coloured |= tint_of(clip.frames[0] / np.float32(255)) is None
        if clip.holes is not None:
            self.covered |= float(clip.holes.mean(axis=(1, 2)).max()) > COVERED
            seen, inside = clip.holes.any(axis=0), hole_mask(clip.holes.shape[-1]) > 0.5
            filled = bool((seen & inside).any())
            self.holes |= filled
            self.cut |= filled and bool((seen & ~inside).any())

    def _recognise(self, index: int, clip: FaceClip, on_step: Callable[[], None]) -> int:
        """The number of the person of a track, who may be new."""
        track, first = self.found.tracks[index], opening(clip, self.tools.restorer.window)
        best = _best(first.frames, track, first)
        looks, vector = appearance(first.frames[best]), self._vector(first, best)
        for number, person in enumerate(self.people):
            theirs = [self.found.tracks[i] for i in person.tracks]
            apart = all(t.last < track.first or track.last < t.first for t in theirs)
            if apart and _same(person, looks, vector):
                person.tracks.append(index)
                return number
        reference = self.tools.reference if index == self.star else None
        if reference is None and self.options.tasks.any_of(self.tools.restorer.self_reference):
            reference = self._own_reference(track, first, on_step)
        self.people.append(Person(looks, vector, [index], reference))
        return len(self.people) - 1

    def _own_reference(
        self, track: FaceTrack, first: FaceClip, on_step: Callable[[], None]
    ) -> Reference:
        """The best frame of a person's first clip, restored without a reference."""
        draft = self._run(first, None, on_step)
        best = _best(draft, track, first)
        landmarks = None if first.landmarks is None else first.landmarks[best]
        return Reference(np.ascontiguousarray(draft[best]), landmarks)

    def _vector(self, clip: FaceClip, number: int) -> Floats | None:
        if clip.landmarks is None:
            return None
        part = slice(number, number + 1)
        found = self.tools.restorer.vectors(clip.frames[part], clip.landmarks[part])
        return None if found is None else found[0]

    def _run(
        self, clip: FaceClip, reference: Reference | None, on_step: Callable[[], None]
    ) -> Bytes:
        begin, restorer = time.monotonic(), self.tools.restorer
        restored = restorer.restore(
            clip, self.options.tasks, reference, seed=self.options.seed, on_step=on_step
        )
        self.seconds += (time.monotonic() - begin) / restorer.lanes
        return restored


def sides_of(found: Survey, restorer: Restorer, options: RestoreOptions) -> list[int]:
    """The side of the crops of each track in pixels, all the same where they become one film."""
    faces = [float(np.median(path.side)) for path in found.paths]
    sides = [restorer.side(options.tasks, face) for face in faces]
    return [max(sides)] * len(sides) if options.crop_only and sides else sides


def chosen_guard(options: RestoreOptions, tools: Tools) -> str:
    """The identity guard in force; raises UsageError where it is asked for but cannot be."""
    possible = tools.restorer.has_identity
    if options.identity_guard is None:
        return "warn" if possible else "off"
    if options.identity_guard != "off" and not possible:
        raise UsageError(
            f"--identity-guard {options.identity_guard} needs a model with an identity network; "
            f"{tools.model['name']} has none"
        )
    return options.identity_guard


def opening(clip: FaceClip, window: int) -> FaceClip:
    """The first window of a clip."""
    parts: dict[str, Any] = {
        name: None if (value := getattr(clip, name)) is None else value[:window]
        for name in ("frames", "holes", "landmarks")
    }
    return replace(clip, **parts)


def low_likeness(person: Person, index: int) -> list[tuple[int, int, float]]:
    """Runs of frames of a track where the face is unlike its source: first, last, least cosine."""
    runs: list[tuple[int, int, float]] = []
    for (track, frame), value in sorted(person.likeness.items()):
        if track != index or value >= FLOOR:
            continue
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame, min(runs[-1][2], value))
        else:
            runs.append((frame, frame, value))
    return runs


def _best(crops: Bytes, track: FaceTrack, clip: FaceClip) -> int:
    """Number of the best reference among crops of a clip, restored or not."""
    at = clip.first - track.first + np.arange(len(crops)) // clip.fields
    return best_frame(crops, landmarks=track.landmarks[at], scores=track.scores[at])


def _same(person: Person, looks: NDArray[np.float32], vector: Floats | None) -> bool:
    if person.vector is not None and vector is not None:
        return float(person.vector @ vector) > SAME_FACE
    return same_person(person.looks, looks)
