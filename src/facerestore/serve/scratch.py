"""The hidden folder in which a server keeps what is not worth keeping: previews, parts of uploads.

It is deleted when the server ends. What a killed server left is deleted by the next one, or by
`facerestore doctor --clean`, which takes it for the work folder that it is like.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from facerestore.lease import is_free, leased
from facerestore.places import WORK
from facerestore.video.output import check_place, explained
from facerestore.video.segments import write_json
from facerestore.work import MANIFEST, remove

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGINNING = ".serve-"


@contextmanager
def scratch_in(root: Path) -> Iterator[Path]:
    """A new hidden folder in `root`; raises ResourceError where nothing may be written."""
    check_place(root / "film.mp4")
    for old in root.glob(f"{BEGINNING}*{WORK}"):
        if old.is_dir() and not old.is_symlink() and (old / MANIFEST).exists() and is_free(old):
            remove(old)
    folder = root / f"{BEGINNING}{uuid4().hex[:8]}{WORK}"
    with explained(folder, None):
        folder.mkdir()
        write_json(folder / MANIFEST, {"serve": True})
    with leased(folder):
        try:
            yield folder
        finally:
            remove(folder)


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest files and folders in a folder."""
    entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in entries[:-count]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
