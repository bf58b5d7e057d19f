"""Plain pictures in and out: a film from RGB pictures, one picture, a mask."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, cast

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from facerestore.errors import BadInputError
from facerestore.video.container import check_size, opened, packets, video_stream
from facerestore.video.geometry import display_matrix
from facerestore.video.layout import ROUNDED, as_frame, as_rgb
from facerestore.video.output import atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.frames import Bytes

X264 = {"crf": "16", "preset": "medium"}  # a little finer than the film: faces only
HOLE_FROM = 128  # luma from here up is a hole
LUMA_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def write_rgb(
    path: Path,
    frames: Iterable[Bytes],
    *,
    pts: Iterable[int],
    time_base: Fraction,
    rate: Fraction,
    overwrite: bool = False,
) -> int:
    """An H.264 film (yuv420p, BT.709) of pictures uint8 RGB [H, W, 3]; returns how many.

    pts: one increasing number per picture, in units of `time_base` seconds
    Raises ValueError for odd sizes or a change of size, else as `writer.create_like`.
    """
    with atomic(path, None, overwrite=overwrite) as part:
        return write_rgb_into(part, frames, pts=pts, time_base=time_base, rate=rate)


def write_rgb_into(
    part: Path,
    frames: Iterable[Bytes],
    *,
    pts: Iterable[int],
    time_base: Fraction,
    rate: Fraction,
    encoder: Mapping[str, str] = X264,
) -> int:
    """As `write_rgb`, into a part file; encoder: options of libx264."""
    count = 0
    container = "matroska" if part.suffix.lower() == ".mkv" else "mp4"
    with av.open(str(part.absolute()), "w", format=container) as target:
        stream = cast(
            "av.VideoStream", target.add_stream("libx264", rate=rate, options=dict(encoder))
        )
        for picture, time in zip(frames, pts, strict=True):
            if count == 0:
                _set_up(stream, picture, time_base)
            if picture.shape != (stream.height, stream.width, 3):
                raise ValueError(f"picture {count} is {picture.shape}, not like the first")
            target.mux(stream.encode(_yuv_frame(picture, time, time_base)))
            count += 1
        if count:
            target.mux(stream.encode(None))
    if not count:
        raise ValueError("no pictures to write")
    return count


def _set_up(stream: av.VideoStream, picture: Bytes, time_base: Fraction) -> None:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 4:2:0 needs even sizes, got {width}x{height}")
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = stream.time_base = time_base
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def _yuv_frame(picture: Bytes, time: int, time_base: Fraction) -> VideoFrame:
    frame = as_frame(picture).reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=ROUNDED,
    )
    frame.pts, frame.time_base = time, time_base
    return frame


def read_picture(path: Path) -> Bytes:
    """uint8 RGB [H, W, 3], upright: a picture, or the first frame of a film; alpha is ignored.

    Raises BadInputError where the file cannot be read.
    """
    # OpenCV first: it turns photos as their EXIF says, which PyAV does not show
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if photo is not None:
        return np.ascontiguousarray(photo[..., ::-1], np.uint8)
    return next(_pictures(path))


def read_mask(path: Path) -> Iterator[NDArray[np.bool_]]:
    """bool [H, W] per frame without end, True = hole, where the picture's luma is 128 or more.

    A picture is repeated for ever, a film by its last frame. Raises BadInputError, before the
    first mask, where the file cannot be read.
    """
    pictures = _pictures(path)
    first = next(pictures)
    return _masks(first, pictures)


def _masks(picture: Bytes, others: Iterator[Bytes]) -> Iterator[NDArray[np.bool_]]:
    yield _holes(picture)
    for picture in others:
        yield _holes(picture)
    yield from repeat(_holes(picture))


def _holes(picture: Bytes) -> NDArray[np.bool_]:
    return np.round(picture @ LUMA_709) >= HOLE_FROM


def _pictures(path: Path) -> Iterator[Bytes]:
    with opened(path) as container:
        stream = video_stream(container, path)
        check_size(stream, path)
        found = False
        for packet in packets(container, stream):
            try:
                frames = packet.decode() if packet else []
            except FFmpegError:
                continue
            for frame in frames:
                found = True
                yield _upright(cast("VideoFrame", frame))
    if not found:
        raise BadInputError(f"{path}: holds no picture that can be decoded; save it again as PNG")


def _upright(frame: VideoFrame) -> Bytes:
    picture = as_rgb(frame)
    linear = display_matrix(frame)
    if linear[0, 0] == 0:  # a quarter turn: x and y change places
        picture = picture.swapaxes(0, 1)
    flip_x, flip_y = linear[0].sum() < 0, linear[1].sum() < 0
    upright = picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(upright, np.uint8)
