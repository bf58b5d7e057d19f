"""What the user should look at, each with its moment where it has one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facerestore.report.gather import Gathered, Portrait
    from facerestore.video.reader import Film

MOMENT = re.compile(r"\bat (\d+(?:\.\d+)?) s\b")  # how the program's own warnings write a time
MORE = 1.5  # times the flicker of the film as it was: worth a look
LEAST_FLICKER = 0.5  # codes: below it nobody sees any
MOST_RUNS = 20  # of one person and kind
WORDS = {"eyes": "around the eyes", "mouth": "around the mouth"}


@dataclass(frozen=True)
class Note:
    """A warning; seconds: when, on the clock of the restored film; None = the whole film."""

    text: str
    seconds: float | None = None


def notes_on(gathered: Gathered, record: dict[str, Any], before: Film, after: Film) -> list[Note]:
    """All warnings, those about the whole film first, then by time."""
    found = [Note(text, _moment(text)) for text in record.get("warnings", [])]
    found += [Note(f"{after.info.path.name}: {text}", _moment(text)) for text in after.troubles()]
    for count, film in zip(gathered.alone, (before, after), strict=True):
        if count:
            text = f"{count} frames of {film.info.path.name} have no partner in the other film"
            found.append(Note(text))
    for portrait in gathered.portraits:
        found += _notes_on_person(portrait, gathered, record)
    return sorted(found, key=lambda note: -1.0 if note.seconds is None else note.seconds)


def runs(frames: Iterable[int], *, gap: int = 1) -> list[tuple[int, int]]:
    """First and last of each run of increasing frame numbers that are at most `gap` apart."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and frame - found[-1][1] <= gap:
            found[-1] = (found[-1][0], frame)
        else:
            found.append((frame, frame))
    return found


def _moment(text: str) -> float | None:
    match = MOMENT.search(text)
    return float(match[1]) if match else None


def _notes_on_person(portrait: Portrait, gathered: Gathered, record: dict[str, Any]) -> list[Note]:
    name = f"person {portrait.person.number + 1}"
    found = []
    for first, last, least in _strange(portrait, record)[:MOST_RUNS]:
        text = f"{name} is unlike the original in {last - first + 1} frames (likeness {least:.2f})"
        found.append(Note(text, seconds_of(gathered, first)))
    for first, last in runs(portrait.lost, gap=DETECTED_EVERY)[:MOST_RUNS]:
        where = f"frame {first}" if first == last else f"frames {first} to {last}"
        text = f"the detector sees the face of {name} before, but not after, in {where}"
        found.append(Note(text, seconds_of(gathered, first)))
    for quantity, words in WORDS.items():
        old, new = (portrait.lines[quantity, which] for which in ("before", "after"))
        if new.mean is None or old.mean is None or new.mean < LEAST_FLICKER:
            continue
        if new.mean > MORE * old.mean:
            text = (
                f"{name} flickers more than before {words}: {new.mean:.1f} codes instead of "
                f"{old.mean:.1f}, most here"
            )
            worst = int(np.nanargmax(new.points)) * new.frames // len(new.points)
            found.append(Note(text, seconds_of(gathered, worst)))
    return found


DETECTED_EVERY = 5  # frames between two looks of the detector


def _strange(portrait: Portrait, record: dict[str, Any]) -> list[tuple[int, int, float]]:
    """First and last frame and least likeness of each run; as recorded where not measured again."""
    if portrait.lines["identity", "after"].count:
        values = dict(portrait.strange)
        return [
            (first, last, min(v for frame, v in values.items() if first <= frame <= last))
            for first, last in runs(sorted(values))
        ]
    return [
        (first, last, least)
        for face in record.get("faces", [])
        if face["person"] == portrait.person.number and face.get("identity")
        for first, last, least in face["identity"]["unlike"]
    ]


def seconds_of(gathered: Gathered, frame: int) -> float:
    """When a frame is shown; that of the nearest one before it where it has no partner."""
    known = gathered.times[: frame + 1]
    known = known[~np.isnan(known)]
    return round(float(known[-1]), 3) if len(known) else 0.0
