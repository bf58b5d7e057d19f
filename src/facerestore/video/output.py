"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from av.error import ArgumentError, FFmpegError, InvalidDataError

from facerestore.errors import BadInputError, ResourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EROFS, errno.EPERM)


@contextmanager
def atomic(path: Path, source: Path | None, *, overwrite: bool) -> Iterator[Path]:
    """A part file that becomes `path` when the block ends well, and is deleted otherwise.

    Raises UsageError if `path` is there already or is the source, ResourceError for disk trouble.
    """
    if source is not None and path.exists() and path.samefile(source):
        raise UsageError(f"{path}: is the input itself; name another output")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; remove it or add --overwrite")
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # FFmpeg opens it with the first packet; a refusal should not come that late
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
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
        raise ResourceError(f"{path}: cannot be written ({error}); try another place") from error
    finally:
        with suppress(OSError):  # where the folder itself cannot be, there is no part file
            part.unlink()


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
