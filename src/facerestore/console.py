"""What the user sees: a progress bar on a terminal, plain lines in pipes, JSON lines on request."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from facerestore.console_clock import Clock, describe
from facerestore.console_grid import Grid, draw_grid, table, words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from facerestore.record import Result
    from facerestore.survey import Step

LINE_SECONDS = 10.0  # between two progress lines in a pipe
JSON_SECONDS = 0.5


class Reporter(Protocol):
    """Everything the commands have to say; progress and words on stderr, results on stdout."""

    def start(self, path: Path, number: int = 1, of: int = 1) -> None:
        """A film is begun, the `number`-th of `of`."""

    def step(self, step: Step) -> None:
        """Some frames further."""

    def note(self, text: str) -> None:
        """A choice that was made."""

    def warn(self, path: Path, text: str) -> None:
        """Something the user should know, not an error."""

    def fail(self, path: Path | None, text: str, code: int) -> None:
        """A film, or the whole command, could not be done."""

    def finish(self, result: Result) -> None:
        """A film is done."""

    def tell(self, path: Path | None, facts: dict[str, Any]) -> None:
        """What was found out."""

    def sum_up(self, facts: dict[str, Any]) -> None:
        """What became of a batch."""

    def row(self, facts: dict[str, Any], *, first: bool) -> None:
        """One line of a long table."""

    def grid(self, rows: list[dict[str, Any]], mean: dict[str, Any], look: Grid) -> None:
        """Facts of films, one row each, and their mean."""

    def close(self) -> None:
        """Give the terminal back."""


def choose_reporter(*, as_json: bool, quiet: bool) -> Reporter:
    """JSON lines, silence, a bar or plain lines, by the options and by where stderr goes."""
    if as_json:
        return JsonReporter()
    if quiet:
        return QuietReporter()
    return BarReporter() if sys.stderr.isatty() else LineReporter()


class QuietReporter:
    """Errors only."""

    def start(self, path: Path, number: int = 1, of: int = 1) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def warn(self, path: Path, text: str) -> None:
        pass

    def fail(self, path: Path | None, text: str, code: int) -> None:
        sys.stderr.write(f"error: {text}\n")

    def finish(self, result: Result) -> None:
        pass

    def tell(self, path: Path | None, facts: dict[str, Any]) -> None:
        self.close()
        table(path.name if path else "facerestore", facts)

    def sum_up(self, facts: dict[str, Any]) -> None:
        pass

    def row(self, facts: dict[str, Any], *, first: bool) -> None:
        wide = [62 if isinstance(value, str) else 13 for value in facts.values()]
        if first:
            _line(facts, wide)
        _line((f"{v:.3g}" if isinstance(v, float) else words(v) for v in facts.values()), wide)

    def grid(self, rows: list[dict[str, Any]], mean: dict[str, Any], look: Grid) -> None:
        draw_grid([*rows, mean] if len(rows) > 1 else rows, look)

    def close(self) -> None:
        pass


class LineReporter(QuietReporter):
    """One plain line every few seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.next_line = 0.0

    def start(self, path: Path, number: int = 1, of: int = 1) -> None:
        self.next_line = time.monotonic() + LINE_SECONDS
        if of > 1:
            sys.stderr.write(f"film {number} of {of}: {path}\n")

    def step(self, step: Step) -> None:
        self.clock.see(step)
        if time.monotonic() < self.next_line:
            return
        self.next_line = time.monotonic() + LINE_SECONDS
        share = min(100.0, 100 * step.frame / max(step.frames, 1))
        parts = [describe(step, self.clock), *self.clock.left(step)]
        sys.stderr.write(f"{step.stage} {share:3.0f} %  {' · '.join(parts)}\n")

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def warn(self, path: Path, text: str) -> None:
        sys.stderr.write(f"warning: {path.name}: {text}\n")

    def finish(self, result: Result) -> None:
        sys.stderr.write(summary(result) + "\n")

    def sum_up(self, facts: dict[str, Any]) -> None:
        table("films", facts)


class BarReporter(LineReporter):
    """A progress bar with shots, faces, fps and time left."""

    def __init__(self) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[words]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self.console = Console(stderr=True)
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task: TaskID | None = None
        self.stage = self.which = ""

    def start(self, path: Path, number: int = 1, of: int = 1) -> None:
        self.stage = ""
        self.which = f"{number}/{of} {path.name} " if of > 1 else ""
        self.bar.start()

    def step(self, step: Step) -> None:
        self.clock.see(step)
        if step.stage != self.stage:
            if self.task is not None:
                self.bar.remove_task(self.task)
            name = escape(self.which) + step.stage
            self.task = self.bar.add_task(name, total=step.frames, words="")
            self.stage = step.stage
        assert self.task is not None
        words = describe(step, self.clock)
        total = max(step.frames, 1)
        self.bar.update(self.task, completed=min(step.frame, total), total=total, words=words)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def warn(self, path: Path, text: str) -> None:
        self.console.print(
            f"[yellow]warning[/]: {escape(path.name)}: {escape(text)}", highlight=False
        )

    def fail(self, path: Path | None, text: str, code: int) -> None:
        self.close()
        super().fail(path, text, code)

    def finish(self, result: Result) -> None:
        self.close()
        self.console.print(summary(result), highlight=False, markup=False)

    def close(self) -> None:
        self.bar.stop()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


class JsonReporter(QuietReporter):
    """One JSON object a line on stdout: start, progress, warning, done, error (on stderr, too)."""

    def __init__(self) -> None:
        self.next_line = 0.0
        self.clock = Clock()

    def _say(self, event: str, **fields: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, **fields}, default=str) + "\n")
        sys.stdout.flush()

    def start(self, path: Path, number: int = 1, of: int = 1) -> None:
        self.next_line = 0.0
        self._say("start", input=path, number=number, of=of)

    def step(self, step: Step) -> None:
        self.clock.see(step)
        if time.monotonic() < self.next_line and step.frame < step.frames:
            return
        self.next_line = time.monotonic() + JSON_SECONDS
        self._say(
            "progress",
            **(asdict(step) | {"frame": int(step.frame)}),
            fps=round(self.clock.rate(step), 2),
        )

    def note(self, text: str) -> None:
        self._say("note", message=text)

    def warn(self, path: Path, text: str) -> None:
        self._say("warning", input=path, message=text)

    def fail(self, path: Path | None, text: str, code: int) -> None:
        super().fail(path, text, code)
        self._say("error", input=path, message=text, exit_code=code)

    def finish(self, result: Result) -> None:
        self._say("done", **result.summary())

    def tell(self, path: Path | None, facts: dict[str, Any]) -> None:
        self._say("facts", **facts)

    def sum_up(self, facts: dict[str, Any]) -> None:
        self._say("summary", **facts)

    def row(self, facts: dict[str, Any], *, first: bool) -> None:
        self._say("row", **facts)

    def grid(self, rows: list[dict[str, Any]], mean: dict[str, Any], look: Grid) -> None:
        for row in rows:
            self._say("scores", **row)
        self._say("mean", **mean)


def _line(cells: Iterable[str], wide: list[int]) -> None:
    pairs = zip(cells, wide, strict=True)
    sys.stdout.write("  ".join(cell.ljust(width) for cell, width in pairs).rstrip() + "\n")


def summary(result: Result) -> str:
    """One line that says what was done, and where it is."""
    people, seconds = len(result.people()), result.seconds["total"]
    if not result.faces:
        return f"{result.source.name} -> {result.output}: no face restored"
    words = "1 person" if people == 1 else f"{people} people"
    speed = result.frames / max(seconds, 1e-3)
    return (
        f"{result.source.name} -> {result.output}: {result.frames} frames, {words}, "
        f"{seconds:.0f} s ({speed:.1f} fps)"
    )
