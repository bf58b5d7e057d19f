"""The sidecar `OUT.facerestore.json`: what was done to a film, with what, and proof of it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.errors import BadInputError, DoneError, UsageError
from facerestore.models.checkpoint import sha256
from facerestore.people import low_likeness
from facerestore.places import sidecar_path
from facerestore.video.output import sidecar_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facerestore.options import RestoreOptions, Tools
    from facerestore.people import People, Person
    from facerestore.survey import Survey
    from facerestore.video.profiles import Encoding

FORMAT = 2
# what makes an output the same, with the input
SAME = ("given", "model", "background", "detector", "options")
LIBRARIES = ("av", "numpy", "opencv-python", "torch")  # whose versions can change a sample


@dataclass(frozen=True)
class Result:
    """What was done to one film.

    faces:   per face and shot: person, shot, first and last frame, crop squares
    seconds: looking, model, background, total
    cost:    frames through the network, summed over passes;  background_cost: calls of its network
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
    background_cost: int = 0

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


def job_of(
    source: Path,
    options: RestoreOptions,
    tools: Tools,
    encoding: Encoding,
    known: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All that decides what an output is like, as JSON.

    known: the record of an earlier output; the input's sum is taken from there if its size and time
           are still the same
    """
    given = {"mask": options.mask, "reference": options.reference}
    job = {
        "tool": {
            "name": "facerestore",
            "version": facerestore.__version__,
            "sha256": source_sum(),
        },
        "libraries": {name: version(name) for name in LIBRARIES},
        "input": _file_facts(source, (known or {}).get("input", {})),
        "given": {name: path and sha256(path) for name, path in given.items()},
        "model": tools.model,
        "background": tools.background and tools.background.facts,
        "detector": {
            "name": tools.detector.name,
            "version": tools.detector.version,
            "sha256": tools.detector.weights_sha256,
        },
        "options": options.deciding(),
        "encoding": vars(encoding),
    }
    return json.loads(json.dumps(job, default=str))


def _file_facts(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    facts = _size_and_time(path)
    same = all(known.get(name) == value for name, value in facts.items())
    return {**facts, "sha256": known.get("sha256") if same else sha256(path)}


def _size_and_time(path: Path) -> dict[str, int]:
    there = path.stat()
    return {"size": there.st_size, "mtime_ns": there.st_mtime_ns}


def check_unchanged(source: Path, job: dict[str, Any]) -> None:
    """Raise BadInputError where the input is not any more what it was when the job began."""
    try:
        now = _size_and_time(source)
    except OSError:
        raise BadInputError(f"{source}: has vanished while it was read; bring it back") from None
    if any(job["input"][name] != value for name, value in now.items()):
        raise BadInputError(f"{source}: has changed while it was read; wait until it is complete")


def read_sidecar(output: Path) -> dict[str, Any] | None:
    """The record beside an output; None where there is none that can be read."""
    try:
        content = json.loads(sidecar_path(output).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def check_not_done(output: Path, job: dict[str, Any]) -> None:
    """Raise DoneError where the output is there already, UsageError where another one is.

    To be called under the output's lease, too: another process may just have made it.
    """
    if not output.exists():
        return
    known = read_sidecar(output)
    if known and known.get("input", {}).get("sha256") == job["input"]["sha256"]:
        whole = known.get("output", {}).get("size") == output.stat().st_size
        if whole and all(known.get(name) == job[name] for name in SAME):
            raise DoneError(f"{output}: done already")
    raise UsageError(f"{output}: exists already, made in another way; remove it or add --overwrite")


def write_sidecar(part: Path, result: Result, job: dict[str, Any]) -> None:
    """Write the record of a finished part file, to be published along with it."""
    with sidecar_part(part).open("w", encoding="utf-8") as file:
        json.dump(record(part, result, job), file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())


def changed(found: Survey, people: People) -> Iterator[dict[str, Any]]:
    """Per restored face and shot: who, where and when.

    crop: px of a side of its crops in the model
    squares: left, top, side in display pixels, one per frame; no sample outside them is changed,
    unless there is a background
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
            "crop": people.sides[index],
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


def record(part: Path, result: Result, job: dict[str, Any]) -> dict[str, Any]:
    """The sidecar's content; `part` is the output before it has its name."""
    size = part.stat().st_size
    return {
        "format": FORMAT,
        **{name: job[name] for name in ("tool", "libraries", *SAME)},
        "input": {"path": result.source, **job["input"]},
        "output": {"path": result.output, "size": size, "sha256": sha256(part)},
        "encoder": result.encoder,
        "frames": result.frames,
        "shots": [[shot.first, shot.last] for shot in result.survey.shots],
        "faces": result.faces,
        "changed_outside_faces": result.background_cost > 0,
        "left_alone": vars(result.survey.ignored),
        "warnings": result.warnings,
        "seconds": result.seconds,
        "frame_forwards": result.cost,
        "background_forwards": result.background_cost,
    }
