"""A table of methods as Markdown, CSV or LaTeX (with booktabs)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from facerestore.errors import UsageError
from facerestore.evaluation.published import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facerestore.evaluation.dataset import Line, Table

FORMATS = {"psnr": ".3f", "ssim": ".3f", "lpips": ".3f", "ids": ".3f", "vidd": ".3f", "fvd": ".2f"}
HEAD = ("task", "method", *(name.upper() for name in MEASURES), "films", "frames", "FVD clips")
LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}


def cells_of(line: Line, empty: str) -> list[str]:
    """A line in words; `empty` where there is no number."""
    numbers = [
        empty if (value := line.numbers[name]) is None else f"{value:{FORMATS[name]}}"
        for name in MEASURES
    ]
    counts = [
        empty if value is None else str(value)
        for value in (line.films, line.frames, line.fvd_clips)
    ]
    return [line.task, line.method, *numbers, *counts]


def as_markdown(table: Table) -> str:
    """A table and, below it, how it came about."""
    rows = [HEAD, ["---"] * 2 + ["---:"] * (len(HEAD) - 2)]
    rows += [[c.replace("|", r"\|") for c in cells_of(line, "-")] for line in table.lines]
    drawn = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([drawn, *table.words]) + "\n"


def as_csv(table: Table) -> str:
    """A header and a row a line, numbers as they are; `# ` begins what is said of them."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(HEAD)
    writer.writerows(cells_of(line, "") for line in table.lines)
    return file.getvalue() + "".join(f"# {text}\r\n" for text in table.words)


def as_latex(table: Table) -> str:
    """A tabular for the booktabs package; what is said of it as comments."""
    rows = [" & ".join(map(_escaped, cells_of(line, "--"))) + r" \\" for line in table.lines]
    return "\n".join(
        [
            *(f"% {text}" for text in table.words),
            rf"\begin{{tabular}}{{ll{'r' * (len(HEAD) - 2)}}}",
            r"\toprule",
            " & ".join(HEAD) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


WRITERS: dict[str, Callable[[Table], str]] = {
    ".md": as_markdown,
    ".csv": as_csv,
    ".tex": as_latex,
}


def writer_for(path: Path) -> Callable[[Table], str]:
    """What a file's suffix asks for; raises UsageError for any other."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"{path}: name a file that ends in {', '.join(WRITERS)} for --table")
    return WRITERS[path.suffix.lower()]
