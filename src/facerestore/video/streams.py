"""Everything beside the picture: sound, subtitles, chapters, tags, attachments: copied."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.stream import Disposition

from facerestore.video.container import packets, video_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

    from facerestore.video.reader import FilmInfo

SEEK_MARGIN_SECONDS = 30.0  # subtitles last longer than sound packets
MUXER_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands"}  # written anew
STREAM_TAGS = {"encoder", "duration", "bps", "number_of_frames", "number_of_bytes"}
FREE_TAGS = ("comment", "description", "synopsis")  # what MP4 and MOV keep without a flag


class OtherStreams:
    """Copies the other streams of a film into an output, packet for packet, as time goes on.

    begin, end: only what lies in [begin, end) seconds of the source's clock is copied
    shift:      seconds taken off every timestamp
    """

    def __init__(
        self,
        film: FilmInfo,
        source: InputContainer,
        target: OutputContainer,
        warnings: list[str],
        *,
        with_video: bool = False,
    ) -> None:
        self.source, self.target, self.warnings = source, target, warnings
        self.source_start = Fraction(source.start_time or 0, av.time_base)
        self.begin, self.end, self.shift = Fraction(-(10**9)), Fraction(10**9), Fraction(0)
        self.out: dict[int, Stream] = {}
        self.converted: set[int] = set()
        self.last_dts: dict[int, int] = {}
        self.dropped = 0
        self.least_step = 0 if target.format.name == "matroska" else 1  # what the muxers demand
        main = video_stream(source, film.path)
        for stream in source.streams:
            if with_video or stream.index != main.index:
                self._add(stream, source)
        self.packets = self._demux(source)
        self.held: Packet | None = None

    def _add(self, stream: Stream, source: InputContainer) -> None:
        matroska = self.target.format.name == "matroska"
        if stream.type == "data":
            if not _written_anew(stream, source):
                self.warnings.append(f"data stream {stream.index} dropped: neither sound nor text")
            return
        if stream.type == "attachment":
            self._attach(stream)
            return
        if stream.disposition & Disposition.attached_pic and matroska:
            self._attach_cover(stream, source)
            return
        try:
            if matroska and stream.codec_context and stream.codec_context.name == "mov_text":
                out: Any = self.target.add_mux_stream("subrip")
                out.time_base = stream.time_base
                self.converted.add(stream.index)
            else:
                out = self.target.add_stream_from_template(stream, opaque=True)
        except (ValueError, FFmpegError) as error:
            self.warnings.append(f"{describe(stream)} dropped: {str(error) or 'not storable'}")
            return
        tags = kept_tags(stream.metadata, STREAM_TAGS)
        if "name" in tags:  # MP4 stores what it reads as `name` only under this one
            tags.setdefault("title", tags["name"])
        out.metadata.update(tags)
        out.disposition = stream.disposition
        self.out[stream.index] = out

    def _attach(self, stream: Stream) -> None:
        name = stream.metadata.get("filename", f"attachment{stream.index}")
        if self.target.format.name != "matroska":
            self.warnings.append(f"attachment {name} dropped: only .mkv can hold it")
            return
        mime = stream.metadata.get("mimetype", "application/octet-stream")
        self.target.add_attachment(name, mime, bytes(cast("Any", stream).data))

    def _attach_cover(self, stream: Stream, source: InputContainer) -> None:
        with av.open(source.name) as again:
            for packet in again.demux(again.streams[stream.index]):
                if packet.size:
                    kind = "png" if "png" in describe(stream) else "jpeg"
                    suffix = "jpg" if kind == "jpeg" else kind
                    self.target.add_attachment(f"cover.{suffix}", f"image/{kind}", bytes(packet))
                    return

    def _demux(self, source: InputContainer) -> Iterator[Packet]:
        if self.out:
            wanted = [source.streams[index] for index in self.out]
            for packet in packets(source, *wanted):
                if packet is None:
                    self.warnings.append("the file is damaged: sound and subtitles end early")
                elif packet.size and packet.stream.index in self.out:
                    yield packet

    def start_at(self, seconds: Fraction) -> None:
        """Copy from here on only, and make it the new time 0. Call before the first copy."""
        self.begin = self.shift = seconds
        ahead = float(seconds - self.source_start) - SEEK_MARGIN_SECONDS
        if ahead > 0:
            with suppress(FFmpegError):  # without an index everything before is read and dropped
                self.source.seek(round((ahead + float(self.source_start)) * av.time_base))

    def copy_until(self, seconds: Fraction | None) -> None:
        """Write the packets up to this time of the source's clock; None = all that are left."""
        while True:
            self.held = self.held or next(self.packets, None)
            if self.held is None:
                return
            time = packet_seconds(self.held)
            if seconds is not None and time is not None and time > seconds:
                return
            if time is None or self.begin <= time < self.end:
                self._mux(self.held)
            elif self.held.stream.type == "subtitle" and time < self.begin:
                self._mux_rest(self.held, time)
            self.held = None

    def _mux_rest(self, packet: Packet, time: Fraction) -> None:
        """A subtitle that is still showing where the part begins starts there."""
        base = packet.time_base or Fraction(1)
        late = round((self.begin - time) / base)
        if packet.pts is not None and (packet.duration or 0) > late:
            packet.pts = packet.dts = packet.pts + late
            packet.duration = (packet.duration or 0) - late
            self._mux(packet)

    def _mux(self, packet: Packet) -> None:
        stream = packet.stream
        if stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
        elif packet.time_base:
            ticks = round(self.shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
        last = self.last_dts.get(stream.index)
        if packet.dts is not None and last is not None and packet.dts < last + self.least_step:
            self.dropped += 1  # damaged streams run backwards; the muxer would refuse
            return
        if packet.dts is not None:
            self.last_dts[stream.index] = packet.dts
        if stream.index in self.converted:
            packet = subrip_packet(packet)
        packet.stream = self.out[stream.index]
        try:
            self.target.mux(packet)
        except (InvalidDataError, ArgumentError):  # damaged: absurd times, or broken AAC of TS
            self.dropped += 1


def _written_anew(stream: Stream, source: InputContainer) -> bool:
    """Timecodes and chapter titles of MP4 and MOV: their muxers make such streams from tags."""
    timecode = "timecode" in stream.metadata
    titles = bool(source.chapters()) and "Subtitle" in stream.metadata.get("handler_name", "")
    return timecode or titles


def packet_seconds(packet: Packet) -> Fraction | None:
    """Presentation time of a packet on the source's clock."""
    pts = packet.pts if packet.pts is not None else packet.dts
    return None if pts is None or not packet.time_base else pts * packet.time_base


def subrip_packet(packet: Packet) -> Packet:
    """A MOV text subtitle (16-bit length, text, styles) as SubRip: the text alone."""
    data = bytes(packet)
    text = av.Packet(data[2 : 2 + int.from_bytes(data[:2], "big")] or b" ")
    text.pts, text.dts, text.time_base = packet.pts, packet.dts, packet.time_base
    text.duration = packet.duration or 0
    return text


def describe(stream: Stream) -> str:
    """`audio stream 1 (aac)`."""
    codec = stream.codec_context.name if stream.codec_context else "unknown codec"
    return f"{stream.type} stream {stream.index} ({codec})"


def kept_tags(tags: Mapping[str, str], left_out: set[str]) -> dict[str, str]:
    """Tags without those that the muxer writes itself."""
    return {
        key: value
        for key, value in tags.items()
        if not any(key.lower() == name or key.lower().startswith(name + "-") for name in left_out)
        and not key.lower().startswith(("number_of_", "_statistics"))
    }


def set_tags(source: InputContainer, target: OutputContainer, note: str) -> None:
    """The film's own tags, and one that names this tool: in a free field, replacing nothing."""
    tags = kept_tags(source.metadata, MUXER_TAGS)
    if target.format.name == "matroska":
        tags["FACERESTORE"] = note
    else:
        taken = {key.lower() for key in tags}
        free = next((name for name in FREE_TAGS if name not in taken), None)
        if free:
            tags[free] = note
        else:
            tags["comment"] = f"{tags.get('comment', '')}; {note}"
    target.metadata.update(tags)


def set_chapters(
    source: InputContainer,
    target: OutputContainer,
    *,
    begin: Fraction | None = None,
    end: Fraction | None = None,
) -> None:
    """The film's chapters; of a part [begin, end) in seconds those that it touches, shifted."""
    kept = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        first, last = chapter["start"], chapter["end"]
        if begin is not None:
            low = round(begin / base)
            first, last = max(first - low, 0), last - low
        if end is not None:
            last = min(last, round((end - (begin or 0)) / base))
        if last > first:
            kept.append({**chapter, "start": first, "end": last})
    if kept:
        target.set_chapters(cast("Any", kept))


def movflags(source: InputContainer) -> str:
    """Options of MP4 and MOV: playable while loading; custom tags kept where no cover is lost."""
    usual = {"title", "artist", "album", "date", "genre", "copyright", "language", "creation_time"}
    usual |= {
        *FREE_TAGS,
        *MUXER_TAGS,
        "album_artist",
        "composer",
        "track",
        "lyrics",
        "handler_name",
    }
    custom = {key.lower() for key in source.metadata} - usual
    cover = any(s.disposition & Disposition.attached_pic for s in source.streams)
    return "faststart+use_metadata_tags" if custom and not cover else "faststart"
