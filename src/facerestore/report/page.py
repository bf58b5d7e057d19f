"""From what was gathered to one HTML file: facts as JSON, and a template that draws them.

The template is the only thing that makes elements; all text travels as JSON and is set as text, so
no name of a film can become markup.
"""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

import facerestore
from facerestore.plan import describe_picture
from facerestore.report.gather import SIZE
from facerestore.report.media import picture_url
from facerestore.report.notes import seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerestore.report.gather import Gathered, Portrait
    from facerestore.report.measure import Line, Stack
    from facerestore.report.media import Media
    from facerestore.report.notes import Note
    from facerestore.report.persons import Person
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

MOST_VALUES = 12_000  # numbers of all plots together: about 60 kB
MOST_ROWS = 200  # of shots, people, warnings: the record has them all
MOST_TIMES = 4000  # frames of uneven length whose times the player is told
PARTS = {
    "style": "page.css",
    "stage": "player.html",
    "base": "base.js",
    "player": "player.js",
    "parts": "parts.js",
}
TILE_SIDE = 160  # px of the pictures of a film strip


def html_of(facts: dict[str, Any]) -> str:
    """The page that shows the facts of `page_facts`."""
    parts = {"title": html.escape(facts["title"]), "facts": coded(facts)}
    for name, file in PARTS.items():
        parts[name] = template(file)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template("page.html"))


def coded(facts: dict[str, Any]) -> str:
    """JSON to stand in a script element."""
    text = json.dumps(facts, separators=(",", ":"), default=str)
    for letter in "<>&":  # no text in it can end the element or begin another
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def template(name: str) -> str:
    """A file of which pages are made; "player.html" and the scripts also serve other pages."""
    return files("facerestore.report").joinpath("templates", name).read_text("utf-8")


def page_facts(
    films: tuple[Film, Film],
    media: tuple[Media, Media],
    found: Survey,
    people: Sequence[Person],
    gathered: Gathered,
    notes: Sequence[Note],
    record: dict[str, Any],
) -> dict[str, Any]:
    """Everything the page shows, as JSON. films, media: before and after."""
    before, after = films
    lines = sum(len(portrait.lines) for portrait in gathered.portraits) + 2
    points = max(50, MOST_VALUES // lines)
    return {
        "title": f"{before.info.path.name} → {after.info.path.name}",
        "width": after.info.display_width,
        "height": after.info.display_height,
        "rate": found.rate,
        "frames": found.n_frames,
        "times": _uneven_times(gathered, found.rate),
        "seconds": round(seconds_of(gathered, found.n_frames - 1) + 1 / found.rate, 3),
        "films": [
            {
                "name": film.info.path.name,
                "facts": _film_facts(film),
                **vars(shown),
            }
            for film, shown in zip(films, media, strict=True)
        ],
        "warnings": [vars(note) for note in notes[:MOST_ROWS]],
        "warningsLeftOut": max(0, len(notes) - MOST_ROWS),
        "film": {
            name: {"after": _line_facts(line, points)}
            for name, line in (("changed", gathered.changed), ("holes", gathered.holes))
            if line.count
        },
        "people": [_portrait_facts(p, gathered, points) for p in gathered.portraits],
        "shots": _shot_rows(found, people, gathered)[:MOST_ROWS],
        "shotsLeftOut": max(0, len(found.shots) - MOST_ROWS),
        "peopleLeftOut": len(people) - len(gathered.portraits),
        "details": _details(record),
        "version": facerestore.__version__,
    }


def _uneven_times(gathered: Gathered, rate: float) -> list[float] | None:
    """Seconds of each frame where they are not simply number / rate."""
    times = gathered.times
    if len(times) > MOST_TIMES or np.isnan(times).any():
        return None
    steady = np.abs(times - np.arange(len(times)) / rate).max() < 0.25 / rate
    return None if steady else [round(float(t), 3) for t in times]


def _film_facts(film: Film) -> list[list[str]]:
    info = film.info
    size = info.path.stat().st_size
    rows = [
        ["file", str(info.path.absolute())],
        ["picture", describe_picture(info)],
        ["size", f"{size / 1e6:.2f} MB"],
    ]
    if info.duration_seconds is not None:
        rows.append(["length", f"{info.duration_seconds:.2f} s"])
    other = ", ".join(" ".join(filter(None, (s.kind, s.codec, s.language))) for s in info.other)
    rows.append(["other streams", other or "none"])
    return rows


def _portrait_facts(portrait: Portrait, gathered: Gathered, points: int) -> dict[str, Any]:
    lines: dict[str, dict[str, Any]] = {}
    for (quantity, which), line in portrait.lines.items():
        if line.count:
            lines.setdefault(quantity, {})[which] = _line_facts(line, points)
    return {
        "number": portrait.person.number + 1,
        "restored": portrait.person.restored,
        "tiles": [
            {
                "seconds": round(tile.seconds, 3),
                **{
                    name: picture_url(getattr(tile, name), TILE_SIDE)
                    for name in ("before", "after", "difference")
                },
            }
            for tile in portrait.tiles
        ],
        "stack": _stack_facts(portrait.stack, gathered),
        "lines": lines,
    }


def _line_facts(line: Line, points: int) -> dict[str, Any]:
    mean = None if line.mean is None else float(f"{line.mean:.4g}")
    values = line.thinned(points)
    return {"mean": mean, "values": values, "per": round(line.frames / max(len(values), 1), 1)}


def _stack_facts(stack: Stack, gathered: Gathered) -> dict[str, Any]:
    count = stack.before.shape[1]
    return {
        "begins": seconds_of(gathered, stack.first),
        "ends": seconds_of(gathered, stack.first + count - 1),
        "frames": count,
        "height": SIZE,
        "before": picture_url(stack.before),
        "after": picture_url(stack.after),
    }


def _shot_rows(found: Survey, people: Sequence[Person], gathered: Gathered) -> list[dict[str, Any]]:
    rows = []
    for shot in found.shots:
        seen = [
            {"number": person.number + 1, "restored": person.restored, "frames": frames}
            for person in people
            if (frames := sum(len(found.tracks[i]) for i in person.tracks
                              if found.tracks[i].shot == shot.index))
        ]  # fmt: skip
        rows.append(
            {
                "number": shot.index + 1,
                "first": shot.first,
                "last": shot.last,
                "begins": seconds_of(gathered, shot.first),
                "ends": seconds_of(gathered, shot.last),
                "people": seen,
            }
        )
    return rows


def _details(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Titled tables of name and value: how the film was made, as far as the record says."""
    if not record:
        return []
    seconds, frames = record["seconds"], record["frames"]
    speed = frames / max(seconds["total"], 1e-3)
    model, detector = record["model"], record["detector"]
    cost = {
        "in all": f"{seconds['total']:.1f} s ({speed:.1f} frames a second)",
        "looking for faces": f"{seconds['looking']:.1f} s",
        "in the model": f"{seconds['model']:.1f} s on each device",
        "frames through the network": record["frame_forwards"],
    }
    weights = model.get("sha256", {})
    found = {"name": f"{detector['name']} {detector['version']}", "weights": detector["sha256"]}
    sums = {"before": record["input"]["sha256"], "after": record["output"]["sha256"]}
    tool = {"facerestore": record["tool"]["version"], **record["libraries"]}
    return [
        _table("Cost", cost),
        _table("Options", _named(record["options"] | {"model": model["name"]})),
        _table("Encoder", _named(record["encoder"])),
        _table("Faces left alone", _named(record["left_alone"])),
        _table("Versions", tool),
        _table(
            "Model, SHA-256 of its files",
            {"name": f"{model['name']} {model.get('version', '')}", **weights},
        ),
        _table("Detector, SHA-256 of its weights", found),
        _table("SHA-256 of the films", sums),
    ]


def _named(facts: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in facts.items()}


def _table(title: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "rows": [[name, _words(value)] for name, value in facts.items()]}


def _words(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - not asked for
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
