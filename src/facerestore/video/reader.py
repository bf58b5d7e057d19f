"""Open a film, say what it is, and give its frames, untouched and in order, as often as asked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.frame import VideoFrame

from facerestore.errors import BadInputError
from facerestore.video.geometry import (
    display_geometry,
    display_matrix,
    display_matrix_values,
    side_data,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer

    from facerestore.frames import Floats

MAX_PIXELS = 8192 * 8192  # a 52 kB file can claim 16000 x 16000 and fill the memory
DEFAULT_RATE = Fraction(25)
PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273 table 3
STILL_FORMATS = ("image2", "png_pipe", "jpeg_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe")


@dataclass(frozen=True)
class StreamInfo:
    """A stream beside the restored one: kind (audio, subtitle ...), codec, language and title."""

    index: int
    kind: str
    codec: str
    language: str
    title: str


@dataclass(frozen=True)
class FilmInfo:
    """What a film is.

    container:      format names as FFmpeg gives them ("mov,mp4,m4a,3gp,3g2,mj2")
    quicktime:      written as MOV rather than MP4
    width, height:  coded size in samples;  bit_depth: bits per sample
    time_base:      unit of the frames' pts, in seconds;  rate: nominal frames per second
    duration_seconds, frames_estimate: from the header, for progress only; None if unknown
    sar:            width of a sample over its height
    rotation_degrees: clockwise turn that brings the picture upright;  mirrored: flipped, too
    display_width, display_height: size in display coordinates (upright, square pixels)
    matrix:         the display matrix as stored, 9 numbers, or None
    mastering, light: HDR10 static metadata as stored, bytes, or None
    to_coded:       float64 [2, 3], display coordinates -> coded luma coordinates
    color_space, color_range, color_trc: numbers of ITU-T H.273 (2 = not said)
    first_pts:      pts of the first frame
    other:          the remaining streams;  chapters: how many
    """

    path: Path
    container: str
    quicktime: bool
    codec: str
    width: int
    height: int
    pix_fmt: str
    bit_depth: int
    time_base: Fraction
    rate: Fraction
    duration_seconds: float | None
    frames_estimate: int | None
    sar: Fraction
    rotation_degrees: int
    mirrored: bool
    display_width: int
    display_height: int
    matrix: tuple[int, ...] | None
    mastering: bytes | None
    light: bytes | None
    to_coded: Floats
    interlaced: bool
    color_space: int
    color_range: int
    color_trc: int
    first_pts: int
    other: tuple[StreamInfo, ...]
    chapters: int

    @property
    def hdr(self) -> bool:
        """Whether the transfer is PQ or HLG, which the face models have never seen."""
        return self.color_trc in (PQ, HLG)


class Film:
    """An opened film. `frames()` decodes from the beginning each time, with its own decoder.

    damaged: packets that could not be decoded in the last complete pass
    """

    def __init__(self, info: FilmInfo) -> None:
        self.info = info
        self.damaged = 0

    def seconds(self, frame: VideoFrame) -> float:
        """Time of a frame since the film's first frame."""
        return float((frame_pts(frame) - self.info.first_pts) * self.info.time_base)

    def frames(
        self, start_seconds: float | None = None, end_seconds: float | None = None
    ) -> Iterator[VideoFrame]:
        """Frames shown in [start, end) seconds, in display order, each with a pts.

        Raises BadInputError where the size or sample format changes in mid-stream.
        """
        with opened(self.info.path) as container:
            stream = video_stream(container, self.info.path)
            stream.thread_type = "AUTO"
            if start_seconds:
                _seek(container, stream, self.info, start_seconds)
            for frame in self._decode(container, stream):
                seconds = self.seconds(frame)
                # half a tick of tolerance, so that 0.04 finds the frame at 1/25
                if start_seconds and seconds < start_seconds - 1e-6:
                    continue
                if end_seconds is not None and seconds >= end_seconds - 1e-6:
                    return
                yield frame

    def _decode(self, container: InputContainer, stream: av.VideoStream) -> Iterator[VideoFrame]:
        info, damaged, last = self.info, 0, None
        step = max(1, round(1 / info.rate / info.time_base))
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                assert isinstance(frame, VideoFrame)
                if frame.pts is None:
                    frame.pts = info.first_pts if last is None else last + step
                    frame.time_base = info.time_base
                last = frame.pts
                _check_same(frame, info, self.seconds(frame))
                yield frame
        self.damaged = damaged


def frame_pts(frame: VideoFrame) -> int:
    """The pts of a frame that has one."""
    assert frame.pts is not None
    return frame.pts


def open_video(path: Path, *, max_pixels: int = MAX_PIXELS) -> Film:
    """Open a film and decode its first frame; raises BadInputError with one clear sentence.

    max_pixels: refuse larger pictures, which may be decompression bombs
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        check_size(stream, path, max_pixels=max_pixels)
        if container.format.name in STILL_FORMATS or container.format.name.endswith("_pipe"):
            raise BadInputError(f"{path}: is a still picture; make a video of it first")
        first = _first_frame(container, stream, path)
        return Film(_describe(path, container, stream, first))


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container of a file, closed at the end; raises BadInputError if it is not readable."""
    if path.is_dir():
        raise BadInputError(f"{path}: is a folder; name a video file")
    try:
        container = av.open(str(path), "r")
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such file; check the name") from None
    except PermissionError:
        raise BadInputError(f"{path}: may not be read; check its permissions") from None
    except (FFmpegError, ValueError, OSError) as error:
        empty = path.exists() and path.stat().st_size == 0
        fact = "is empty" if empty else f"is not a readable video ({_reason(error)})"
        raise BadInputError(f"{path}: {fact}; copy it again or check that it plays") from None
    with container:
        yield container


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.lower()


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The stream to restore: the first that is not a cover picture."""
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise BadInputError(f"{path}: no video stream; is it an audio file?")
    if streams[0].codec_context is None:
        raise BadInputError(f"{path}: video codec not supported; convert the file first")
    return streams[0]


def check_size(stream: av.VideoStream, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise BadInputError where the picture's size is unknown or beyond `max_pixels`."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if not width or not height or stream.codec_context.pix_fmt is None:
        raise BadInputError(f"{path}: the picture's size or format is not known; is it damaged?")
    if width * height > max_pixels:
        raise BadInputError(f"{path}: {width}x{height} is too large; reduce it below 8192x8192")


def _first_frame(container: InputContainer, stream: av.VideoStream, path: Path) -> VideoFrame:
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                assert isinstance(frame, VideoFrame)
                return frame
        except FFmpegError:
            continue
    raise BadInputError(f"{path}: not one frame can be decoded; copy it again")


def _seek(
    container: InputContainer, stream: av.VideoStream, info: FilmInfo, start_seconds: float
) -> None:
    target = info.first_pts + int(start_seconds / info.time_base)
    try:
        container.seek(max(target - 1, info.first_pts), stream=stream)
    except FFmpegError:
        container.seek(0)  # no index: decode from the beginning and drop


def _check_same(frame: VideoFrame, info: FilmInfo, seconds: float) -> None:
    got = (frame.width, frame.height, frame.format.name)
    if got != (info.width, info.height, info.pix_fmt):
        raise BadInputError(
            f"{info.path}: at {seconds:.2f} s the picture changes from {info.width}x{info.height} "
            f"{info.pix_fmt} to {got[0]}x{got[1]} {got[2]}; cut it there and restore the parts"
        )


def _describe(
    path: Path, container: InputContainer, stream: av.VideoStream, first: VideoFrame
) -> FilmInfo:
    codec = stream.codec_context
    sar = stream.sample_aspect_ratio or codec.sample_aspect_ratio or Fraction(1)
    sar = Fraction(sar) if sar > 0 else Fraction(1)
    rate = stream.guessed_rate or stream.average_rate or DEFAULT_RATE
    time_base = stream.time_base or first.time_base or 1 / Fraction(rate)
    linear = display_matrix(first)
    width, height, to_coded = display_geometry(first.width, first.height, sar, linear)
    turn = round(np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))) % 360
    duration = _duration(container, stream)
    return FilmInfo(
        path=path,
        container=container.format.name,
        quicktime=container.metadata.get("major_brand", "").startswith("qt"),
        codec=codec.name,
        width=first.width,
        height=first.height,
        pix_fmt=first.format.name,
        bit_depth=max(c.bits for c in first.format.components),
        time_base=Fraction(time_base),
        rate=Fraction(rate),
        duration_seconds=duration,
        frames_estimate=round(duration * rate) if duration else None,
        sar=sar,
        rotation_degrees=int(turn),
        mirrored=bool(np.linalg.det(linear) < 0),
        display_width=width,
        display_height=height,
        matrix=display_matrix_values(first),
        mastering=side_data(first, SideData.MASTERING_DISPLAY_METADATA),
        light=side_data(first, SideData.CONTENT_LIGHT_LEVEL),
        to_coded=to_coded,
        interlaced=bool(first.interlaced_frame),
        color_space=int(first.colorspace),
        color_range=int(first.color_range),
        color_trc=int(codec.color_trc or 2),
        first_pts=first.pts or 0,
        other=_other_streams(container, stream),
        chapters=len(container.chapters()),
    )


def _duration(container: InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _other_streams(container: InputContainer, video: av.VideoStream) -> tuple[StreamInfo, ...]:
    return tuple(
        StreamInfo(
            index=s.index,
            kind=s.type,
            codec=s.codec_context.name if s.codec_context else "unknown",
            language=s.metadata.get("language", ""),
            title=s.metadata.get("title", ""),
        )
        for s in container.streams
        if s.index != video.index
    )
