"""Whether a browser plays a film, and a small copy that every browser plays."""

from __future__ import annotations

from itertools import tee
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.video.container import opened, video_stream
from facerestore.video.planes import detector_picture
from facerestore.video.reader import frame_pts
from facerestore.video.simple import write_rgb_into

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.video.frame import VideoFrame

    from facerestore.frames import Bytes
    from facerestore.video.reader import Film

LONG_SIDE = 640  # px: a preview, not a copy
PREVIEW = {"crf": "23", "preset": "veryfast", "g": "12"}  # key frames close by: for quick seeking
MARGINS_SECONDS = (0.5, 10.0, float("inf"))  # before the moment: headers promise too much
PROFILES = ("Baseline", "Constrained Baseline", "Main", "High")  # of H.264, that browsers decode
WEB_CODECS = ("vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d")


def playable(path: Path) -> str:
    """The media type of a film that today's browsers play as it is, "" where they may not.

    MP4 with H.264, or WebM with VP8, VP9 or AV1; 8 bits, 4:2:0.
    """
    with opened(path) as container:
        codec = video_stream(container, path).codec_context
        if codec.pix_fmt not in ("yuv420p", "yuvj420p"):
            return ""
        if _is_mp4(container) and codec.name == "h264" and codec.profile in PROFILES:
            return "video/mp4"
        webm = "webm" in container.format.name and path.suffix.lower() == ".webm"
        return "video/webm" if webm and codec.name in WEB_CODECS else ""


def _is_mp4(container: InputContainer) -> bool:
    brand = container.metadata.get("major_brand", "qt")
    return "mp4" in container.format.name and not brand.startswith("qt")


def picture_near(film: Film, seconds: float, *, long_side: int) -> Bytes:
    """The picture shown at a moment, or about then where the film has no index; [h, w, 3] RGB.

    Beyond the film's end it is the last one. Raises BadInputError where there is none at all.
    """
    for margin in MARGINS_SECONDS:
        shown = None
        for frame in film.frames(max(0.0, seconds - margin), near=True):
            if shown is not None and film.seconds(frame) > seconds + 1e-6:
                break
            shown = frame
        if shown is not None:
            return small_picture(shown, film, long_side)
    raise BadInputError(f"{film.info.path}: no picture can be decoded; copy it again")


def write_preview(
    film: Film,
    part: Path,
    start_seconds: float | None,
    end_seconds: float | None,
    *,
    long_side: int = LONG_SIDE,
    near: bool = False,
) -> None:
    """A silent H.264 copy of a film, or of a part of it that begins at time 0, into a part file.

    Upright, with square pixels, at most `long_side` px wide or high; every frame at its time.
    near: see `Film.frames`
    """
    frames, again = tee(film.frames(start_seconds, end_seconds, near=near))
    write_rgb_into(
        part,
        (small_picture(frame, film, long_side) for frame in frames),
        pts=_times(again),
        time_base=film.info.time_base,
        rate=film.info.rate,
        encoder=PREVIEW,
    )


def _times(frames: Iterator[VideoFrame]) -> Iterator[int]:
    first = None
    for frame in frames:
        first = frame_pts(frame) if first is None else first
        yield frame_pts(frame) - first


def small_picture(frame: VideoFrame, film: Film, long_side: int) -> Bytes:
    """uint8 RGB [h, w, 3], upright, with even sides, which 4:2:0 needs."""
    side = min(long_side, max(film.info.display_width, film.info.display_height))
    picture, _ = detector_picture(frame, film.info, long_side=side)
    height, width = (max(2, n - n % 2) for n in picture.shape[:2])
    even = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cast("Bytes", np.ascontiguousarray(even[..., ::-1]))
