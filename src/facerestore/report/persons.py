"""Which track shows whom: from the record of a restoration, else by what the faces look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.faces.identity import appearance, same_person
from facerestore.video.planes import crop_rgb

if TYPE_CHECKING:
    from facerestore.faces.identity import Vector
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

    Part = tuple[float | None, float | None]

SAME_SQUARE = 1.0  # display px; the record is rounded
SIZE = 128  # px of the squares that faces are told apart in


@dataclass(frozen=True)
class Person:
    """Somebody in the film.

    number: as in the record;  tracks: indices in Survey.tracks;  restored: False = left as it was
    """

    number: int
    tracks: tuple[int, ...]
    restored: bool = True

    def frames(self, found: Survey) -> int:
        """In how many frames the person is seen."""
        return sum(len(found.tracks[index]) for index in self.tracks)


def recorded(found: Survey, faces: list[dict[str, Any]]) -> list[Person]:
    """The people of a record's `faces`; tracks that are not among them come last."""
    tracks: dict[int, list[int]] = {}
    others = []
    for index, path in enumerate(found.paths):
        square = np.array([*(path.centre[0] - path.side[0] / 2), path.side[0]])
        same = [
            face["person"]
            for face in faces
            if face["first_frame"] == path.first
            and np.abs(square - face["squares"][0]).max() < SAME_SQUARE
        ]
        if same:
            tracks.setdefault(same[0], []).append(index)
        else:
            others.append(index)
    known = [Person(number, tuple(indices)) for number, indices in sorted(tracks.items())]
    new = max(tracks, default=-1) + 1
    return known + [Person(new + i, (index,), restored=False) for i, index in enumerate(others)]


def recognised(film: Film, found: Survey, part: Part = (None, None)) -> list[Person]:
    """The people of a film by the first look at each track; a return is rather missed.

    part: first and last second that the survey is about
    """
    first = {track.first for track in found.tracks}
    looks: dict[int, Vector] = {}
    for number, frame in enumerate(film.frames(*part)):
        if number not in first:
            continue
        for index, path in enumerate(found.paths):
            if path.first == number:
                square = path.matrix(number, SIZE)
                picture = crop_rgb(frame, square, to_coded=film.info.to_coded, size=SIZE)
                looks[index] = appearance(picture)
    people: list[list[int]] = []
    for index in sorted(looks, key=lambda index: found.tracks[index].first):
        for tracks in people:
            if _apart(found, index, tracks) and same_person(looks[tracks[0]], looks[index]):
                tracks.append(index)
                break
        else:
            people.append([index])
    return [Person(number, tuple(tracks)) for number, tracks in enumerate(people)]


def _apart(found: Survey, index: int, tracks: list[int]) -> bool:
    """Whether a track is seen at no time when one of the others is."""
    track, others = found.tracks[index], [found.tracks[other] for other in tracks]
    return all(o.last < track.first or track.last < o.first for o in others)
