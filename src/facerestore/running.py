"""Runs jobs for the commands: every failure becomes one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from facerestore.attempt import BROKEN, FAILED, INTERRUPTED, Outcome, attempt, explain
from facerestore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facerestore.console import Reporter
    from facerestore.films import Job
    from facerestore.options import RestoreOptions, Tools
    from facerestore.sandbox import Limits

STOPPED = "interrupted; nothing is kept, start it again"
KEPT = "interrupted; what is finished is kept, the same command goes on from there"


def seconds_from(text: str | None) -> float | None:
    """`90`, `1:30` and `0:01:30.5` in seconds; raises UsageError for anything else."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    wrong = any(not 0 <= part < float("inf") for part in parts)
    if not 1 <= len(parts) <= 3 or wrong or any(part >= 60 for part in parts[1:]):
        raise UsageError(f"'{text}' is not a time; write 90, 1:30 or 0:01:30.5")
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


def guarded(
    job: Callable[[], int],
    path: Path | None,
    reporter: Reporter,
    *,
    verbose: bool,
    stopped: str = STOPPED,
) -> int:
    """Run a job; every failure becomes one sentence and an exit code.

    stopped: the sentence for Ctrl-C
    """
    try:
        return job()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        text, code = (stopped, INTERRUPTED) if interrupted else explain(error, path)
        if verbose and code == FAILED:
            raise
        reporter.close()
        reporter.fail(path, text, code)
        return code
    finally:
        reporter.close()


def restore_all(
    jobs: list[Job],
    options: RestoreOptions,
    reporter: Reporter,
    *,
    limits: Limits | None = None,
    report: Path | None = None,
    ray: str | None = None,
    verbose: bool = False,
) -> int:
    """Restore films, in a process of their own if `limits` are given. Returns the exit code.

    report: where the report of a batch goes;  None = no batch, or one without a folder
    ray:    address of the cluster to work on;  several films go there whole, of one the clips
    """
    from facerestore.options import load_tools

    load: Callable[[RestoreOptions], Tools] = load_tools
    if ray is not None:
        from facerestore import ray_runner

        if len(jobs) > 1:
            with ray_runner.films_on(
                ray, jobs, options, reporter, limits=limits, verbose=verbose
            ) as there:
                return _restore(jobs, there, reporter, report)
        load = partial(load_tools, restorer_from=partial(ray_runner.restorer_on, ray))
    if limits is None:
        with loading(options, reporter, load) as tools:

            def here(job: Job) -> Outcome:
                return attempt(job, options, tools, reporter, verbose=verbose)

            return _restore(jobs, here, reporter, report)
    from facerestore.sandbox import Sandbox

    box = Sandbox(options, limits, load=load, verbose=verbose)
    try:
        return _restore(jobs, lambda job: box.attempt(job, reporter), reporter, report)
    finally:
        box.close()


def _restore(
    jobs: list[Job],
    attempt_one: Callable[[Job], Outcome],
    reporter: Reporter,
    report: Path | None,
) -> int:
    from facerestore.batch import run_batch, tell

    if report is not None or len(jobs) > 1:
        return run_batch(jobs, attempt_one, reporter, report=report)
    reporter.start(jobs[0].source)
    outcome = attempt_one(jobs[0])
    if outcome.code:
        outcome = replace(outcome, status=BROKEN)  # elsewhere: nobody else will tell
    tell(jobs[0], outcome, reporter)
    return outcome.code


def look_all(jobs: list[Job], options: RestoreOptions, reporter: Reporter, *, verbose: bool) -> int:
    """Say what would be done to each film, without writing anything. Returns the exit code."""
    from facerestore.options import load_tools
    from facerestore.plan import plan

    with loading(options, reporter, load_tools) as tools:
        codes: list[int] = []
        for job in jobs:

            def look(job: Job = job) -> int:
                reporter.start(job.source)
                facts = plan(
                    job.source,
                    job.output,
                    options,
                    name=job.name,
                    tools=tools,
                    listen=reporter.step,
                )
                reporter.tell(job.source, facts)
                return 0

            codes.append(guarded(look, job.source, reporter, verbose=verbose))
            if codes[-1] == INTERRUPTED:
                return INTERRUPTED
    return codes[0] if len(codes) == 1 else FAILED * any(codes)


@contextmanager
def loading(
    options: RestoreOptions, reporter: Reporter, load: Callable[[RestoreOptions], Tools]
) -> Iterator[Callable[[], Tools]]:
    """What loads the tools when they are first needed; they are given back at the end."""

    @cache
    def tools() -> Tools:
        loaded = load(options)
        reporter.note(f"with model {loaded.model['name']} ({loaded.why})")
        return loaded

    try:
        yield tools
    finally:
        if tools.cache_info().currsize:
            tools().restorer.close()
