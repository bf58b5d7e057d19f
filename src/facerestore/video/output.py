"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from av.error import ArgumentError, FFmpegError, InvalidDataError

from facerestore.errors import NOT_ALLOWED, BadInputError, ResourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

LONGEST_NAME = 255 - len(".facerestore.json.part") - 1  # bytes; file systems allow 255
PART_NAME = re.compile(r"\..*\.\d+\.part\.\w+(\.json)?")
OLD_SECONDS = 3600.0  # a process that lives writes more often; its machine may be another one
NAME_LETTERS = 40  # of the name, in the name of the part file
MB = 10**6
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic(
    path: Path,
    source: Path | None,
    *,
    overwrite: bool,
    folder: Path | None = None,
    sidecar: Path | None = None,
) -> Iterator[Path]:
    """A part file that becomes `path` when the block ends well, and is deleted otherwise.

    folder:  where the part file is, None = beside `path`; on the same file system
    sidecar: what becomes of `sidecar_part` of the part file, a moment before
    Raises UsageError if `path` is there already or is the source, ResourceError for disk trouble.
    """
    if source is not None and path.exists() and path.samefile(source):
        raise UsageError(f"{path}: is the input itself; name another output")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; remove it or add --overwrite")
    part = path.with_name(f".{path.stem[:NAME_LETTERS]}.{os.getpid()}.part{path.suffix}")
    if folder is not None:
        part = folder / f"film{path.suffix}"
    try:
        with explained(path, source):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.touch()  # FFmpeg opens it with the first packet; a refusal should come sooner
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if sidecar is not None:
                os.replace(sidecar_part(part), sidecar)
            try:
                _publish(part, path, overwrite=overwrite)
            except BaseException:
                if sidecar is not None:
                    sidecar.unlink()  # it does not describe what is there
                raise
    finally:
        with suppress(OSError):  # where the folder itself cannot be, there is no part file
            part.unlink()


def old_parts(root: Path) -> Iterator[Path]:
    """Part files at or below `root` that no one has written to for `OLD_SECONDS`."""
    for path in root.rglob(".*.part.*"):
        ours = PART_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        if ours and time.time() - path.stat().st_mtime > OLD_SECONDS:
            yield path


def sidecar_part(part: Path) -> Path:
    """Where the record of a part file is written."""
    return part.with_name(part.name + ".json")


@contextmanager
def explained(path: Path, source: Path | None) -> Iterator[None]:
    """Turn failures to write `path`, made of `source`, into one sentence each."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        number = getattr(error, "errno", None)
        if number in NO_SPACE:
            raise ResourceError(f"{path}: the disk is full; free some space") from error
        if isinstance(error, OSError) and number in NOT_ALLOWED:
            raise ResourceError(f"{path}: may not be written; choose another folder") from error
        if isinstance(error, (ArgumentError, InvalidDataError)):
            raise BadInputError(
                f"{source or path}: holds packets that cannot be written again ({error.strerror}); "
                "repair the file first"
            ) from error
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ResourceError(f"{path}: cannot be written ({reason}); try another place") from error


def _publish(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give the part file its name; another process may have made a file of that name meanwhile."""
    if not overwrite:
        try:
            os.link(part, path)  # fails where the name is taken, unlike a rename
            return
        except FileExistsError:
            raise UsageError(
                f"{path}: has appeared meanwhile; remove it or add --overwrite"
            ) from None
        except OSError:
            pass  # a file system without hard links
    os.replace(part, path)


def check_place(path: Path) -> None:
    """Raise UsageError or ResourceError early where no file could be written under this name."""
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise UsageError(f"{path}: name too long; choose a shorter one with -o")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"{path}: {folder} is not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResourceError(f"{path}: may not be written; choose another folder")


def check_room(folder: Path, needed: float) -> None:
    """Raise ResourceError where fewer than `needed` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{folder}: {free / MB:.0f} MB are free, at least {needed / MB:.0f} MB are needed; "
            "free some space"
        )


def write_header(target: OutputContainer, source: Path) -> None:
    """Begin the file, before any packet; raises BadInputError where the streams do not fit.

    Muxing on after a header that failed ends in a crash of FFmpeg.
    """
    try:
        target.start_encoding()
    except (ArgumentError, InvalidDataError) as error:
        raise BadInputError(
            f"{source}: its streams cannot be written as {target.format.name} ({error.strerror}); "
            "name an output of another kind"
        ) from error
