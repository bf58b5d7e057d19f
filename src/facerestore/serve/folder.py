"""The served folder: what may be seen of it, and how a file comes into it.

Names come from a browser, so each is looked at as if it were meant to lead out of the folder.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from facerestore.errors import BadInputError, UsageError
from facerestore.films import SUFFIXES, films_below
from facerestore.places import PAGE, page_path, sidecar_path, work_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # that masks may be
KINDS = {  # media types that browsers know; other films are offered as plain bytes
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".ogv": "video/ogg",
    ".webm": "video/webm",
}
COPIES = ".report.films/"  # the folder of a page with its copies of films
MOST_FILMS = 1000  # of a list that a person reads
LONGEST_STEM = 120  # bytes: room for `.restored.mp4.report.html` and a number
NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')  # on one of the usual file systems
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # on Windows


class NotThereError(BadInputError):
    """No such file in the served folder, or none that may be shown: it is the same sentence."""


@dataclass(frozen=True)
class Entry:
    """A film of the folder.

    name:   path below the folder, with "/";  size: bytes;  changed: ns since 1970
    made:   by facerestore, as a record beside it says;  report: name of its page, "" = none
    """

    name: str
    size: int
    changed: int
    made: bool
    report: str


def inside(root: Path, name: str) -> Path:
    """The existing file of a name, without links, below the folder `root` (without links, too).

    Raises NotThereError for everything else: absolute names, `..`, hidden files, links that lead
    out, folders.
    """
    parts = PurePosixPath(name).parts
    odd = "\\" in name or "\x00" in name or not parts or name.startswith("/")
    if odd or any(part.startswith(".") or ":" in part[:2] for part in parts):
        raise NotThereError(f"{name!r}: no such file in this folder")
    try:
        path = root.joinpath(*parts).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise NotThereError(f"{name}: no such file in this folder") from None
    hidden = not path.is_relative_to(root) or any(
        part.startswith(".") for part in path.relative_to(root).parts
    )
    if hidden or not path.is_file():
        raise NotThereError(f"{name}: no such file in this folder")
    return path


def film_inside(root: Path, name: str) -> Path:
    """As `inside`, for what is called like a film."""
    path = inside(root, name)
    if not _is_film(path) or not _is_film(Path(name)):
        raise NotThereError(f"{name}: is not called like a film")
    return path


def served_kind(root: Path, name: str) -> tuple[Path, str]:
    """The file of a name and its media type: films, and the pages beside them; NotThereError."""
    path = inside(root, name)
    if path.name.endswith(PAGE) and path.with_name(path.name.removesuffix(PAGE)).is_file():
        return path, "text/html; charset=utf-8"
    film_inside(root, name)
    return path, KINDS.get(path.suffix.lower(), "application/octet-stream")


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def films_in(root: Path) -> tuple[list[Entry], bool]:
    """The films of the folder and below, and whether there are more than are listed."""
    entries = list(islice(_films(root), MOST_FILMS + 1))
    return entries[:MOST_FILMS], len(entries) > MOST_FILMS


def _films(root: Path) -> Iterator[Entry]:
    for path in films_below(root, None):
        name = path.relative_to(root).as_posix()
        if COPIES in name:
            continue
        try:
            facts = film_inside(root, name).stat()
        except (OSError, NotThereError):
            continue  # a link that leads out, or to nothing
        page = page_path(path)
        report = page.relative_to(root).as_posix() if page.is_file() else ""
        made = sidecar_path(path).is_file()
        yield Entry(name, facts.st_size, facts.st_mtime_ns, made, report)


def pictures_in(root: Path) -> list[str]:
    """Names of the pictures in the folder and below, which may be masks."""
    return list(islice(_pictures(root), MOST_FILMS))


def _pictures(root: Path) -> Iterator[str]:
    for path in films_below(root, None, suffixes=PICTURES):
        name = path.relative_to(root).as_posix()
        try:
            inside(root, name)
        except NotThereError:
            continue
        if path.is_file():
            yield name


def clean_name(name: str) -> str:
    """The name under which a film that a browser sends is stored; raises UsageError for no film.

    No folders, nothing hidden, no letters that some file systems refuse, not too long.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    last = NOT_IN_NAMES.sub("_", last).strip().lstrip(".").strip()
    stem, suffix = Path(last).stem.rstrip(" ."), Path(last).suffix.lower()
    if not stem or suffix not in SUFFIXES:
        known = " ".join(sorted(SUFFIXES))
        raise UsageError(f"{last or 'this file'}: is not called like a film; known are {known}")
    stem = stem.encode("utf-8", "replace")[:LONGEST_STEM].decode("utf-8", "ignore").rstrip(" .")
    return ("_" if RESERVED.match(stem) else "") + stem + suffix


def free_path(folder: Path, name: str) -> Path:
    """`film.mp4`, or `film-2.mp4` where that is taken: nothing is ever replaced."""
    path, number = folder / name, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def check_ours(output: Path) -> None:
    """Raise UsageError where what lies beside an output leads somewhere else."""
    page = page_path(output)
    for place in (output, work_folder(output), page, page.with_name(f"{page.stem}.films")):
        if place.is_symlink():
            raise UsageError(f"{place}: is a link; remove it, or the result could land elsewhere")
