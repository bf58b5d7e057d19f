"""Which films are restored, and where each result goes: files, folders, patterns, lists."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facerestore.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# What counts as a film in a folder; a file that is named is opened whatever it is called.
SUFFIXES = frozenset(
    """.3gp .asf .avi .divx .dv .f4v .flv .m2t .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf
    .ogm .ogv .rm .rmvb .ts .vob .webm .wmv""".split()  # noqa: SIM905 - a word list reads better
)
PATTERN = "*?["


@dataclass(frozen=True)
class Job:
    """One film to restore.

    output: file, or folder if `name` is given;  None = beside the source
    name:   of the output in that folder, without its suffix
    """

    source: Path
    output: Path | None = None
    name: str | None = None


def find_jobs(inputs: list[Path], out: Path | None, listed: str | None = None) -> list[Job]:
    """The films of files, folders and patterns, and those of a list, in the order of their names.

    out:    output file of the only film, or a folder, in which trees are mirrored
    listed: file with a path a line, "-" = stdin; mirrored from the folder they have in common
    Raises UsageError where outputs would replace each other, BadInputError where nothing is found.
    """
    if not inputs and listed is None:
        raise UsageError("no film named; name films, folders, or a list with --files-from")
    if str(out) == "-":
        raise UsageError("-: films are not written to stdout; name a file or a folder")
    named = [path for name in inputs for path in _expanded(name)]
    if listed is None and len(named) == 1 and not os.path.isdir(named[0]):
        return [Job(named[0], out)]
    folders = [path for path in named if os.path.isdir(path)]
    if out is None and folders:
        raise UsageError(f"{folders[0]}: is a folder; name one for the results with -o")
    if out is not None and (out.is_file() or (out.suffix.lower() in SUFFIXES and not out.is_dir())):
        raise UsageError(f"{out}: is one file, but there are several films; name a folder")
    found = [(path, Path(path.name)) for path in named if path not in folders]
    for folder in folders:
        _check_folder(folder, out)
        below = Path() if len(folders) == 1 else Path(folder.resolve().name)
        found += ((path, below / path.relative_to(folder)) for path in films_below(folder, out))
    if listed is not None:
        found += _mirrored(_lines(listed))
    found = list({(os.path.abspath(path), place): (path, place) for path, place in found}.values())
    if not found:
        named = ", ".join(map(str, inputs)) or listed
        text = f"{named}: no film found; their names end in .mp4, .mkv, .mov, .avi and the like"
        raise BadInputError(text)
    if out is None:
        return [Job(source) for source, _ in found]
    return _named(found, out)


def _check_folder(folder: Path, out: Path | None) -> None:
    """Raise BadInputError for a folder that is closed, UsageError where the results would go there.

    The next run would take them for films.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadInputError(f"{folder}: may not be read; check its permissions")
    if out is not None and os.path.realpath(out) == os.path.realpath(folder):
        raise UsageError(f"{out}: is where the films are; name another folder for the results")


def _named(found: list[tuple[Path, Path]], out: Path) -> list[Job]:
    """`a.avi` becomes `a`; beside an `a.mp4` it stays `a.avi`, or one would replace the other."""
    found = sorted(found, key=lambda pair: pair[1])
    names = Counter(_folded(place) for _, place in found)
    stems = Counter(_folded(place.with_suffix("")) for _, place in found)
    for source, place in found:
        if names[_folded(place)] > 1:
            raise UsageError(
                f"{source}: has the same name as another film; restore them into different folders"
            )
    return [
        Job(
            source,
            out / place.parent,
            place.stem if stems[_folded(place.with_suffix(""))] == 1 else place.name,
        )
        for source, place in found
    ]


def _folded(path: Path) -> str:
    """Equal for names that some file systems take for the same."""
    return str(path).casefold()


def films_below(
    folder: Path, out: Path | None, *, suffixes: Collection[str] = SUFFIXES
) -> Iterator[Path]:
    """The films in a folder and those below; hidden ones, links to folders and `out` are left out.

    suffixes: other ones find other files
    Links to folders can run in circles. Folders that may not be read are given as if they were
    films: they fail, and so are counted.
    """
    left_out = None if out is None else out.resolve()
    closed: list[Path] = []
    for root, below, files in os.walk(
        folder, onerror=lambda error: closed.append(Path(error.filename))
    ):
        below[:] = sorted(name for name in below if name[0] != ".")
        if left_out is not None:
            below[:] = [name for name in below if Path(root, name).resolve() != left_out]
        for name in sorted(files):
            if name[0] != "." and os.path.splitext(name)[1].lower() in suffixes:
                yield Path(root, name)
    yield from closed


def _expanded(path: Path) -> list[Path]:
    """The path itself, or what matches it if it is a pattern such as `films/**/*.avi`."""
    text = str(path)
    if os.path.lexists(path) or not any(letter in text for letter in PATTERN):
        return [path]
    matching = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
    if not matching:
        raise BadInputError(f"{path}: matches no file; check the pattern")
    return matching


def _lines(listed: str) -> list[Path]:
    """Paths by lines; they are bytes, as names of files are, not always UTF-8."""
    try:
        content = sys.stdin.buffer.read() if listed == "-" else Path(listed).read_bytes()
        text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        text = f"{listed}: cannot be read as a list of films ({reason}); name another"
        raise BadInputError(text) from None
    if "\0" in text:
        raise BadInputError(f"{listed}: is no text; write the path of a film on each line")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return [Path(line) for line in lines if line.strip()]


def _mirrored(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    whole = {path: Path(os.path.abspath(path)) for path in paths}
    if not whole:
        return []
    common = os.path.commonpath([path.parent for path in whole.values()])
    return [(path, full.relative_to(common)) for path, full in whole.items()]


def share(jobs: list[Job], part: str | None) -> list[Job]:
    """The jobs of one of several machines: `2/5` is the second of five; raises UsageError."""
    if part is None:
        return jobs
    number, _, count = part.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {part}: write 1/4 for the first of four parts")
    return jobs[int(number) - 1 :: int(count)]
