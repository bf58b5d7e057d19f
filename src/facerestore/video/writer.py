"""Write a film like another one: new pictures, everything else copied; visible only when whole."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
from av.video.frame import PictureType, VideoFrame

from facerestore.errors import BadInputError, UsageError
from facerestore.video.container import opened, video_stream
from facerestore.video.encoder import add_video, as_format, lost_side_data, needs_size_patch
from facerestore.video.hdr import loses_hdr
from facerestore.video.matroska import write_display_size
from facerestore.video.output import atomic, write_header
from facerestore.video.profiles import Encoding, choose_encoding
from facerestore.video.reader import Film, frame_pts
from facerestore.video.streams import (
    OtherStreams,
    movflags,
    set_chapters,
    set_tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer, OutputContainer


class Sink:
    """Takes the frames of a film one after the other; made by `create_like`.

    encoding: codec, options and container in use;  warnings: what could not be kept
    """

    def __init__(
        self,
        film: Film,
        source: InputContainer,
        target: OutputContainer,
        encoding: Encoding,
        *,
        trimmed: bool,
        end_seconds: float | None,
    ) -> None:
        info = film.info
        self.encoding, self.target, self.info = encoding, target, info
        self.warnings = list(encoding.notes)
        self.stream = add_video(target, source, info, encoding)
        self.others = OtherStreams(info, source, target, self.warnings)
        self.trimmed, self.source = trimmed, source
        self.end = None if end_seconds is None else Fraction(end_seconds)
        self.last_pts: int | None = None
        self.nudged = self.shift_ticks = 0
        if loses_hdr(info, encoding.codec):
            self.warnings.append(f"HDR10 metadata is lost: {encoding.codec} cannot store it here")

    def write(self, frame: VideoFrame) -> None:
        """Encode a frame as it is; its pts decides its time."""
        if self.last_pts is None:
            self._begin(frame)
        frame = as_format(frame, self.encoding.pix_fmt)
        frame.pict_type = PictureType.NONE  # the encoder's choice, not the source's
        pts = frame_pts(frame) - self.shift_ticks
        if self.last_pts is not None and pts <= self.last_pts:
            pts, self.nudged = self.last_pts + 1, self.nudged + 1
        frame.pts = self.last_pts = pts
        frame.time_base = self.info.time_base
        self._mux(self.stream.encode(frame))

    def _begin(self, frame: VideoFrame) -> None:
        """The first frame of a part is the part's time zero."""
        first = None
        self.warnings += lost_side_data(frame, self.encoding.codec)
        if self.trimmed:
            self.shift_ticks = frame_pts(frame)
            first = frame_pts(frame) * self.info.time_base
            self.others.start_at(first)
        if self.end is not None:
            self.others.end = self.end + self.info.first_pts * self.info.time_base
        set_chapters(
            self.source,
            self.target,
            begin=first,
            end=None if self.end is None else self.others.end,
        )
        write_header(self.target, self.info.path)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if packet.dts is not None and packet.time_base:
                self.others.copy_until(packet.dts * packet.time_base + self.others.shift)
            self.target.mux(packet)

    def finish(self) -> None:
        """Encode what is left and copy the rest of the other streams."""
        if self.last_pts is None:
            raise BadInputError(f"{self.info.path}: no frame in the part asked for; choose another")
        self._mux(self.stream.encode(None))
        self.others.copy_until(None)
        if self.nudged:
            self.warnings.append(f"{self.nudged} frames had the time of the one before: moved on")
        if self.others.dropped:
            self.warnings.append(f"{self.others.dropped} packets out of order or damaged left out")


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
    """A sink for the frames of `film`; the file appears under `path` when the block ends well.

    profile:    one of PROFILES;  note: the tag that names the tool and what was done
    start_seconds, end_seconds: the part of the film that the frames come from
    Raises UsageError (impossible output), ResourceError (disk); whatever happens in the block,
    no half-written file stays.
    """
    encoding = choose_encoding(film.info, profile, suffix=path.suffix)
    with ExitStack() as stack:
        part = stack.enter_context(atomic(path, film.info.path, overwrite=overwrite))
        source = stack.enter_context(opened(film.info.path))
        options = _container_options(encoding.container, source)
        with _open_output(part, encoding.container, options) as target:
            set_tags(source, target, note)
            sink = Sink(
                film,
                source,
                target,
                encoding,
                trimmed=bool(start_seconds),
                end_seconds=end_seconds,
            )
            yield sink
            sink.finish()
        if needs_size_patch(film.info, encoding):
            done = film.info.matrix is None and write_display_size(
                part, round(film.info.width * film.info.sar), film.info.height
            )
            if not done:
                sink.warnings.append(
                    f"sample aspect ratio {film.info.sar} is kept in the codec only"
                )


def copy_film(film: Film, path: Path, *, note: str, overwrite: bool = False) -> list[str]:
    """Copy every stream as it is, the picture too; returns warnings."""
    warnings: list[str] = []
    container = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}.get(path.suffix.lower(), "matroska")
    with (
        atomic(path, film.info.path, overwrite=overwrite) as part,
        opened(film.info.path) as source,
        _open_output(part, container, _container_options(container, source)) as target,
    ):
        set_tags(source, target, note)
        set_chapters(source, target)
        streams = OtherStreams(film.info, source, target, warnings, with_video=True)
        main = streams.out.get(video_stream(source, film.info.path).index)
        if main is None:
            raise UsageError(f"{path}: cannot hold {film.info.codec} video; name an .mkv file")
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
