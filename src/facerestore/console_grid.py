"""Facts as tables: of one film in two columns, of many a row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MOST_WIDTH = 200  # letters of a table


@dataclass(frozen=True)
class Grid:
    """How rows of facts are shown.

    title:   the fact that names a row;  columns: fact -> heading, format of its value
    parts:   prefix of facts -> name of the line they make below the row; "" = the row itself
    """

    title: str
    columns: dict[str, tuple[str, str]]
    parts: dict[str, str]


def draw_grid(rows: list[dict[str, Any]], look: Grid) -> None:
    """Rows with a line for each part that they have, on stdout; columns without a value are out."""
    names = [name for name in look.columns if any(row.get(name) is not None for row in rows)]
    drawn = Table("", *(look.columns[name][0] for name in names), box=SIMPLE_HEAD, pad_edge=False)
    for column in drawn.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        for prefix, part in look.parts.items():
            values = [row.get(prefix + name) for name in names]
            formats = [look.columns[name][1] for name in names]
            cells = ["-" if v is None else f"{v:{f}}" for v, f in zip(values, formats, strict=True)]
            if any(value is not None for value in values) or not part:
                drawn.add_row(escape(part or str(row[look.title])), *cells)
    console = Console()
    # a narrow terminal may break lines; a number with its end cut off says something else
    wide = console.measure(drawn, options=console.options.update(width=MOST_WIDTH)).maximum
    Console(width=max(console.width, wide)).print(drawn)


def table(title: str, facts: dict[str, Any]) -> None:
    """Facts as a table of two columns on stdout."""
    drawn = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in facts.items():
        drawn.add_row(name.replace("_", " "), _cell(value))
    Console().print(drawn, markup=False)


def _cell(value: Any) -> Text | Table:
    """Rows of facts become a table with headings, named facts one of names and values."""
    rows = value if isinstance(value, list | tuple) else [value]
    if not rows or not isinstance(rows[0], dict):
        return Text(words(value))
    if isinstance(value, dict):
        inner = Table(box=None, show_header=False, pad_edge=False)
        for name, fact in value.items():
            inner.add_row(name.replace("_", " "), _cell(fact))
        return inner
    inner = Table(*(name.replace("_", " ") for name in rows[0]), box=None, pad_edge=False)
    for row in rows:
        inner.add_row(*(_cell(fact) for fact in row.values()))
    return inner


def words(value: Any) -> str:
    """A fact in words: lists by lines, dictionaries as `name value`."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {words(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(words(item) for item in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
