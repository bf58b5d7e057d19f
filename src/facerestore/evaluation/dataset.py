"""A folder of true films and of many methods' outputs, as one table like the paper's.

FOLDER/truth/NAME.mp4           the true films
FOLDER/METHOD/TASK/NAME.mp4     what a method made of the spoilt ones; TASK: bfr, color ...
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from facerestore.errors import BadInputError, UsageError
from facerestore.evaluation.pairs import film_pairs
from facerestore.evaluation.published import MEASURES, NUMBERS, PROTOCOL
from facerestore.evaluation.scores import mean_scores
from facerestore.frames import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from facerestore.evaluation.scores import Scores

TRUTH = "truth"


@dataclass(frozen=True)
class Entry:
    """A method's films for a task, each with the true one."""

    method: str
    task: str
    pairs: list[tuple[Path, Path | None]]


@dataclass(frozen=True)
class Line:
    """A line of the table.

    numbers: by name of the measure, None where it was not measured
    films, frames, fvd_clips: over which;  None where the numbers are published ones
    """

    task: str
    method: str
    numbers: dict[str, float | None]
    films: int | None = None
    frames: int | None = None
    fvd_clips: int | None = None


@dataclass(frozen=True)
class Table:
    """Lines, and in words how they came about."""

    lines: tuple[Line, ...]
    words: tuple[str, ...]


def find_entries(folder: Path) -> list[Entry]:
    """What there is to measure, by task and method.

    Raises BadInputError for a folder that does not look as above, or where a film has no partner.
    """
    truth = folder / TRUTH
    if not truth.is_dir():
        raise BadInputError(f"{folder}: no folder '{TRUTH}' with the true films in it; add it")
    entries = [
        Entry(method.name, _task(task), film_pairs(task, truth))
        for method in _folders(folder)
        if method != truth
        for task in _folders(method)
    ]
    if not entries:
        raise BadInputError(f"{folder}: no outputs; put films into METHOD/TASK, as in mini/bfr")
    return sorted(entries, key=lambda entry: (entry.task, entry.method))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _task(folder: Path) -> str:
    try:
        return str(Tasks.parse(folder.name))
    except UsageError:
        raise BadInputError(
            f"{folder}: not the name of a task; rename it to bfr, color, inpaint, or some of them "
            "with commas"
        ) from None


def line_of(entry: Entry, films: Sequence[Scores]) -> Line:
    """The means over an entry's films."""
    means = mean_scores(films)
    return Line(
        entry.task,
        entry.method,
        {name: means[name] for name in MEASURES},
        len(films),
        sum(film.frames for film in films),
        sum(film.fvd_clips for film in films),
    )


def table_of(measured: Sequence[Line], *, region: str, size: int, hardware: str) -> Table:
    """The measured lines below the published ones of the same tasks."""
    lines: list[Line] = []
    for task in dict.fromkeys(line.task for line in measured):
        lines += [
            Line(task, f"{method} (published)", dict(zip(MEASURES, numbers, strict=True)))
            for method, numbers in NUMBERS.get(task, {}).items()
        ]
        lines += [line for line in measured if line.task == task]
    squares = f"squares of {size} px that follow the faces of the true films"
    protocol = squares if region == "face" else "whole pictures; identity in " + squares
    words = [f"Measured: {protocol}; each film counts once; by facerestore on {hardware}."]
    if any(line.films is None for line in lines):
        words.append(f"Published: {PROTOCOL}.")
    words.append("PSNR in dB; FVD falls with the number of clips; protocols differ, so do numbers.")
    return Table(tuple(lines), tuple(words))


def hardware_of(device: torch.device) -> str:
    """What the measuring is done with, in words."""
    import torch

    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    else:
        what = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPU cores"
    return f"{what} (facerestore {version('facerestore')}, torch {torch.__version__})"
