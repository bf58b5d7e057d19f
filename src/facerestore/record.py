"""The sidecar `OUT.facerestore.json`: what was done to a film, with what, and proof of it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.models.checkpoint import sha256
from facerestore.people import low_likeness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facerestore.options import RestoreOptions, Tools
    from facerestore.people import People, Person
    from facerestore.survey import Survey

SUFFIX = ".facerestore.json"
FORMAT = 1


@dataclass(frozen=True)
class Result:
    """What was done to one film.

    faces:   per face and shot: person, shot, first and last frame, crop squares
    seconds: looking, model, total;  cost: frames through the network, summed over passes
    """

    source: Path
    output: Path
    frames: int
    survey: Survey
    faces: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    cost: int
    encoder: dict[str, Any]

    def people(self) -> set[int]:
        """Numbers of the people whose face was restored."""
        return {face["person"] for face in self.faces}

    def summary(self) -> dict[str, Any]:
        """The result in a few words, for JSON lines."""
        return {
            "input": self.source,
            "output": self.output,
            "frames": self.frames,
            "shots": len(self.survey.shots),
            "people": len(self.people()),
            "warnings": self.warnings,
            "seconds": self.seconds,
        }


@cache
def source_sum() -> str:
    """SHA-256 over names and content of the program's own source files."""
    folder, total = Path(facerestore.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def sidecar_path(output: Path) -> Path:
    """`film.mp4` -> `film.mp4.facerestore.json`, beside it."""
    return output.with_name(output.name + SUFFIX)


def write_sidecar(result: Result, options: RestoreOptions, tools: Tools) -> Path:
    """Write the record of a finished film by atomic rename; returns its path."""
    target = sidecar_path(result.output)
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(record(result, options, tools), file, indent=1, default=str)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def changed(found: Survey, people: People) -> Iterator[dict[str, Any]]:
    """Per restored face and shot: who, where and when.

    squares: left, top, side in display pixels, one per frame; no sample outside them is changed
    """
    for index, (track, path) in enumerate(zip(found.tracks, found.paths, strict=True)):
        if index not in people.numbers:
            continue
        number = people.numbers[index]
        corners = path.centre - path.side[:, None] / 2
        squares = [[*corner, side] for corner, side in zip(corners, path.side, strict=True)]
        yield {
            "person": number,
            "shot": track.shot,
            "first_frame": track.first,
            "last_frame": track.last,
            "squares": [[round(float(n), 2) for n in square] for square in squares],
            "identity": identity_of(people.people[number], index, blended=people.guard == "blend"),
        }


def identity_of(person: Person, index: int, *, blended: bool) -> dict[str, Any] | None:
    """How alike source and restored face of a track are (cosine), None where nobody measured it."""
    values = [value for (track, _), value in person.likeness.items() if track == index]
    if not values:
        return None
    return {
        "mean": round(sum(values) / len(values), 4),
        "least": round(min(values), 4),
        "unlike": [[first, last, round(v, 4)] for first, last, v in low_likeness(person, index)],
        "strength_lowered": blended,
    }


def record(result: Result, options: RestoreOptions, tools: Tools) -> dict[str, Any]:
    """The sidecar's content."""
    return {
        "format": FORMAT,
        "tool": {
            "name": "facerestore",
            "version": facerestore.__version__,
            "sha256": source_sum(),
        },
        "input": {"path": result.source, "sha256": sha256(result.source)},
        "output": {"path": result.output, "sha256": sha256(result.output)},
        "model": tools.model,
        "detector": {
            "name": tools.detector.name,
            "version": tools.detector.version,
            "sha256": tools.detector.weights_sha256,
        },
        "options": {**vars(options), "tasks": str(options.tasks)},
        "encoder": result.encoder,
        "frames": result.frames,
        "shots": [[shot.first, shot.last] for shot in result.survey.shots],
        "faces": result.faces,
        "left_alone": vars(result.survey.ignored),
        "warnings": result.warnings,
        "seconds": result.seconds,
        "frame_forwards": result.cost,
    }
