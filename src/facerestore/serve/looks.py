"""What is seen of films before they are restored. Runs in a helper process: files may be damaged.

Functions here take and return plain values, which travel between processes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.plan import describe_picture, plan_output
from facerestore.video.preview import picture_near, playable, write_preview
from facerestore.video.reader import Film, open_video

if TYPE_CHECKING:
    from facerestore.options import RestoreOptions

# FFmpeg formats that are lists of other files, which may lie anywhere
LISTS = frozenset(("concat", "concatf", "dash", "hls", "imf", "sdp", "webm_dash_manifest"))
CLIP_SECONDS = 5.0  # of a copy for browsers that cannot play a film: made in a second or two
CLIP_SIDE = 960  # px
PAIR_SIDE = 1920  # px: a preview is looked at closely
STILL_QUALITY = 85  # of JPEG
MOST_MASK_BYTES = 16 << 20
MOST_MASK_SIDE = 8192  # px


def film_at(path: Path) -> Film:
    """An opened film; raises BadInputError for what is none, and for lists of other files."""
    film = open_video(path)
    if LISTS & set(film.info.container.split(",")):
        raise BadInputError(f"{path}: is a list of other files, not a film; name those instead")
    return film


def facts_of(path: Path) -> dict[str, Any]:
    """What the page needs to show a film.

    kind: the media type where browsers play the film itself, else ""
    begins: where a browser's clock shows the first frame, in seconds
    """
    film = film_at(path)
    info = film.info
    return {
        "width": info.display_width,
        "height": info.display_height,
        "rate": float(info.rate),
        "seconds": info.duration_seconds or 0.0,
        "picture": describe_picture(info),
        "kind": playable(path),
        "begins": float(info.first_pts * info.time_base),
    }


def still(path: Path, seconds: float, side: int) -> bytes:
    """The picture at a moment as JPEG, at most `side` px wide or high."""
    picture = picture_near(film_at(path), seconds, long_side=side)
    return _coded(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, STILL_QUALITY])


def clip(path: Path, copy: Path, number: int) -> None:
    """Write the `number`-th `CLIP_SECONDS` of a film as a copy that browsers play."""
    begin = number * CLIP_SECONDS
    part = copy.with_suffix(".part.mp4")
    try:
        write_preview(
            film_at(path), part, begin, begin + CLIP_SECONDS, long_side=CLIP_SIDE, near=True
        )
    except ValueError:
        raise BadInputError(f"{path}: ends before {begin:.0f} s") from None
    part.rename(copy)


def pair(source: Path, restored: Path, folder: Path, start: float, end: float) -> dict[str, Any]:
    """Write before.mp4 and after.mp4, a part of a film and what was made of it, in the same way.

    Returns the facts that the report page's player wants.
    """
    before, after = film_at(source), open_video(restored)
    write_preview(before, folder / "before.mp4", start, end, long_side=PAIR_SIDE)
    write_preview(after, folder / "after.mp4", None, None, long_side=PAIR_SIDE)
    times = [round(after.seconds(frame), 4) for frame in after.frames()]
    films = [
        {"name": name, "url": f"{which}.mp4", "begins": 0, "preview": False, "inside": False}
        for which, name in (("before", source.name), ("after", "the restored preview"))
    ]
    return {
        "width": after.info.display_width,
        "height": after.info.display_height,
        "rate": float(after.info.rate),
        "frames": len(times),
        "times": times,
        "seconds": times[-1] + 1 / float(after.info.rate),
        "films": films,
        "shots": [],
        "warnings": [],
    }


def place(path: Path, options: RestoreOptions) -> Path:
    """Where a restored film goes; raises early what `restore` would raise before it begins."""
    if options.mask is not None:
        check_mask_file(options.mask)
    return plan_output(film_at(path), None, options)


def check_mask_file(mask: Path) -> None:
    """Raise BadInputError where a mask is a list of other files; `plan_output` does the rest."""
    if cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) is None:
        film_at(mask)


def drawn_mask(content: bytes) -> tuple[bytes, str]:
    """A PNG that a browser drew as a clean one, white where to fill, and a name for its content.

    Raises BadInputError for anything but a PNG.
    """
    trouble = BadInputError("this mask: is not a PNG picture; draw it again")
    # size before pixels: few bytes can claim a huge picture
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        raise trouble
    sides = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if not all(0 < side <= MOST_MASK_SIDE for side in sides):
        raise trouble
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise trouble
    holes = np.where(picture >= 128, 255, 0).astype(np.uint8)
    if not holes.any():
        raise BadInputError("this mask: has no hole; paint over what is to be filled")
    clean = _coded(".png", holes, [])
    return clean, hashlib.sha256(clean).hexdigest()[:8]


def _coded(suffix: str, picture: np.ndarray, how: list[int]) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(picture), how)[1].tobytes()
