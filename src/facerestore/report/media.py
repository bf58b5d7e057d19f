"""Films and pictures in the page: inside it as data, or beside it where they are large."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

import cv2
import numpy as np

from facerestore.errors import UsageError
from facerestore.video.output import explained
from facerestore.video.preview import playable, write_preview

if TYPE_CHECKING:
    from facerestore.frames import Bytes
    from facerestore.report.persons import Part
    from facerestore.video.reader import Film

MOST_BYTES = 4 << 20  # of a film inside the page; two of them still open at once on a phone
QUALITY = 80  # of JPEG


@dataclass(frozen=True)
class Media:
    """A film for the page.

    url:     data: or relative;  begins: second of the browser's clock where the page's is 0
    preview: a small copy instead of the film itself;  inside: in the page
    """

    url: str
    begins: float
    preview: bool
    inside: bool


def film_for(
    film: Film, page: Path, which: str, part: Part = (None, None), *, overwrite: bool = False
) -> Media:
    """The film itself where browsers play it, else a small copy; inside the page if not too large.

    which: "before" or "after", for the name of a copy in a folder beside the page
    part:  first and last second shown
    overwrite: whether such a copy may replace a file; else UsageError
    """
    path = film.info.path
    kind = playable(path)
    if kind:
        begins = _first_seconds(film, part)
        if path.stat().st_size <= MOST_BYTES:
            return Media(data_url(path.read_bytes(), kind), begins, False, True)
        return Media(relative_url(path, page), begins, False, False)
    beside = page.with_name(f"{page.stem}.films") / f"{which}.mp4"
    with explained(beside, path), TemporaryDirectory(dir=page.parent, prefix=".report-") as folder:
        copy = Path(folder, "copy.mp4")
        write_preview(film, copy, *part)
        if copy.stat().st_size <= MOST_BYTES:
            return Media(data_url(copy.read_bytes(), "video/mp4"), 0.0, True, True)
        if beside.exists() and not overwrite:
            raise UsageError(f"{beside}: exists already; remove it or add --overwrite")
        beside.parent.mkdir(exist_ok=True)
        os.replace(copy, beside)
    return Media(relative_url(beside, page), 0.0, True, False)


def _first_seconds(film: Film, part: Part) -> float:
    """Where browsers show the first frame: they count from 0, not from the film's first frame."""
    begins = float(film.info.first_pts * film.info.time_base)
    return begins if part[0] is None else begins + film.seconds(next(film.frames(*part)))


def relative_url(path: Path, page: Path) -> str:
    """How the page names a file; a file: address where it is on another drive."""
    try:
        relative = os.path.relpath(path.absolute(), page.absolute().parent)
    except ValueError:
        return path.absolute().as_uri()
    return quote(relative.replace(os.sep, "/"), safe="/.-_~")


def data_url(content: bytes, kind: str) -> str:
    """A file of a media type as a data: address."""
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


def picture_url(picture: Bytes, side: int | None = None) -> str:
    """A picture uint8 RGB [H, W, 3] as JPEG, reduced to `side` px of width; as a data: address."""
    if side is not None:
        height = max(1, round(len(picture) * side / picture.shape[1]))
        picture = np.asarray(
            cv2.resize(picture, (side, height), interpolation=cv2.INTER_AREA), np.uint8
        )
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    _, coded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), quality)
    return data_url(coded.tobytes(), "image/jpeg")
