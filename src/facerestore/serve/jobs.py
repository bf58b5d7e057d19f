"""The queue: films and previews, one after the other, restored as `facerestore restore` does it.

A thread gives them to a sandbox (sandbox.py), which keeps the model for a while for the next one.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facerestore.attempt import BEFORE, DONE
from facerestore.errors import FaceRestoreError, UsageError
from facerestore.films import Job
from facerestore.options import load_tools
from facerestore.places import page_path
from facerestore.sandbox import Limits, Sandbox
from facerestore.serve.helper import COPY_SECONDS, Helper
from facerestore.serve.looks import pair
from facerestore.serve.scratch import keep_newest
from facerestore.video.segments import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facerestore.attempt import Outcome
    from facerestore.options import RestoreOptions, Tools
    from facerestore.survey import Step

WAITING, WORKING, FAILED, STOPPED = "waiting", "working", "failed", "stopped"  # and DONE
RESTORE, PREVIEW = "restore", "preview"
IDLE_SECONDS = 300.0  # then the model's memory is given back
MOST_TICKETS = 50  # kept to look back at
MOST_WAITING = 200
MOST_NOTES = 20
PREVIEWS_KEPT = 6
FACTS = "facts.json"  # of a preview, for the player


@dataclass(frozen=True)
class Ticket:
    """A film in the queue.

    kind:   "restore" or "preview" (a part into `output`, a scratch folder's film)
    name:   of the film below the served folder;  source, output: full paths
    status: "waiting", "working", "done", "failed", "stopped";  message: why, or how it went
    step:   how far it is;  rate: frames per second of this stage
    """

    number: int
    kind: str
    name: str
    source: Path
    output: Path
    options: RestoreOptions
    status: str = WAITING
    message: str = ""
    notes: tuple[str, ...] = ()
    step: Step | None = None
    rate: float = 0.0

    @property
    def report(self) -> Path | None:
        """The report page, where it is."""
        page = page_path(self.output)
        return page if self.kind == RESTORE and self.status == DONE and page.exists() else None

    @property
    def shown(self) -> bool:
        """Whether the player can show it: a preview that is done and not yet thrown away."""
        return self.kind == PREVIEW and (self.output.parent / FACTS).exists()


class Queue:
    """Tickets and the thread that works on them; `close` it.

    helper: its own, that makes what a preview shows, and is ended where a film is stopped
    load: makes the model's tools, in the sandbox
    """

    def __init__(
        self, helper: Helper, *, load: Callable[[RestoreOptions], Tools] = load_tools
    ) -> None:
        self.helper, self.load = helper, load
        self.tickets: dict[int, Ticket] = {}
        self.changed = threading.Condition()
        self.current: int | None = None
        self.stopping = self.closing = False
        self.box: Sandbox | None = None
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def add(
        self, kind: str, name: str, source: Path, output: Path, options: RestoreOptions
    ) -> Ticket:
        """Put a film at the end, a preview before the waiting films; raises UsageError."""
        with self.changed:
            open_ones = [t for t in self.tickets.values() if t.status in (WAITING, WORKING)]
            if any(t.output == output for t in open_ones):
                raise UsageError(f"{name}: is in the queue already")
            if len(open_ones) >= MOST_WAITING:
                raise UsageError(f"{name}: {MOST_WAITING} films are waiting; wait for some of them")
            number = max(self.tickets, default=0) + 1
            ticket = Ticket(number, kind, name, source, output, options)
            self.tickets[number] = ticket
            over = [n for n, t in self.tickets.items() if t.status not in (WAITING, WORKING)]
            for old in over[:-MOST_TICKETS]:
                del self.tickets[old]
            self.changed.notify_all()
        return ticket

    def stop(self, number: int) -> None:
        """Take a film out of the queue or interrupt it; raises UsageError where there is none."""
        with self.changed:
            ticket = self.tickets.get(number)
            if ticket is None:
                raise UsageError(f"film {number} of the queue: is not there any more")
            if ticket.status == WAITING:
                self.tickets[number] = replace(ticket, status=STOPPED, message="not begun")
            elif number == self.current:
                self._interrupt()

    def all(self) -> list[Ticket]:
        """All tickets, the newest last."""
        with self.changed:
            return list(self.tickets.values())

    def close(self) -> None:
        """Interrupt what is at work, which keeps what is finished, and end all processes."""
        with self.changed:
            self.closing = True
            self._interrupt()
            self.changed.notify_all()
        self.thread.join()

    def _interrupt(self) -> None:
        self.stopping = True
        self.helper.close()
        if self.box is not None:
            self.box.stop()

    # ---- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (ticket := self._next()) is not None:
                outcome = self._attempt(ticket)
                with self.changed:
                    self.current = None
                    self._change(ticket.number, **outcome)
                    if self.stopping:
                        self._close_box()  # it was told to end, be it in time or too late
        finally:
            self._close_box()

    def _next(self) -> Ticket | None:
        with self.changed:
            while not self.closing:
                waiting = [t for t in self.tickets.values() if t.status == WAITING]
                if waiting:
                    ticket = min(waiting, key=lambda t: (t.kind != PREVIEW, t.number))
                    self.current, self.stopping = ticket.number, False
                    self._change(ticket.number, status=WORKING)
                    return ticket
                if not self.changed.wait(IDLE_SECONDS):
                    self._close_box()
        return None

    def _change(self, number: int, **fields: Any) -> None:
        self.tickets[number] = replace(self.tickets[number], **fields)

    def _attempt(self, ticket: Ticket) -> dict[str, Any]:
        """Work on one; returns the fields that tell what became of it. Never raises."""
        try:
            if ticket.kind == PREVIEW:
                ticket.output.parent.mkdir(parents=True)
            box, listener = self._box_for(ticket.options), _Listener(self, ticket.number)
            outcome = box.attempt(Job(ticket.source, ticket.output), listener, ticket.options)
            if ticket.kind == PREVIEW and outcome.status == DONE and not self.stopping:
                self._show(ticket)
            return self._became(ticket, outcome)
        except _StoppedError:
            return self._stopped(ticket)
        except FaceRestoreError as error:
            if self.stopping:
                return self._stopped(ticket)
            return {"status": FAILED, "message": str(error)}
        except Exception as error:  # the other films are to be restored all the same
            return {"status": FAILED, "message": f"{ticket.name}: unexpected failure ({error!r})"}

    def _box_for(self, options: RestoreOptions) -> Sandbox:
        """The sandbox with the model of these options, which differ in nothing else that is loaded.

        A film that is stopped while it is made is stopped by its first sign of life.
        """
        with self.changed:
            if self.box is not None and self.box.arguments[0].model != options.model:
                self._close_box()
            if self.box is None:
                self.box = Sandbox(options, Limits(), load=self.load)
            return self.box

    def _close_box(self) -> None:
        if self.box is not None:
            self.box.close()
        self.box = None

    def _show(self, ticket: Ticket) -> None:
        """Make of a preview what the player shows."""
        options, folder = ticket.options, ticket.output.parent
        start, end = options.start_seconds or 0.0, options.end_seconds
        facts = self.helper.ask(
            pair, ticket.source, ticket.output, folder, start, end, seconds=COPY_SECONDS
        )
        ticket.output.unlink()
        write_json(folder / FACTS, facts)
        with suppress(OSError):
            keep_newest(folder.parent, PREVIEWS_KEPT)

    def _became(self, ticket: Ticket, outcome: Outcome) -> dict[str, Any]:
        if outcome.status in (DONE, BEFORE):
            warnings = outcome.result.warnings if outcome.result else ()
            notes = (*self.tickets[ticket.number].notes, *warnings)
            return {"status": DONE, "message": _words(outcome), "notes": notes}
        if self.stopping:
            return self._stopped(ticket)
        return {"status": FAILED, "message": outcome.message}

    def _stopped(self, ticket: Ticket) -> dict[str, Any]:
        kept = "what is finished is kept; start it again, and it goes on"
        return {"status": STOPPED, "message": kept if ticket.kind == RESTORE else "stopped"}


class _StoppedError(Exception):
    """The film at work is not wanted any more."""


class _Listener:
    """Writes down how far a film is."""

    def __init__(self, queue: Queue, number: int) -> None:
        self.queue, self.number = queue, number
        self.stage, self.first, self.begin = "", 0.0, 0.0

    def step(self, step: Step) -> None:
        now = time.monotonic()
        if step.stage != self.stage:
            self.stage, self.first, self.begin = step.stage, step.frame, now
        rate = (step.frame - self.first) / max(now - self.begin, 1e-3)
        self._tell(step=step, rate=rate)

    def note(self, text: str) -> None:
        notes = self.queue.tickets[self.number].notes
        self._tell(notes=(*notes, text)[-MOST_NOTES:])

    def _tell(self, **fields: Any) -> None:
        with self.queue.changed:
            self.queue._change(self.number, **fields)
            if self.queue.stopping:
                raise _StoppedError


def _words(outcome: Outcome) -> str:
    """How a film went, in a few words."""
    result = outcome.result
    if result is None:
        return "done before, with the same model and options"
    if not result.faces:
        return "no face restored"
    people = len(result.people())
    who = "1 person" if people == 1 else f"{people} people"
    return f"{result.frames} frames, {who}, {result.seconds['total']:.0f} s"
