"""Which film belongs to which, and which frame to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facerestore.errors import BadInputError, UsageError
from facerestore.video.reader import open_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facerestore.video.reader import Film, VideoFrame

FILMS = (".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
RESTORED = ".restored"  # what `restore` adds to a name where the user gives none


@dataclass(frozen=True)
class Pair:
    """A frame of each film shown at the same time, None where one film has none.

    number: of the reference's frame (where it is None: of the next one)
    """

    number: int
    out: VideoFrame | None
    ref: VideoFrame | None


def film_pairs(out: Path, ref: Path | None) -> list[tuple[Path, Path | None]]:
    """Two films, or the films of two folders paired by name (`a.restored.mkv` goes with `a.mp4`).

    Without `ref`, the film, or those of the folder, with None each.
    Raises UsageError where only one is a folder, BadInputError where a film has no partner, or a
    folder no film.
    """
    if ref is None:
        alone = sorted(_by_stem(out).values()) if out.is_dir() else [out]
        if not alone:
            raise BadInputError(f"{out}: holds no films; name a folder of films, or one film")
        return [(path, None) for path in alone]
    if not (out.is_dir() and ref.is_dir()):
        for folder, film in ((out, ref), (ref, out)):
            if folder.is_dir():
                raise UsageError(f"{folder}: is a folder, {film} is not; name two films or folders")
        return [(out, ref)]
    outs, refs = _by_stem(out), _by_stem(ref)
    for here, there, folder in ((outs, refs, ref), (refs, outs, out)):
        alone = [path for stem, path in here.items() if stem not in there]
        if alone:
            more = f" (and {len(alone) - 1} others)" if len(alone) > 1 else ""
            raise BadInputError(
                f"{alone[0]}{more}: no film of that name in {folder}; add it or take this one away"
            )
    if not outs:
        raise BadInputError(f"{out}: holds no films; name a folder of films, or one film")
    return [(outs[stem], refs[stem]) for stem in sorted(outs)]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in FILMS or path.name.startswith("."):
            continue
        other = found.setdefault(path.stem.removesuffix(RESTORED), path)
        if other is not path:
            raise BadInputError(f"{path}: has the name of {other.name}; take one of them away")
    return found


def open_pair(out: Path, ref: Path | None) -> tuple[Film, Film]:
    """Both films, without `ref` the same one twice.

    Raises BadInputError where one is not readable or the pictures differ in size.
    """
    if ref is None:
        film = open_video(out)
        return film, film
    films = open_video(out), open_video(ref)
    sizes = [(film.info.display_width, film.info.display_height) for film in films]
    if sizes[0] != sizes[1]:
        (width, height), (wanted, high) = sizes
        raise BadInputError(
            f"{out}: its picture is {width}x{height}, that of {ref} is {wanted}x{high}; scale one "
            f"of them first, as in: ffmpeg -i {out.name} -vf scale={wanted}:{high},setsar=1 "
            "-c:v ffv1 scaled.mkv"
        )
    return films


def whole(film: Film) -> Iterator[Pair]:
    """Each frame of a film with itself."""
    for number, frame in enumerate(film.frames()):
        yield Pair(number, frame, frame)


def paired(
    out: Film,
    ref: Film,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Pair]:
    """The frames of both films in order of time, those within half a frame of each other together.

    start_seconds, end_seconds: the part of `ref` that `out` shows, None = all of it
    Times count from the first frame of each film (of the part). Of several within reach the nearest
    is taken.
    """
    reach = 0.5 / float(ref.info.rate)
    times = ((out.seconds(frame), frame) for frame in out.frames())
    number, current, following = 0, next(times, None), next(times, None)
    begin = None if start_seconds else 0.0
    for frame in ref.frames(start_seconds, end_seconds):
        begin = ref.seconds(frame) if begin is None else begin
        seconds = ref.seconds(frame) - begin
        while current and (
            current[0] < seconds - reach
            or (following and abs(following[0] - seconds) < abs(current[0] - seconds))
        ):
            yield Pair(number, current[1], None)
            current, following = following, next(times, None)
        if current and current[0] <= seconds + reach:
            yield Pair(number, current[1], frame)
            current, following = following, next(times, None)
        else:
            yield Pair(number, None, frame)
        number += 1
    while current:
        yield Pair(number, current[1], None)
        current, following = following, next(times, None)
