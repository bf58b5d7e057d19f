"""Films are restored in a process of their own, so that a decoder that crashes costs one film.

The process holds the model and restores film after film. This side watches it: if it dies, takes
too much memory or gives no sign of life, the film has failed, and the next one gets a new process.
It is no protection against media that are meant to take over the machine.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any

import psutil

from facerestore.attempt import BROKEN, FAILED, RESOURCES, Outcome, attempt
from facerestore.options import load_tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import FrameType

    from facerestore.attempt import Listener
    from facerestore.films import Job
    from facerestore.options import RestoreOptions, Tools
    from facerestore.survey import Step

GIB = 2**30
LOOK_SECONDS = 0.5  # between two looks at the memory
SAY_SECONDS = 0.2  # between two steps that are told
ENDING_SECONDS = 20.0  # to close files when asked to stop


@dataclass(frozen=True)
class Limits:
    """What one film may use.

    memory_gib: of the process and its helpers;  None = four fifths of the machine's
    stall_seconds: without any progress
    """

    memory_gib: float | None = None
    stall_seconds: float = 1800.0

    @property
    def memory_bytes(self) -> float:
        if self.memory_gib is None:
            return 0.8 * psutil.virtual_memory().total
        return self.memory_gib * GIB


class Sandbox:
    """Restores films in another process; `close` it.

    load: makes the tools there (it must be picklable)
    """

    def __init__(
        self,
        options: RestoreOptions,
        limits: Limits,
        *,
        load: Callable[[RestoreOptions], Tools] = load_tools,
        verbose: bool = False,
    ) -> None:
        self.limits = limits
        self.arguments = (options, load, verbose)
        self.process: Any = None
        self.pipe: Any = None

    def attempt(
        self, job: Job, listener: Listener, options: RestoreOptions | None = None
    ) -> Outcome:
        """Restore a film there; when interrupted, tell it to keep what is finished.

        options: for this film, of the same model; None = those the sandbox was made with
        """
        if self.process is not None and not self.process.is_alive():
            self._kill()  # it died between two films, so it was not this one
        if self.process is None:
            self._start()
        try:
            self.pipe.send((job, options))
            return self._outcome(job, listener)
        except (EOFError, OSError):
            return self._died(job)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *self.arguments))
        self.process.start()
        theirs.close()

    def _outcome(self, job: Job, listener: Listener) -> Outcome:
        alive = looked = time.monotonic()
        while True:
            if self.pipe.poll(LOOK_SECONDS):
                kind, content = self.pipe.recv()
                if kind == "outcome":
                    return content
                alive = time.monotonic()
                {"step": listener.step, "note": listener.note}[kind](content)
            now = time.monotonic()
            if now - alive > self.limits.stall_seconds:
                self._kill()
                return Outcome(
                    BROKEN,
                    f"{job.source}: no progress for {self.limits.stall_seconds:.0f} s, given up; "
                    "is the file damaged? Else raise --stall-limit",
                    FAILED,
                )
            if now - looked > LOOK_SECONDS:
                looked = now
                used = _memory(self.process.pid)
                if used > self.limits.memory_bytes:
                    self._kill()
                    return Outcome(
                        BROKEN,
                        f"{job.source}: needs more than {self.limits.memory_bytes / GIB:.1f} GiB "
                        "of memory; raise --memory-limit if there is more",
                        RESOURCES,
                    )

    def _died(self, job: Job) -> Outcome:
        self.process.join(ENDING_SECONDS)
        code = self.process.exitcode
        self._kill()
        if code == -signal.SIGKILL:
            text = f"{job.source}: its process was killed; is there enough memory?"
            return Outcome(BROKEN, text, RESOURCES)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        text = f"{job.source}: its process crashed ({how}); is the file damaged?"
        return Outcome(BROKEN, text, FAILED)

    def _kill(self) -> None:
        if self.process is not None:
            helpers = _family(self.process.pid)
            self.process.kill()
            for helper in helpers:
                helper.kill()
            self.process.join()
            self.pipe.close()
        self.process = self.pipe = None

    def stop(self) -> None:
        """Interrupt the film at work, from another thread; its attempt then ends as a failure."""
        process = self.process
        if process is not None:
            process.terminate()
            last = threading.Timer(ENDING_SECONDS, process.kill)  # it may hang in a decoder
            last.daemon = True
            last.start()

    def close(self) -> None:
        """End the process; a film at work there is interrupted and what is finished is kept."""
        if self.process is None:
            return
        self.process.terminate()
        self.process.join(ENDING_SECONDS)
        self._kill()


def _family(pid: int) -> list[psutil.Process]:
    """The helpers of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _memory(pid: int) -> int:
    """Bytes that a process and its helpers hold."""
    total = 0
    try:
        for process in [psutil.Process(pid), *_family(pid)]:
            total += process.memory_info().rss
    except psutil.Error:
        pass  # it has just ended, which the pipe will tell
    return total


class _Speaker:
    """Tells the other side how far a film is, not too often."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.next = pipe, 0.0

    def step(self, step: Step) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + SAY_SECONDS
            self.pipe.send(("step", step))

    def note(self, text: str) -> None:
        self.pipe.send(("note", text))


def _serve(
    pipe: Connection,
    options: RestoreOptions,
    load: Callable[[RestoreOptions], Tools],
    verbose: bool,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    speaker = _Speaker(pipe)

    @cache
    def tools() -> Tools:
        loaded = load(options)
        speaker.note(f"with model {loaded.model['name']} ({loaded.why})")
        return loaded

    try:
        signal.signal(signal.SIGTERM, _interrupt_once)
        while True:
            job, special = pipe.recv()
            outcome = attempt(job, special or options, tools, speaker, verbose=verbose)
            pipe.send(("outcome", outcome))
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # the parent has finished, or wants us to
    finally:
        if tools.cache_info().currsize:
            tools().restorer.close()


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """A process that is told to end twice must not break off while it does so."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """To run in a thread of a helper: ends the process as soon as the one that made it is gone."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # also in the middle of a computation: nobody would take the result
