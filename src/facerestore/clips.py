"""Cut the faces out of a film and restore them, chunk by chunk, each person with a reference.

The first frames of a person are restored without a reference; the best of them becomes the
person's reference for everything that follows, also after cuts (self-referred refinement, SVFR
paper section 4.3).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from facerestore.faces.identity import appearance, best_frame, same_person
from facerestore.faces.paste import tint_of
from facerestore.frames import FaceClip, FaceTrack, Reference
from facerestore.masks import crop_holes, masks_from
from facerestore.survey import Step
from facerestore.video.planes import crop_rgb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Shot
    from facerestore.options import RestoreOptions, Tools
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

    Listener = Callable[[Step], None]

COVERED = 0.7  # of the crop in the mask: no more face to see


@dataclass(frozen=True)
class FaceCrop:
    """One face in one frame (or in one field of an interlaced frame).

    track:    index in Survey.tracks;  frame: its number
    matrix:   float64 [2, 3], crop px -> display
    source, restored: uint8 RGB [S, S, 3];  holes: bool [S, S] or None
    field:    None, or 0 / 1 for the even / odd rows
    """

    track: int
    frame: int
    matrix: Floats
    source: Bytes
    restored: Bytes
    holes: NDArray[np.bool_] | None
    field: int | None


@dataclass
class Person:
    """Somebody in the film: looks (see `appearance`), tracks so far, and the reference."""

    looks: NDArray[np.float32]
    tracks: list[FaceTrack]
    reference: Reference


class People:
    """Restores clips of people and remembers what each of them looks like.

    numbers: person's number by track index;  seconds: spent in the model so far
    coloured, holes, covered: whether any face had colours, holes, next to nothing but holes
    """

    def __init__(self, found: Survey, tools: Tools, options: RestoreOptions) -> None:
        self.found, self.tools, self.options = found, tools, options
        self.people: list[Person] = []
        self.numbers: dict[int, int] = {}
        self.seconds = 0.0
        self.coloured = self.holes = self.covered = False
        self.notes = dict.fromkeys(("coloured", "holes"), False)
        areas = [float((path.side**2).sum()) for path in found.paths]
        self.star = int(np.argmax(areas)) if areas else -1  # whom a given picture shows

    def restore(self, index: int, clip: FaceClip, on_step: Callable[[], None]) -> Bytes:
        """The clip [F, S, S, 3] of a track restored, with the person's reference."""
        self._remark(clip)
        if index not in self.numbers:
            self.numbers[index] = self._recognise(index, clip)
        reference = self.people[self.numbers[index]].reference
        return self._run(clip, reference, on_step)

    def warnings(self) -> list[str]:
        """What the user should know of the faces restored so far."""
        words = []
        if self.coloured:
            words.append("the film has colours already: those of the faces are replaced")
        if self.covered:
            words.append("the mask covers a face almost whole: too little is left to fill it from")
        if self.options.tasks.inpaint and self.numbers and not self.holes:
            words.append("the mask has no hole on a face: nothing was filled")
        return words

    def _remark(self, clip: FaceClip) -> None:
        if self.options.tasks.color:
            self.coloured |= tint_of(clip.frames[0] / np.float32(255)) is None
        if clip.holes is not None:
            share = clip.holes.mean(axis=(1, 2)).max()
            self.holes, self.covered = self.holes or share > 0, self.covered or share > COVERED

    def _recognise(self, index: int, clip: FaceClip) -> int:
        """The number of the person of a track, who may be new."""
        track = self.found.tracks[index]
        first = self._opening(clip)
        looks = appearance(first.frames[_best(first.frames, track, first)])
        for number, person in enumerate(self.people):
            apart = all(t.last < track.first or track.last < t.first for t in person.tracks)
            if apart and same_person(person.looks, looks):
                person.tracks.append(track)
                return number
        reference = self.tools.reference if index == self.star else None
        if reference is None:
            draft = self._run(first, None, lambda: None)
            best = _best(draft, track, first)
            reference = Reference(draft[best], self._landmarks(index, first, best))
        self.people.append(Person(looks, [track], reference))
        return len(self.people) - 1

    def _landmarks(self, index: int, clip: FaceClip, number: int) -> Floats:
        """The five points of a clip's crop, in its own pixels."""
        track, path = self.found.tracks[index], self.found.paths[index]
        frame = min(clip.first + number // clip.fields, track.last)
        points = track.landmarks[frame - track.first]
        return path.in_crop(points, frame, self.tools.restorer.size)

    def _opening(self, clip: FaceClip) -> FaceClip:
        """The first window of a clip."""
        window = self.tools.restorer.window
        holes = None if clip.holes is None else clip.holes[:window]
        return replace(clip, frames=clip.frames[:window], holes=holes)

    def _run(
        self, clip: FaceClip, reference: Reference | None, on_step: Callable[[], None]
    ) -> Bytes:
        begin = time.monotonic()
        options = self.options
        restored = self.tools.restorer.restore(
            clip,
            options.tasks,
            reference,
            seed=options.seed,
            on_step=on_step,
        )
        self.seconds += time.monotonic() - begin
        return restored


def _best(crops: Bytes, track: FaceTrack, clip: FaceClip) -> int:
    """Number of the best reference among crops of a clip, restored or not."""
    at = clip.first - track.first + np.arange(len(crops)) // clip.fields
    return best_frame(crops, landmarks=track.landmarks[at], scores=track.scores[at])


def restored_faces(
    film: Film, people: People, options: RestoreOptions, listen: Listener
) -> Iterator[list[FaceCrop]]:
    """For each frame of the film, in order, its faces, restored."""
    found = people.found
    frames = cropped(film, found, options, size=people.tools.restorer.size)
    for shot in found.shots:
        report = _Report(listen, shot, found)
        yield from restored_shot(islice(frames, len(shot)), len(shot), people, report)


def restored_shot(
    frames: Iterator[list[FaceCrop]], n_frames: int, people: People, report: _Report
) -> Iterator[list[FaceCrop]]:
    """The frames of one shot, restored in chunks that overlap by a window and fade over there."""
    window = people.tools.restorer.window
    chunks = chunk_ranges(n_frames, limit=people.tools.restorer.chunk, overlap=window)
    held: list[list[FaceCrop]] = []  # the frames from chunk.start on
    before: list[list[FaceCrop]] = []  # the same frames as the chunk before has restored them
    for chunk, follower in zip(chunks, [*chunks[1:], None], strict=True):
        held += islice(frames, chunk.stop - chunk.start - len(held))
        report.chunk(chunk, _windows(held, window))
        restored = _restored(held, people, report.window)
        restored[: len(before)] = _faded(before, restored[: len(before)])
        done = (follower.start if follower else chunk.stop) - chunk.start
        yield from restored[:done]
        held, before = held[done:], restored[done:]


def chunk_ranges(n_frames: int, *, limit: int, overlap: int) -> list[range]:
    """Ranges of at most `limit` frames over 0..n_frames-1, neighbours sharing `overlap`."""
    if not 0 <= overlap < limit:
        raise ValueError(f"expected 0 <= overlap < limit, got {overlap}, {limit}")
    starts = range(0, max(n_frames - overlap, 1), limit - overlap)
    return [range(start, min(start + limit, n_frames)) for start in starts]


def _restored(
    frames: list[list[FaceCrop]], people: People, on_step: Callable[[], None]
) -> list[list[FaceCrop]]:
    """The same frames, the crops of each track restored together."""
    result: list[list[FaceCrop]] = [[] for _ in frames]
    for index in sorted({face.track for faces in frames for face in faces}):
        places = [(i, f) for i, faces in enumerate(frames) for f in faces if f.track == index]
        crops = [face for _, face in places]
        holes = [face.holes for face in crops if face.holes is not None]
        clip = FaceClip(
            np.stack([face.source for face in crops]),
            crops[0].frame,
            np.stack(holes) if holes else None,
            fields=1 if crops[0].field is None else 2,
        )
        pictures = people.restore(index, clip, on_step)
        for (i, face), picture in zip(places, pictures, strict=True):
            result[i].append(replace(face, restored=picture))
    return result


def _faded(old: list[list[FaceCrop]], new: list[list[FaceCrop]]) -> list[list[FaceCrop]]:
    """From the chunk before to this one, linearly over the frames that both have restored."""
    result = []
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        share = (i + 1) / (len(old) + 1)
        result.append(
            [
                replace(a, restored=_mixed(b.restored, a.restored, share))
                for b, a in zip(before, after, strict=True)
            ]
        )
    return result


def _mixed(old: Bytes, new: Bytes, share: float) -> Bytes:
    return np.rint(old * (1 - share) + new * share).astype(np.uint8)


def cropped(
    film: Film, found: Survey, options: RestoreOptions, *, size: int
) -> Iterator[list[FaceCrop]]:
    """For each frame of the film, in order, its faces as they are (`restored` = `source`)."""
    masks = None
    if options.mask is not None:
        masks = masks_from(options.mask, film.info, options.start_seconds)
    fields = (0, 1) if film.info.interlaced else (None,)
    frames = film.frames(options.start_seconds, options.end_seconds)
    for number, frame in enumerate(frames):
        mask = None if masks is None else next(masks)
        faces = []
        for index, (track, path) in enumerate(zip(found.tracks, found.paths, strict=True)):
            if not track.first <= number <= track.last:
                continue
            matrix = path.matrix(number, size)
            holes = None if mask is None else crop_holes(mask, matrix, film.info, size)
            for field in fields:
                crop = crop_rgb(frame, matrix, to_coded=film.info.to_coded, size=size, field=field)
                faces.append(FaceCrop(index, number, matrix, crop, crop, holes, field))
        yield faces


def _windows(frames: list[list[FaceCrop]], window: int) -> int:
    """About how many calls of the network a chunk takes, for the progress bar."""
    return max(1, sum(len(faces) for faces in frames) * 2 // window)


class _Report:
    """Turns finished windows into frames for the listener."""

    def __init__(self, listen: Listener, shot: Shot, found: Survey) -> None:
        self.listen, self.shot, self.found = listen, shot, found
        self.range, self.windows, self.done = range(0), 1, 0

    def chunk(self, chunk: range, windows: int) -> None:
        """A chunk of about so many windows begins."""
        self.range, self.windows, self.done = chunk, windows, 0

    def window(self) -> None:
        """One window is done."""
        self.done += 1
        share = min(1.0, self.done / self.windows)
        frame = self.shot.first + self.range.start + share * len(self.range)
        shots, faces = len(self.found.shots), len(self.found.tracks)
        self.listen(
            Step("restoring", frame, self.found.n_frames, self.shot.index + 1, shots, faces)
        )
