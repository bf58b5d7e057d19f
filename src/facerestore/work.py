"""The work folder beside an output: what is finished of a film, so that it is never done twice.

work.json         what is being made of what: input, options, model, versions
lease.N           who works on it (lease.py)
survey.npz        where the faces are
000000.packets    the first frames, encoded, and beside them
000000.json       their index (video/segments.py)
people.000000.npz who was known after them
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facerestore.errors import BadInputError, BusyError, ModelError, ResourceError
from facerestore.lease import is_free, leased
from facerestore.places import WORK, work_folder
from facerestore.saved import DAMAGED, load_people, load_survey, save_people, save_survey
from facerestore.video.output import explained
from facerestore.video.segments import read_segments, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facerestore.background import Painter
    from facerestore.clips import Overlap
    from facerestore.lease import Lease
    from facerestore.people import People
    from facerestore.survey import Survey
    from facerestore.video.reader import Film
    from facerestore.video.writer import Sink

MANIFEST = "work.json"
SURVEY = "survey.npz"
REMOVED = ".removed"  # so is a folder called while its files are being deleted


@dataclass(frozen=True)
class Work:
    """An opened work folder.

    frames: how many of the film's frames are finished, in `segments` segments
    """

    folder: Path
    lease: Lease
    frames: int
    segments: int

    def survey(self, film: Film, look: Callable[[], Survey]) -> Survey:
        """Where the faces are: as it was found before, or by looking."""
        path = self.folder / SURVEY
        if path.exists():
            with suppress(*DAMAGED):
                return load_survey(path, film)
        found = look()
        save_survey(path, found, film)
        return found

    def known(self, people: People, painter: Painter | None = None) -> Overlap:
        """Tell `people` and `painter` what was known after the last finished segment."""
        if not self.segments:
            return []
        try:
            return load_people(_people_path(self.folder, self.segments - 1), people, painter)
        except DAMAGED:
            raise ResourceError(
                f"{self.folder}: is damaged; delete it and run the command again"
            ) from None

    def keep(
        self, sink: Sink, people: People, overlap: Overlap, painter: Painter | None = None
    ) -> None:
        """Finish a segment: from here the film goes on if the program is killed."""
        self.lease.check()
        number = len(sink.segments)
        save_people(_people_path(self.folder, number), people, overlap, painter)
        sink.cut()
        _people_path(self.folder, number - 1).unlink(missing_ok=True)


@contextmanager
def opened_work(
    output: Path, job: dict[str, Any], *, resume: bool, keep: bool, say: Callable[[str], None]
) -> Iterator[Work]:
    """The work folder of an output, to go on with if it was made for the same job, else empty.

    job:    all that decides the output's content, as JSON
    resume: go on with what is there, and leave it where the block fails; else neither
    keep:   do not delete it when the block ends well
    Raises BusyError where another process works on this output.
    """
    folder = work_folder(output)
    with explained(output, None), leased(folder) as lease:
        frames, segments = _to_go_on_with(folder, output, job, resume, say)
        work = Work(folder, lease, frames, segments)
        try:
            yield work
        except BusyError:
            raise  # the folder is another process's now
        except (BadInputError, ModelError):
            remove(folder)  # the same work would fail again
            raise
        except BaseException:
            if not (resume and (folder / SURVEY).exists()):
                remove(folder)
            raise
        if not keep:
            remove(folder)


def _to_go_on_with(
    folder: Path, output: Path, job: dict[str, Any], resume: bool, say: Callable[[str], None]
) -> tuple[int, int]:
    """How many frames and segments are finished; whatever does not fit the job is deleted."""
    before = _manifest(folder)
    changed = [name for name in job if before and before.get(name) != job[name]]
    if before and resume and not changed:
        segments = read_segments(folder)
        if segments and not _people_path(folder, len(segments) - 1).exists():
            say(f"{output.name}: work from before is damaged; starting over")
        elif (folder / SURVEY).exists():
            frames = sum(segment.frames for segment in segments)
            where = f", at frame {frames}" if frames else ": the faces are found"
            say(f"{output.name}: going on with work from before{where}")
            return frames, len(segments)
    elif before and resume:
        say(f"{output.name}: {_what(changed, before, job)} changed since; starting over")
    for path in folder.iterdir():
        if not path.name.startswith("lease."):
            path.unlink()
    write_json(folder / MANIFEST, job)
    return 0, 0


def _what(changed: list[str], before: dict[str, Any], job: dict[str, Any]) -> str:
    """`options (seed, steps)`, `input`."""
    words = []
    for name in changed:
        old, new = before.get(name), job[name]
        inner = old if name == "options" and isinstance(old, dict) else new
        names = [key for key in new if inner.get(key) != new[key]] if inner is old else []
        words.append(f"{name} ({', '.join(names)})" if names else name)
    return " and ".join(words)


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _people_path(folder: Path, number: int) -> Path:
    return folder / f"people.{number:06}.npz"


def remove(folder: Path) -> None:
    """Delete a work folder; under another name, or somebody might begin to work in it meanwhile."""
    gone = folder.with_name(folder.name + REMOVED)
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def old_work(root: Path) -> Iterator[Path]:
    """Work folders at or below `root` that nobody works in; links are not followed."""
    for folder, below, _ in os.walk(root):
        for name in [name for name in below if name.startswith(".")]:
            if name.endswith((WORK, WORK + REMOVED)):
                below.remove(name)
                path = root.__class__(folder) / name
                ours = _manifest(path) is not None or name.endswith(REMOVED)
                if ours and not path.is_symlink() and is_free(path):
                    yield path
