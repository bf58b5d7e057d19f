"""One film of several: whatever happens to it is an outcome, never the end of the others."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from facerestore.errors import NOT_ALLOWED, BusyError, DoneError, FaceRestoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facerestore.films import Job
    from facerestore.options import RestoreOptions, Tools
    from facerestore.record import Result
    from facerestore.survey import Step

FAILED, RESOURCES, INTERRUPTED = 1, 5, 130  # exit codes
DONE, BEFORE, ELSEWHERE, BROKEN = "done", "done before", "elsewhere", "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a film.

    status:  "done", "done before", "elsewhere" (another process is at it) or "failed"
    message: a sentence, empty for "done";  code: exit code;  result: of "done"
    """

    status: str
    message: str = ""
    code: int = 0
    result: Result | None = None


class Listener(Protocol):
    """Who is told how far a film is."""

    def step(self, step: Step) -> None:
        """Some frames further."""

    def note(self, text: str) -> None:
        """Something was decided."""


def attempt(
    job: Job,
    options: RestoreOptions,
    tools: Callable[[], Tools],
    listener: Listener,
    *,
    verbose: bool = False,
) -> Outcome:
    """Restore a film; only KeyboardInterrupt comes out as an exception.

    verbose: print where an unforeseen failure happened
    """
    from facerestore.restore import restore

    try:
        result = restore(
            job.source,
            job.output,
            options,
            name=job.name,
            tools=tools,
            listen=listener.step,
            say=listener.note,
        )
    except DoneError as error:
        return Outcome(BEFORE, str(error))
    except BusyError as error:
        return Outcome(ELSEWHERE, str(error), error.exit_code)
    except Exception as error:
        text, code = explain(error, job.source)
        if verbose and code == FAILED:
            traceback.print_exc()
        return Outcome(BROKEN, text, code)
    return Outcome(DONE, result=result)


def explain(error: BaseException, path: Path | None) -> tuple[str, int]:
    """A failure as one sentence, and its exit code."""
    if isinstance(error, FaceRestoreError):
        return str(error), error.exit_code
    name: Any = path or "facerestore"
    if isinstance(error, MemoryError):
        return f"{name}: not enough memory; close other programs", RESOURCES
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name}: the disk is full; free some space", RESOURCES
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and error.filename:
        return f"{error.filename}: may not be read or written; choose another place", RESOURCES
    advice = "run it with --verbose and report what it prints"
    return f"{name}: unexpected failure ({error!r}); {advice}", FAILED
