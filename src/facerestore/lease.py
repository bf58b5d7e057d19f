"""One process at a time: a lease on a folder that also works over network file systems.

A lease is a file `lease.N` that its holder touches every few seconds and renames to `lease.N.free`
in the end. The greatest N holds; who takes over a stale lease makes the next one, and making a file
that must not exist yet is atomic everywhere, so only one of several succeeds. A holder that was
asleep sees the greater number. Ages are looked at on the file server's clock, and nobody is called
dead before it has been watched for a while: clocks may jump.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from facerestore.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

BEAT_SECONDS = 4.0
FREE = ".free"  # ending of a lease that was given back: renaming works on a full disk, too
STALE_SECONDS = 30.0  # without a sign of life
WATCHED_SECONDS = 10.0  # two beats and a half: a clock has jumped if there is a sign of life


class Lease:
    """A folder that is ours as long as `check` does not say otherwise."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.path = _path(folder, number)
        self.lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise BusyError where another process has taken over, because this one was asleep."""
        if self.lost or _newest(self.folder) != self.number:
            self.lost = True
            raise BusyError(f"{self.folder}: another process has taken over")

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:
                self.lost = not self.path.exists()  # a network may be away for a while

    def end(self) -> None:
        """Let others have the folder."""
        self._done.set()
        self._thread.join()
        with suppress(OSError):  # the folder may be gone, and that is as good
            os.rename(self.path, f"{self.path}{FREE}")


@contextmanager
def leased(folder: Path, *, doing: str = "restoring this film") -> Iterator[Lease]:
    """Make a folder and hold it; raises BusyError where another process does, `doing` the same."""
    lease = Lease(folder, _take(folder, doing))
    try:
        yield lease
    finally:
        lease.end()


def _take(folder: Path, doing: str) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        newest = _newest(folder)
        if newest and not is_free(folder):
            holder = _holder(_path(folder, newest))
            raise BusyError(f"{folder}: {holder} is {doing}; wait for it")
        try:
            with _path(folder, newest + 1).open("x") as file:
                file.write(f"{_place()} {os.getpid()}")
        except FileExistsError:
            raise BusyError(f"{folder}: another process was faster; wait for it") from None
        except FileNotFoundError:  # its holder has just finished and removed it
            continue
        except OSError:  # no room for the holder's name; without one it would be waited for
            _path(folder, newest + 1).unlink(missing_ok=True)
            raise
        for path in folder.glob("lease.*"):
            if _number(path) <= newest:
                path.unlink(missing_ok=True)
        return newest + 1


def is_free(folder: Path) -> bool:
    """Whether nobody holds a folder (any more); may take `WATCHED_SECONDS` to tell."""
    newest = _newest(folder)
    path = _path(folder, newest)
    try:
        if not newest or Path(f"{path}{FREE}").exists() or _is_dead(path.read_text()):
            return True
        before, now = path.stat().st_mtime, _server_time(folder)
        if abs(now - before) < STALE_SECONDS:
            return False
        end = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < end:
            time.sleep(BEAT_SECONDS / 8)
            if path.stat().st_mtime != before:
                return False
    except FileNotFoundError:
        return _newest(folder) == 0
    return True


def _path(folder: Path, number: int) -> Path:
    return folder / f"lease.{number}"


def _number(path: Path) -> int:
    """`lease.12.free` -> 12."""
    word = path.name.removesuffix(FREE).partition(".")[2]
    return int(word) if word.isdigit() else 0


def _newest(folder: Path) -> int:
    """Number of the lease in force, 0 where there is none."""
    return max((_number(path) for path in folder.glob("lease.*")), default=0)


def _server_time(folder: Path) -> float:
    """What the clock that stamps this folder's files shows."""
    probe = folder / f"clock.{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _place() -> str:
    """Where process numbers mean the same: host, boot and, in containers, name space."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "/".join(parts)


def _is_dead(text: str) -> bool:
    """Whether the holder was a process of this machine that is gone; others can only be watched.

    A new process may have got the number of a dead one: that one gives no sign of life.
    """
    place, _, number = text.rpartition(" ")
    if place != _place() or not number.isdigit():
        return False
    return not psutil.pid_exists(int(number))


def _holder(path: Path) -> str:
    with suppress(OSError):
        place, _, number = path.read_text().rpartition(" ")
        if number.isdigit():
            return f"process {number} on {place.partition('/')[0]}"
    return "another process"
