"""What is known of a half-restored film, on disk: where its faces are, who they are.

Arrays in NumPy's own format, everything else as JSON text among them; nothing that runs code when
it is read.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.faces.track import Ignored
from facerestore.frames import CropPath, FaceTrack, Reference, Shot
from facerestore.people import Person
from facerestore.survey import Survey

if TYPE_CHECKING:
    from pathlib import Path

    from facerestore.background import Painter
    from facerestore.clips import Overlap
    from facerestore.people import People
    from facerestore.video.reader import Film

BACKGROUND = "background_"  # what the names of the background's arrays begin with
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def save(path: Path, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write facts (JSON) and arrays by atomic rename, so that they survive a loss of power."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts and arrays of a file; raises one of `DAMAGED`."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return json.loads(str(arrays.pop("facts"))), arrays


def save_survey(path: Path, found: Survey, film: Film) -> None:
    """Write a survey, and what the film's pass over all frames found wrong with the file."""
    facts = {
        "n_frames": found.n_frames,
        "rate": found.rate,
        "ignored": asdict(found.ignored),
        "shots": [[shot.first, shot.last] for shot in found.shots],
        "tracks": [[track.person, track.shot, track.first] for track in found.tracks],
        "damaged": film.damaged,
        "end_seconds": film.end_seconds,
    }
    arrays = {}
    for i, (track, way) in enumerate(zip(found.tracks, found.paths, strict=True)):
        arrays |= {f"boxes{i}": track.boxes, f"landmarks{i}": track.landmarks}
        arrays |= {f"scores{i}": track.scores, f"centre{i}": way.centre, f"side{i}": way.side}
    save(path, facts, arrays)


def load_survey(path: Path, film: Film) -> Survey:
    """A survey; `film` gets back what was found wrong with it. Raises one of `DAMAGED`."""
    facts, arrays = load(path)
    film.damaged, film.end_seconds = facts["damaged"], facts["end_seconds"]
    tracks, paths = [], []
    for i, (person, shot, first) in enumerate(facts["tracks"]):
        boxes, landmarks = arrays[f"boxes{i}"], arrays[f"landmarks{i}"]
        tracks.append(FaceTrack(person, shot, first, boxes, landmarks, arrays[f"scores{i}"]))
        paths.append(CropPath(first, arrays[f"centre{i}"], arrays[f"side{i}"]))
    return Survey(
        n_frames=facts["n_frames"],
        shots=tuple(Shot(i, first, last) for i, (first, last) in enumerate(facts["shots"])),
        tracks=tuple(tracks),
        paths=tuple(paths),
        ignored=Ignored(**facts["ignored"]),
        rate=facts["rate"],
    )


def save_people(
    path: Path, people: People, overlap: Overlap, painter: Painter | None = None
) -> None:
    """Write who is known so far, and the frames that the next chunk fades over from.

    painter: of the background, which knows its latest colours
    """
    facts = {
        "numbers": list(people.numbers.items()),
        "flags": [people.coloured, people.holes, people.covered, people.cut],
        "seconds": people.seconds,
        "cost": people.cost,
        "notes": people.notes,
        "people": [
            {"tracks": person.tracks, "likeness": [[*k, v] for k, v in [*person.likeness.items()]]}
            for person in people.people
        ],
        "overlap": [[strength for _, strength, _ in faces] for faces in overlap],
    }
    arrays: dict[str, Any] = {}
    for i, person in enumerate(people.people):
        arrays[f"looks{i}"] = person.looks
        if person.vector is not None:
            arrays[f"vector{i}"] = person.vector
        if person.reference is not None:
            arrays[f"image{i}"] = person.reference.image
            if person.reference.landmarks is not None:
                arrays[f"points{i}"] = person.reference.landmarks
    for i, (picture, _, skin) in enumerate(face for faces in overlap for face in faces):
        arrays[f"picture{i}"] = picture
        if skin is not None:
            arrays[f"skin{i}"] = skin
    if painter is not None:
        facts["background"], colours = painter.known()
        arrays |= {BACKGROUND + name: values for name, values in colours.items()}
    save(path, facts, arrays)


def load_people(path: Path, people: People, painter: Painter | None = None) -> Overlap:
    """Tell `people` and `painter` what is known so far; returns the frames to fade over from.

    Raises one of `DAMAGED`.
    """
    facts, arrays = load(path)
    people.numbers = dict(facts["numbers"])
    people.coloured, people.holes, people.covered, people.cut = facts["flags"]
    people.seconds, people.earlier = facts["seconds"], (facts["cost"], facts["notes"])
    people.people = [
        Person(
            arrays[f"looks{i}"],
            arrays.get(f"vector{i}"),
            known["tracks"],
            Reference(arrays[f"image{i}"], arrays.get(f"points{i}"))
            if f"image{i}" in arrays
            else None,
            {(track, frame): value for track, frame, value in known["likeness"]},
        )
        for i, known in enumerate(facts["people"])
    ]
    if painter is not None:
        length = len(BACKGROUND)
        colours = {name[length:]: v for name, v in arrays.items() if name.startswith(BACKGROUND)}
        painter.go_on(facts["background"], colours)
    pictures = map("picture{}".format, count())
    skins = map("skin{}".format, count())
    return [
        [(arrays[next(pictures)], strength, arrays.get(next(skins))) for strength in faces]
        for faces in facts["overlap"]
    ]
