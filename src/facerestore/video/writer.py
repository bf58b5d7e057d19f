"""Write a film like another one: new pictures, everything else copied; visible only when whole."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import av

from facerestore.errors import BadInputError, ResourceError, UsageError
from facerestore.video.container import opened, video_stream
from facerestore.video.encoder import add_video, lost_side_data, needs_size_patch
from facerestore.video.hdr import loses_hdr
from facerestore.video.matroska import write_display_size
from facerestore.video.output import atomic, write_header
from facerestore.video.profiles import Encoding, choose_encoding
from facerestore.video.segments import SegmentWriter, header_sum, read_segments, stored_packets
from facerestore.video.streams import (
    OtherStreams,
    movflags,
    set_chapters,
    set_tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame

    from facerestore.video.reader import Film


class Sink:
    """Takes the frames of a film one after the other, in closed segments; made by `written`.

    encoding: codec, options and container in use;  warnings: what could not be kept
    segments: those that are closed, of `stored_bytes`;  waiting: frames written since the last one
    """

    def __init__(
        self, film: Film, source: InputContainer, folder: Path, encoding: Encoding
    ) -> None:
        self.film, self.source, self.folder, self.encoding = film, source, folder, encoding
        self.segments = read_segments(folder)
        self.stored_bytes = sum(sum(segment.sizes) for segment in self.segments)
        self.writer: SegmentWriter | None = None
        self.warnings = list(encoding.notes)
        if loses_hdr(film.info, encoding.codec):
            self.warnings.append(f"HDR10 metadata is lost: {encoding.codec} cannot store it here")

    @property
    def waiting(self) -> int:
        return self.writer.frames if self.writer else 0

    def write(self, frame: VideoFrame) -> None:
        """Encode a frame as it is; its pts decides its time."""
        if self.writer is None:
            first = not self.segments
            self.writer = SegmentWriter(
                self.folder,
                self.source,
                self.film.info,
                self.encoding,
                after=None if first else self.segments[-1],
                warnings=lost_side_data(frame, self.encoding.codec) if first else [],
            )
        self.writer.write(frame)

    def cut(self) -> None:
        """Close the segment: what is written up to here will not be lost any more."""
        if self.writer is not None:
            self.segments.append(self.writer.close())
            self.stored_bytes += sum(self.segments[-1].sizes)
            self.writer = None

    def leave(self) -> None:
        """Give up the frames since the last cut."""
        if self.writer is not None:
            self.writer.leave()


@contextmanager
def written(
    film: Film,
    part: Path,
    *,
    encoding: Encoding,
    folder: Path,
    note: str,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Sink]:
    """A sink for the frames of `film`; when the block ends well, `part` is the whole new film.

    folder: of the segments; frames in those that are there already are not to be written again
    note:   the tag that names the tool and what was done
    start_seconds, end_seconds: the part of the film that the frames come from
    """
    with opened(film.info.path) as source:
        sink = Sink(film, source, folder, encoding)
        try:
            yield sink
            sink.cut()
        finally:
            sink.leave()
    join(sink, part, note=note, start_seconds=start_seconds, end_seconds=end_seconds)


def join(
    sink: Sink,
    part: Path,
    *,
    note: str,
    start_seconds: float | None,
    end_seconds: float | None,
) -> None:
    """Write the film of a sink's segments, with the source's other streams beside them."""
    info, encoding, segments = sink.film.info, sink.encoding, sink.segments
    if not segments:
        raise BadInputError(f"{info.path}: no frame in the part asked for; choose another")
    first_pts = min(segments[0].pts)
    first = first_pts * info.time_base if start_seconds else None  # a part begins at time 0
    end = None
    if end_seconds is not None:
        end = Fraction(end_seconds) + info.first_pts * info.time_base
    with opened(info.path) as source:
        options = _container_options(encoding.container, source)
        with _open_output(part, encoding.container, options) as target:
            set_tags(source, target, note)
            stream = add_video(target, source, info, encoding)
            others = OtherStreams(info, source, target, sink.warnings)
            if first is not None:
                others.start_at(first)
            if end is not None:
                others.end = end
            set_chapters(source, target, begin=first, end=end)
            write_header(target, info.path)
            _check_header(sink, stream)
            shift_ticks = 0 if first is None else first_pts
            packets = stored_packets(sink.folder, segments, info, shift_ticks=shift_ticks)
            for packet in packets:
                assert packet.dts is not None
                others.copy_until(packet.dts * info.time_base + others.shift)
                packet.stream = stream
                target.mux(packet)
            others.copy_until(None)
    sink.warnings += [text for segment in segments for text in segment.warnings]
    nudged = sum(segment.nudged for segment in segments)
    if nudged:
        sink.warnings.append(f"{nudged} frames had the time of the one before: moved on")
    if others.dropped:
        sink.warnings.append(f"{others.dropped} packets out of order or damaged left out")
    if needs_size_patch(info, encoding):
        done = info.matrix is None and write_display_size(
            part, round(info.width * info.sar), info.height
        )
        if not done:
            sink.warnings.append(f"sample aspect ratio {info.sar} is kept in the codec only")


def _check_header(sink: Sink, stream: av.VideoStream) -> None:
    """A file has one header for all its segments."""
    if any(segment.header != header_sum(stream) for segment in sink.segments):
        raise ResourceError(
            f"{sink.folder}: was encoded by another encoder; delete it and run the command again"
        )


@contextmanager
def create_like(
    film: Film,
    path: Path,
    *,
    profile: str = "share",
    note: str,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    overwrite: bool = False,
) -> Iterator[Sink]:
    """As `written`, but the file appears under `path`, and only when the block has ended well.

    profile: one of PROFILES
    Raises UsageError (impossible output), ResourceError (disk); whatever happens in the block,
    no half-written file stays.
    """
    encoding = choose_encoding(film.info, profile, suffix=path.suffix)
    with (
        atomic(path, film.info.path, overwrite=overwrite) as part,
        TemporaryDirectory(prefix=".", suffix=".part", dir=part.parent) as folder,
        written(
            film,
            part,
            encoding=encoding,
            folder=Path(folder),
            note=note,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
        ) as sink,
    ):
        yield sink


def copy_film(film: Film, path: Path, *, note: str, overwrite: bool = False) -> list[str]:
    """As `copy_into`, but the file appears under `path`, and only when it is whole."""
    with atomic(path, film.info.path, overwrite=overwrite) as part:
        return copy_into(film, part, note=note)


def copy_into(film: Film, part: Path, *, note: str) -> list[str]:
    """Copy every stream as it is, the picture too; returns warnings."""
    warnings: list[str] = []
    container = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}.get(part.suffix.lower(), "matroska")
    with (
        opened(film.info.path) as source,
        _open_output(part, container, _container_options(container, source)) as target,
    ):
        set_tags(source, target, note)
        set_chapters(source, target)
        streams = OtherStreams(film.info, source, target, warnings, with_video=True)
        main = streams.out.get(video_stream(source, film.info.path).index)
        if main is None:
            raise UsageError(
                f"{film.info.path}: {film.info.codec} video cannot be copied into "
                f"*{part.suffix}; name an .mkv file"
            )
        if film.info.matrix is not None:
            cast("av.VideoStream", main).set_display_matrix(film.info.matrix)
        write_header(target, film.info.path)
        streams.copy_until(None)
        if streams.dropped:
            warnings.append(f"{streams.dropped} packets out of order or damaged left out")
    return warnings


@contextmanager
def _open_output(part: Path, container: str, options: dict[str, str]) -> Iterator[OutputContainer]:
    with av.open(str(part.absolute()), "w", format=container, options=options) as target:
        yield target


def _container_options(container: str, source: InputContainer) -> dict[str, str]:
    if container == "matroska":
        # otherwise the priming of MP4 sound, which starts before 0, shifts all tracks
        return {"avoid_negative_ts": "disabled"}
    return {"movflags": movflags(source)}
