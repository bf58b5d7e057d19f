"""Many films: one after the other, none of which can stop the rest, and a report at the end."""

from __future__ import annotations

import glob
import os
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.attempt import BEFORE, BROKEN, DONE, ELSEWHERE, FAILED, Outcome
from facerestore.errors import ModelError
from facerestore.video.output import explained
from facerestore.video.segments import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facerestore.console import Reporter
    from facerestore.films import Job


def report_path(out: Path | None, shard: str | None) -> Path | None:
    """Where the report of a batch goes; each shard has its own."""
    if out is None:
        return None
    part = "" if shard is None else f"-{shard.replace('/', '-of-')}"
    return out / f"facerestore-report{part}.json"


@dataclass(frozen=True)
class Entry:
    """A film of the report; `seconds` were spent on it in this run."""

    job: Job
    outcome: Outcome
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        result = self.outcome.result
        facts: dict[str, Any] = {
            "input": str(self.job.source),
            "status": self.outcome.status,
            "exit_code": 0 if self.outcome.status == ELSEWHERE else self.outcome.code,
            "seconds": round(self.seconds, 3),
        }
        if self.outcome.message:
            facts["message"] = self.outcome.message
        if result is not None:
            facts |= {
                "output": str(result.output),
                "frames": result.frames,
                "people": len(result.people()),
                "model_seconds": result.seconds["model"],
                "warnings": list(result.warnings),
            }
        return facts


def run_batch(
    jobs: list[Job],
    attempt: Callable[[Job], Outcome],
    reporter: Reporter,
    *,
    report: Path | None = None,
) -> int:
    """Restore films; returns the exit code.

    attempt: restores one and never raises but KeyboardInterrupt
    report:  where the report is written, also when interrupted; None = nowhere
    Films that another process works on are tried once more at the end: it may have died.
    """
    entries: dict[Job, Entry] = {}
    try:
        later = _run(jobs, attempt, reporter, entries, done=0, of=len(jobs))
        if later:
            _run(later, attempt, reporter, entries, done=len(jobs) - len(later), of=len(jobs))
    finally:
        summary = _summary(list(entries.values()), len(jobs))
        if len(jobs) > 1:
            reporter.close()
            reporter.sum_up(summary | _failures(list(entries.values())))
        if report is not None and entries:
            films = [entry.as_dict() for entry in entries.values()]
            write_report(report, {**_about(), **summary, "films": films})
    codes = [entry.outcome.code for entry in entries.values() if entry.outcome.status == BROKEN]
    if ModelError.exit_code in codes:
        return ModelError.exit_code
    return FAILED if codes else 0


def write_report(report: Path, content: dict[str, Any]) -> None:
    """Write a report by atomic rename; several processes may write the same one at once."""
    part = report.with_name(f".{report.name}.{os.getpid()}")
    with explained(report, None):
        report.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_json(part, content)
            os.replace(part, report)
        finally:
            for left in report.parent.glob(f"{glob.escape(part.name)}*"):
                left.unlink()


def _run(
    jobs: list[Job],
    attempt: Callable[[Job], Outcome],
    reporter: Reporter,
    entries: dict[Job, Entry],
    *,
    done: int,
    of: int,
) -> list[Job]:
    """Try each film once; returns those that another process works on."""
    for number, job in enumerate(jobs, start=done + 1):
        begin = time.monotonic()
        reporter.start(job.source, number, of)
        outcome = attempt(job)
        entries[job] = Entry(job, outcome, time.monotonic() - begin)
        tell(job, outcome, reporter)
        if outcome.code == ModelError.exit_code:
            break  # the others would fail in the same way
    return [job for job in jobs if job in entries and entries[job].outcome.status == ELSEWHERE]


def tell(job: Job, outcome: Outcome, reporter: Reporter) -> None:
    """Report what became of a film."""
    if outcome.result is not None:
        for text in outcome.result.warnings:
            reporter.warn(job.source, text)
        reporter.finish(outcome.result)
    elif outcome.status == BROKEN:
        reporter.close()
        reporter.fail(job.source, outcome.message, outcome.code)
    else:
        reporter.note(outcome.message)


def _about() -> dict[str, Any]:
    return {
        "tool": f"facerestore {facerestore.__version__}",
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _summary(entries: list[Entry], count: int) -> dict[str, Any]:
    numbers = {
        status: sum(entry.outcome.status == status for entry in entries)
        for status in (DONE, BEFORE, ELSEWHERE, BROKEN)
    }
    facts: dict[str, Any] = {"count": count}
    facts |= {status.replace(" ", "_"): number for status, number in numbers.items()}
    facts["not_begun"] = count - len(entries)
    facts["seconds"] = round(sum(entry.seconds for entry in entries), 1)
    facts["frames"] = sum(e.outcome.result.frames for e in entries if e.outcome.result is not None)
    return facts


def _failures(entries: list[Entry]) -> dict[str, Any]:
    """The sentences about films that are not there now, for the table."""
    words = [entry.outcome.message for entry in entries if entry.outcome.status == BROKEN]
    return {"failures": words} if words else {}
