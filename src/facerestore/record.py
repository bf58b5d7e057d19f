"""The sidecar `OUT.facerestore.json`: what was done to a film, with what, and proof of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.models.checkpoint import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facerestore.options import RestoreOptions, Tools
    from facerestore.restore import Result
    from facerestore.survey import Survey

SUFFIX = ".facerestore.json"
FORMAT = 1


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


def changed(found: Survey, people: dict[int, int]) -> Iterator[dict[str, Any]]:
    """Per restored face and shot: who, where and when.

    people: person's number by track index
    squares: left, top, side in display pixels, one per frame; no sample outside them is changed
    """
    for index, (track, path) in enumerate(zip(found.tracks, found.paths, strict=True)):
        if index not in people:
            continue
        corners = path.centre - path.side[:, None] / 2
        squares = [[*corner, side] for corner, side in zip(corners, path.side, strict=True)]
        yield {
            "person": people[index],
            "shot": track.shot,
            "first_frame": track.first,
            "last_frame": track.last,
            "squares": [[round(float(n), 2) for n in square] for square in squares],
        }


def record(result: Result, options: RestoreOptions, tools: Tools) -> dict[str, Any]:
    """The sidecar's content."""
    return {
        "format": FORMAT,
        "tool": {"name": "facerestore", "version": facerestore.__version__},
        "input": {"path": result.source, "sha256": sha256(result.source)},
        "output": {"path": result.output, "sha256": sha256(result.output)},
        "model": tools.model,
        "detector": {
            "name": tools.detector.name,
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
