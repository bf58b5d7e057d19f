"""Cut the faces out of a film and restore them, chunk by chunk, each person with a reference."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from facerestore.frames import FaceClip
from facerestore.masks import crop_holes, masks_from
from facerestore.models.windows import chunk_ranges
from facerestore.survey import Step
from facerestore.video.planes import crop_rgb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Shot
    from facerestore.options import RestoreOptions
    from facerestore.people import Answer, People
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

    Listener = Callable[[Step], None]
    Faces = list["FaceCrop"]
    # per frame and face: uint8 [S, S, 3], strength, uint8 [S, S] or None
    Overlap = list[list[tuple[Bytes, float, Bytes | None]]]


@dataclass(frozen=True)
class FaceCrop:
    """One face in one frame (or in one field of an interlaced frame).

    track:    index in Survey.tracks;  frame: its number
    matrix:   float64 [2, 3], crop px -> display
    source, restored: uint8 RGB [S, S, 3];  holes: bool [S, S] or None
    field:    None, or 0 / 1 for the even / odd rows
    landmarks: float64 [5, 2] in crop pixels, or None;  strength: 0..1, how much of it to use
    skin:     uint8 [S, S], how much of new colours, or None
    """

    track: int
    frame: int
    matrix: Floats
    source: Bytes
    restored: Bytes
    holes: NDArray[np.bool_] | None
    field: int | None
    landmarks: Floats | None = None
    strength: float = 1.0
    skin: Bytes | None = None


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of one shot that are restored together.

    keep:  so many are ready afterwards; the rest overlaps with the next chunk and fades over there
    fresh: the first of its shot;  pending: by track index the places of its crops, and the work
    """

    faces: list[Faces]
    keep: int
    fresh: bool
    pending: list[tuple[list[tuple[int, int]], Callable[[], Answer]]]


@dataclass(frozen=True)
class Piece:
    """Consecutive frames whose faces are restored.

    overlap: the frames after them as they were restored along with them, for the next chunk to fade
             over from; empty at the end of a shot
    """

    faces: list[Faces]
    overlap: Overlap


def restored_faces(
    film: Film,
    people: People,
    options: RestoreOptions,
    listen: Listener,
    *,
    first: int = 0,
    overlap: Overlap | None = None,
) -> Iterator[Piece]:
    """The faces of the film's frames from number `first` on, in order, restored.

    first: where a chunk begins;  overlap: of the piece before it
    """
    found = people.found
    frames = cropped(film, found, options, sides=people.sides, first=first)
    begun = chunks(frames, found.shots, people, _Report(listen, found), first=first)
    return restored(begun, people, overlap or [])


def restored(work: Iterable[Chunk], people: People, before: Overlap) -> Iterator[Piece]:
    """The pieces of chunks, each begun as many chunks ahead as there are devices."""
    begun: deque[Chunk] = deque()

    def finish() -> Piece:
        nonlocal before
        chunk = begun.popleft()
        done = _finished(chunk)
        if not chunk.fresh:
            done[: len(before)] = _faded(before, done[: len(before)])
        ahead = done[chunk.keep :]
        before = [[(f.restored, f.strength, f.skin) for f in faces] for faces in ahead]
        return Piece(done[: chunk.keep], before)

    try:
        for chunk in work:
            begun.append(chunk)
            if len(begun) >= people.tools.restorer.lanes:
                yield finish()
        while begun:
            yield finish()
    finally:
        people.close()


def chunks(
    frames: Iterator[Faces],
    shots: Iterable[Shot],
    people: People,
    report: _Report,
    *,
    first: int = 0,
) -> Iterator[Chunk]:
    """The frames of each shot in chunks that overlap by a window, the work on them begun.

    first: number of the first of `frames`, where a chunk begins
    """
    restorer = people.tools.restorer
    for shot in shots:
        ranges = chunk_ranges(len(shot), limit=restorer.chunk, overlap=restorer.window)
        held: list[Faces] = []  # the frames from the chunk's start on
        for chunk, follower in zip(ranges, [*ranges[1:], None], strict=True):
            if shot.first + chunk.start < first:
                continue
            held += islice(frames, chunk.stop - chunk.start - len(held))
            on_step = report.chunk(shot, chunk, _calls(held, people))
            keep = (follower.start if follower else chunk.stop) - chunk.start
            pending = _begun(held, people, on_step)
            yield Chunk(list(held), keep, chunk.start == 0, pending)
            held = held[keep:]


def _begun(
    frames: list[Faces], people: People, on_step: Callable[[], None]
) -> list[tuple[list[tuple[int, int]], Callable[[], Answer]]]:
    """The crops of each track together, on their way through the model."""
    pending = []
    for index in sorted({face.track for faces in frames for face in faces}):
        places = [
            (i, j)
            for i, faces in enumerate(frames)
            for j, face in enumerate(faces)
            if face.track == index
        ]
        clip = _clip([frames[i][j] for i, j in places])
        pending.append((places, people.begin(index, clip, on_step)))
    return pending


def _clip(crops: list[FaceCrop]) -> FaceClip:
    holes = [face.holes for face in crops if face.holes is not None]
    landmarks = [face.landmarks for face in crops if face.landmarks is not None]
    return FaceClip(
        np.stack([face.source for face in crops]),
        crops[0].frame,
        np.stack(holes) if holes else None,
        np.stack(landmarks) if landmarks else None,
        fields=1 if crops[0].field is None else 2,
    )


def _finished(chunk: Chunk) -> list[Faces]:
    """The chunk's frames with their faces restored."""
    result = [list(faces) for faces in chunk.faces]
    for places, wait in chunk.pending:
        answer = wait()
        skins = [None] * len(places) if answer.skins is None else answer.skins
        parts = zip(places, answer.frames, answer.strengths, skins, strict=True)
        for (i, j), picture, share, skin in parts:
            result[i][j] = replace(result[i][j], restored=picture, strength=float(share), skin=skin)
    return result


def _faded(old: Overlap, new: list[Faces]) -> list[Faces]:
    """From the chunk before to this one, linearly over the frames that both have restored."""
    result = []
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        share = (i + 1) / (len(old) + 1)
        result.append([_mixed(b, a, share) for b, a in zip(before, after, strict=True)])
    return result


def _mixed(old: tuple[Bytes, float, Bytes | None], new: FaceCrop, share: float) -> FaceCrop:
    def mixed(before: Bytes, after: Bytes) -> Bytes:
        return np.rint(before * (1 - share) + after * share).astype(np.uint8)

    picture, strength, skin = old
    return replace(
        new,
        restored=mixed(picture, new.restored),
        strength=strength * (1 - share) + new.strength * share,
        skin=None if skin is None or new.skin is None else mixed(skin, new.skin),
    )


def cropped(
    film: Film, found: Survey, options: RestoreOptions, *, sides: Sequence[int], first: int = 0
) -> Iterator[Faces]:
    """For each frame from number `first` on its faces as they are (`restored` = `source`).

    sides: px of the crops of each track
    """
    masks = None
    if options.mask is not None:
        masks = masks_from(options.mask, film.info, options.start_seconds)
    fields = (0, 1) if film.info.interlaced else (None,)
    frames = film.frames(options.start_seconds, options.end_seconds)
    for number, frame in enumerate(frames):
        mask = None if masks is None else next(masks)
        if number < first:
            continue
        faces = []
        for index, (track, path) in enumerate(zip(found.tracks, found.paths, strict=True)):
            if not track.first <= number <= track.last:
                continue
            size = sides[index]
            matrix = path.matrix(number, size)
            holes = None if mask is None else crop_holes(mask, matrix, film.info, size, wider=True)
            for field in fields:
                crop = crop_rgb(frame, matrix, to_coded=film.info.to_coded, size=size, field=field)
                points = track.landmarks[number - track.first]
                points = path.in_crop(points, number, size)
                faces.append(FaceCrop(index, number, matrix, crop, crop, holes, field, points))
        yield faces


def _calls(frames: list[Faces], people: People) -> int:
    """About how many calls of the network a chunk takes, for the progress bar."""
    restorer, tasks = people.tools.restorer, people.options.tasks
    counts = Counter(face.track for faces in frames for face in faces).values()
    return max(1, sum(restorer.forwards(count, tasks) for count in counts) // restorer.window)


class _Report:
    """Turns calls of the network into frames for the listener."""

    def __init__(self, listen: Listener, found: Survey) -> None:
        self.listen, self.found = listen, found

    def chunk(self, shot: Shot, chunk: range, calls: int) -> Callable[[], None]:
        """A chunk of about so many calls begins; what to call after each of them."""
        done = -1

        def call() -> None:
            nonlocal done
            done += 1
            share = min(1.0, done / calls)
            frame = shot.first + chunk.start + share * len(chunk)
            shots, faces = len(self.found.shots), len(self.found.tracks)
            self.listen(Step("restoring", frame, self.found.n_frames, shot.index + 1, shots, faces))

        call()  # frames without faces are progress, too
        return call
