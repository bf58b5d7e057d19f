"""Runs jobs for the commands: every failure becomes one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from facerestore.errors import DoneError, FaceRestoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.console import Reporter
    from facerestore.options import RestoreOptions, Tools

SOME_FAILED, RESOURCES, INTERRUPTED = 1, 5, 130


def outputs_for(inputs: list[Path], out: Path | None) -> list[Path | None]:
    """The output the user named for each input, None where the tool chooses a name.

    Raises UsageError for one output file but several films, or films of the same name.
    """
    if str(out) == "-":
        raise UsageError("-: films are not written to stdout; name a file or a folder")
    if out is None:
        return [None] * len(inputs)
    if len(inputs) == 1:
        return [out]
    if out.is_file() or (out.suffix and not out.is_dir()):
        raise UsageError(f"{out}: is one file, but there are {len(inputs)} films; name a folder")
    seen: dict[str, Path] = {}
    for source in inputs:
        other = seen.setdefault(source.name, source)
        if other is not source:
            raise UsageError(
                f"{source}: has the same name as {other}; restore them into different folders"
            )
    return [out for _ in inputs]


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


def guarded(job: Callable[[], int], path: Path | None, reporter: Reporter, *, verbose: bool) -> int:
    """Run a job; every failure becomes one sentence and an exit code."""
    try:
        return job()
    except DoneError as error:
        reporter.note(str(error))
        return 0
    except FaceRestoreError as error:
        return _failed(reporter, path, str(error), error.exit_code)
    except KeyboardInterrupt:
        text = "interrupted; what is finished is kept, the same command goes on from there"
        return _failed(reporter, path, text, INTERRUPTED)
    except MemoryError:
        text = f"{path or 'facerestore'}: not enough memory; close other programs"
        return _failed(reporter, path, text, RESOURCES)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except Exception as error:
        if verbose:
            raise
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = "the disk is full; free some space" if full else f"unexpected failure ({error!r})"
        advice = "" if full else "; run it with --verbose and report what it prints"
        code = RESOURCES if full else SOME_FAILED
        return _failed(reporter, path, f"{path or 'facerestore'}: {text}{advice}", code)
    finally:
        reporter.close()


def _failed(reporter: Reporter, path: Path | None, text: str, code: int) -> int:
    reporter.close()
    reporter.fail(path, text, code)
    return code


def restore_all(
    inputs: list[Path],
    out: Path | None,
    options: RestoreOptions,
    reporter: Reporter,
    *,
    dry_run: bool,
    verbose: bool,
) -> int:
    """Restore film after film; one that fails does not stop the rest. Returns the exit code."""
    from facerestore.options import load_tools
    from facerestore.plan import plan
    from facerestore.restore import restore

    targets = outputs_for(inputs, out)

    @cache
    def tools() -> Tools:
        loaded = load_tools(options)
        reporter.note(f"model {loaded.model['name']}: {loaded.why}")
        return loaded

    codes: list[int] = []
    try:
        for source, target in zip(inputs, targets, strict=True):

            def job(source: Path = source, target: Path | None = target) -> int:
                reporter.start(source)
                if dry_run:
                    reporter.tell(
                        source, plan(source, target, options, tools=tools, listen=reporter.step)
                    )
                    return 0
                result = restore(
                    source, target, options, tools=tools, listen=reporter.step, say=reporter.note
                )
                for text in result.warnings:
                    reporter.warn(source, text)
                reporter.finish(result)
                return 0

            codes.append(guarded(job, source, reporter, verbose=verbose))
            if codes[-1] == INTERRUPTED:
                return INTERRUPTED
    finally:
        if tools.cache_info().currsize:
            tools().restorer.close()
    return codes[0] if len(codes) == 1 else SOME_FAILED * any(codes)
