"""A process that looks at films: one that crashes its decoder, or hangs it, costs one answer."""

from __future__ import annotations

import signal
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.errors import BadInputError, FaceRestoreError
from facerestore.sandbox import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

LOOK_SECONDS = 30.0  # for a still or the facts of a film
COPY_SECONDS = 600.0  # for a copy of some seconds


class Helper:
    """Calls functions in another process, one at a time; `close` it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: Any = None
        self.pipe: Any = None

    def ask(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """What a module's function answers there; a path as first argument is named in failures.

        Raises BadInputError where it crashes or takes longer, else what it raises.
        """
        what = arguments[0] if isinstance(arguments[0], Path) else "this picture"
        with self.lock:
            if self.process is None or not self.process.is_alive():
                self._start()
            try:
                self.pipe.send((function, arguments))
                if not self.pipe.poll(seconds):
                    self._kill()
                    raise BadInputError(
                        f"{what}: no picture in {seconds:.0f} s; is the file damaged?"
                    )
                answer, error = self.pipe.recv()
            except (EOFError, OSError):
                self._kill()
                raise BadInputError(f"{what}: cannot be decoded; is the file damaged?") from None
        if error is not None:
            raise error
        return answer

    def _start(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_answer, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def _kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.process = None

    def close(self) -> None:
        """End the process, also in the middle of an answer."""
        process = self.process
        if process is not None:
            process.kill()
            process.join()


def _answer(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = function(*arguments), None
        except FaceRestoreError as error:
            answer = None, error
        except Exception as error:
            answer = None, BadInputError(f"unexpected failure ({error!r})")
        pipe.send(answer)
