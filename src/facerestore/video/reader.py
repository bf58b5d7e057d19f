"""Open a film, say what it is, and give its frames, untouched and in order, as often as asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame

from facerestore.errors import BadInputError
from facerestore.video.container import MAX_PIXELS, check_size, opened, packets, video_stream
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

DEFAULT_RATE = Fraction(25)
PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273 table 3
INDEXED = ("matroska", "mp4")  # formats whose seeking arrives at or before the time asked for
SEEK_MARGIN_SECONDS = 1.0  # indexes go by decoding time, which runs ahead of the time of showing
SHORT_BY_SECONDS = 0.5  # sound and picture rarely end at the same moment
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

    damaged: packets that could not be decoded in the last pass
    end_seconds: where the last frame of the last complete pass ends; None before
    """

    def __init__(self, info: FilmInfo) -> None:
        self.info = info
        self.damaged = 0
        self.end_seconds: float | None = None

    def troubles(self) -> list[str]:
        """What the last complete pass over the frames found wrong with the file."""
        found, header = [], self.info.duration_seconds
        if self.damaged:
            found.append(f"{self.damaged} damaged packets could not be decoded and were skipped")
        end = self.end_seconds
        if end is not None and header is not None and end < header - SHORT_BY_SECONDS:
            found.append(
                f"the picture ends at {end:.2f} s, the header says {header:.2f} s: "
                "the file may be cut off"
            )
        return found

    def seconds(self, frame: VideoFrame) -> float:
        """Time of a frame since the film's first frame."""
        return float((frame_pts(frame) - self.info.first_pts) * self.info.time_base)

    def frames(
        self,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        *,
        near: bool = False,
    ) -> Iterator[VideoFrame]:
        """Frames shown in [start, end) seconds, in display order, each with a pts.

        near: arriving soon matters more than missing no frame at the beginning
        Raises BadInputError where the size or sample format changes in mid-stream.
        """
        with opened(self.info.path) as container:
            stream = video_stream(container, self.info.path)
            stream.thread_type = "AUTO"
            if start_seconds and (near or any(name in self.info.container for name in INDEXED)):
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
        for packet in packets(container, stream):
            try:
                frames = packet.decode() if packet else None
            except FFmpegError:
                frames = None
            damaged += frames is None
            self.damaged = damaged  # known also where a part ends before the film
            for frame in frames or ():
                assert isinstance(frame, VideoFrame)
                if frame.pts is None:
                    frame.pts = info.first_pts if last is None else last + step
                    frame.time_base = info.time_base
                last = frame.pts
                _check_same(frame, info, self.seconds(frame))
                yield frame
        if last is not None:
            self.end_seconds = float((last - info.first_pts) * info.time_base + 1 / info.rate)


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


def _first_frame(container: InputContainer, stream: av.VideoStream, path: Path) -> VideoFrame:
    for packet in packets(container, stream):
        try:
            for frame in packet.decode() if packet else ():
                assert isinstance(frame, VideoFrame)
                return frame
        except FFmpegError:
            continue
    raise BadInputError(f"{path}: not one frame can be decoded; copy it again")


def _seek(
    container: InputContainer, stream: av.VideoStream, info: FilmInfo, start_seconds: float
) -> None:
    """Go to a key frame before this time, or stay at the beginning where there is no index."""
    ticks = int(max(start_seconds - SEEK_MARGIN_SECONDS, 0) / info.time_base)
    try:
        container.seek(info.first_pts + ticks, stream=stream)
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
    tag = stream.metadata.get("DURATION", "").split(":")  # Matroska: 00:01:02.345000000
    with suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in tag)
        return hours * 3600 + minutes * 60 + seconds
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
