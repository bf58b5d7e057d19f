"""Facts as tables: of one film in two columns, of many a row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
        drawn.add_row(name.replace("_", " "), words(value))
    Console().print(drawn, markup=False)


def words(value: Any) -> str:
    """A fact in words: lists by lines, dictionaries as `name value`."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {words(v)}" for name, v in value.items())
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return "\n\n".join(
            "\n".join(f"{name.replace('_', ' ')}: {words(v)}" for name, v in row.items())
            for row in value
        )
    if isinstance(value, list | tuple):
        return "\n".join(words(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
