"""Closed runs of encoded frames on disk: what is finished of a film before the film is.

A segment is a file of an encoder's packets, one after the other, and an index beside it. The index
is written last, by atomic rename: a segment without one is not there. Each has an encoder of its
own, so it begins with a key frame and can be decoded alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame

from facerestore.video.encoder import add_video, as_format
from facerestore.video.reader import frame_pts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from av.container import InputContainer

    from facerestore.video.profiles import Encoding
    from facerestore.video.reader import FilmInfo

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A closed run of encoded frames.

    number: place in the film, from 0;  frames: how many
    pts, durations: per packet in decoding order, in ticks of the film's time base
    sizes:  bytes per packet;  keys: 1 where it is a key frame, else 0
    last_pts: the greatest pts;  nudged: frames moved on, as they had the time of the one before
    header: SHA-256 of what the encoder puts into a file's header;  sha256: of the packets
    warnings: what the encoder cannot keep of the frames
    """

    number: int
    frames: int
    pts: list[int]
    durations: list[int]
    sizes: list[int]
    keys: list[int]
    last_pts: int
    nudged: int
    header: str
    sha256: str
    warnings: list[str]


class SegmentWriter:
    """Encodes frames into a segment; it is there once `close` has returned.

    after: the segment before, None for the first;  frames: how many are written
    """

    def __init__(
        self,
        folder: Path,
        source: InputContainer,
        info: FilmInfo,
        encoding: Encoding,
        *,
        after: Segment | None,
        warnings: list[str],
    ) -> None:
        self.folder, self.info, self.encoding, self.warnings = folder, info, encoding, warnings
        self.number = 0 if after is None else after.number + 1
        self.last_pts = None if after is None else after.last_pts
        self.frames = self.nudged = 0
        self.packets: list[tuple[int, int, int, int]] = []
        self.sum = hashlib.sha256()
        # nothing is written to this container: encoders are set up as the film's container asks
        self.target = av.open(io.BytesIO(), "w", format=encoding.container)
        self.stream = add_video(self.target, source, info, encoding)
        self.file = data_path(folder, self.number).open("wb")

    def write(self, frame: VideoFrame) -> None:
        """Encode a frame; its pts decides its time."""
        frame = as_format(frame, self.encoding.pix_fmt)
        frame.pict_type = PictureType.NONE  # the encoder's choice, not the source's
        pts = frame_pts(frame)
        if self.last_pts is not None and pts <= self.last_pts:
            pts, self.nudged = self.last_pts + 1, self.nudged + 1
        frame.pts = self.last_pts = pts
        frame.time_base = self.info.time_base
        self.frames += 1
        self._store(self.stream.encode(frame))

    def _store(self, packets: Iterable[av.Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None
            content = bytes(packet)
            self.file.write(content)
            self.sum.update(content)
            self.packets.append(
                (
                    packet.pts,
                    packet.duration or 0,
                    len(content),
                    int(packet.is_keyframe),
                )
            )

    def close(self) -> Segment:
        """Finish the segment, so that it survives a loss of power."""
        self._store(self.stream.encode(None))
        self.file.flush()
        os.fsync(self.file.fileno())
        assert self.last_pts is not None
        pts, durations, sizes, keys = (list(column) for column in zip(*self.packets, strict=True))
        segment = Segment(
            number=self.number,
            frames=self.frames,
            pts=pts,
            durations=durations,
            sizes=sizes,
            keys=keys,
            last_pts=self.last_pts,
            nudged=self.nudged,
            header=header_sum(self.stream),
            sha256=self.sum.hexdigest(),
            warnings=self.warnings,
        )
        write_json(index_path(self.folder, self.number), asdict(segment))
        self.file.close()
        self.target.close()
        return segment

    def leave(self) -> None:
        """Free the encoder; frames of a segment that is not closed are lost."""
        with suppress(OSError):  # on a full disk: what is left in the buffer
            self.file.close()
        with suppress(FFmpegError):
            self.stream.encode(None)  # SVT-AV1 complains on stderr if it is freed with frames
        self.target.close()


def header_sum(stream: av.VideoStream) -> str:
    """SHA-256 of the header data of an opened encoder; equal for all segments of a film."""
    return hashlib.sha256(stream.codec_context.extradata or b"").hexdigest()


def data_path(folder: Path, number: int) -> Path:
    """Where a segment's packets are."""
    return folder / f"{number:06}.packets"


def index_path(folder: Path, number: int) -> Path:
    """Where a segment's index is."""
    return folder / f"{number:06}.json"


def write_json(path: Path, content: object) -> None:
    """Write a file by atomic rename, so that it survives a loss of power."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_segments(folder: Path) -> list[Segment]:
    """The finished segments of a folder, in order, up to the first that is missing or damaged."""
    segments: list[Segment] = []
    while True:
        number = len(segments)
        try:
            segment = Segment(**json.loads(index_path(folder, number).read_text("utf-8")))
            with data_path(folder, number).open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == segment.sha256
        except (OSError, ValueError, TypeError):
            return segments
        if not whole:
            return segments
        segments.append(segment)


def stored_packets(
    folder: Path, segments: list[Segment], info: FilmInfo, *, shift_ticks: int
) -> Iterator[av.Packet]:
    """The packets of all segments in decoding order, `shift_ticks` earlier, without a stream."""
    every = [pts - shift_ticks for segment in segments for pts in segment.pts]
    times = iter(decoding_times(every))
    for segment in segments:
        with data_path(folder, segment.number).open("rb", buffering=READ_BYTES) as file:
            for i, size in enumerate(segment.sizes):
                packet = av.Packet(file.read(size))
                packet.time_base = info.time_base
                packet.pts, packet.dts = segment.pts[i] - shift_ticks, next(times)
                packet.duration = segment.durations[i]
                packet.is_keyframe = bool(segment.keys[i])
                yield packet


def decoding_times(pts: list[int]) -> list[int]:
    """When each packet of a film has to be decoded: increasing, never after it is shown.

    pts: all different, in decoding order. Each encoder counts for itself, so the times that the
    segments' own encoders gave would run backwards where two segments meet.

        pts     0 3 1 2 4        the third frame waits for one that comes after it
        result -1 0 1 2 3
    """
    times = np.array(pts, np.int64)
    shown = np.sort(times)
    early = np.arange(len(times)) - np.searchsorted(shown, times)
    delay = int(early.max(initial=0))
    before = shown[:delay] - (shown[delay] - shown[0]) if delay else shown[:0]  # as x264 does
    return [int(time) for time in np.concatenate([before, shown[: len(times) - delay]])]
