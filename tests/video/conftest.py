"""Films made on the spot, and plain readers that use nothing of the code under test."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.stream import Disposition

ROOT = Path(__file__).parents[2]
SOUND_RATE = 48000
UNIT_MATRIX = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
MATRICES = {  # clockwise turn to apply -> display matrix as phones write it
    0: UNIT_MATRIX,
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}


@pytest.fixture(scope="session")
def shared_clips():
    folder = Path(os.environ.get("FACERESTORE_SHARED", ROOT.parent / "shared")) / "clips"
    if not folder.is_dir():
        pytest.skip(f"no real clips in {folder}; set FACERESTORE_SHARED")
    return folder


def picture(index: int, width: int, height: int) -> np.ndarray:
    """uint16 RGB [h, w, 3]: a moving texture with smooth parts."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = [np.sin((x + 3 * index) / (7 + 2 * c)) + np.cos(y / (5 + c)) for c in range(3)]
    values = np.stack(waves, axis=-1) / 4 + 0.5
    noise = np.random.default_rng(index).normal(0, 0.02, values.shape)
    return np.clip((values + noise) * 65535, 0, 65535).astype(np.uint16)


def video_frame(index: int, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb48le")
    frame = rgb.reformat(format=pix_fmt)
    return frame


def _fields(frames, top_first):
    """Frames marked as interlaced, by FFmpeg's own filter; nothing else can set the flag."""
    graph = None
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format,
                time_base=frame.time_base,
            )  # fmt: skip
            setter = graph.add("setfield", "tff" if top_first else "bff")
            sink = graph.add("buffersink")
            source.link_to(setter)
            setter.link_to(sink)
            graph.configure()
        graph.push(frame)
        yield graph.pull()


@pytest.fixture
def mark_fields():
    """Function (frames, top_first) that yields the frames marked as interlaced."""
    return _fields


@pytest.fixture
def make_film(tmp_path):
    """Function that writes a film; see its arguments."""

    def make(
        name="film.mp4",
        *,
        codec="libx264",
        options=None,
        pix_fmt="yuv420p",
        size=(96, 64),
        frames=12,
        rate=Fraction(25),
        time_base=None,
        pts=None,
        sound=None,
        sound_first=False,
        sar=None,
        turn=None,
        matrix=None,
        chapters=(),
        tags=None,
        video_tags=None,
        sound_tags=None,
        subtitles=(),
        attachments=(),
        cover=None,
        interlaced=None,
        color=None,
        container_options=None,
        format=None,
        make_frame=video_frame,
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"g": "6", **(options or {})}
        with av.open(str(path), "w", options=container_options or {}, format=format) as out:
            audio = add_sound(out, sound if sound_first else None, sound_tags)
            video = out.add_stream(codec, rate=rate, options=options)
            context = video.codec_context
            context.width, context.height, context.pix_fmt = *size, pix_fmt
            context.time_base = video.time_base = time_base or 1 / rate
            context.flags |= int(Flags.frame_duration)
            if sar:
                context.sample_aspect_ratio = sar
            set_color(context, color or (2, 2, 2, 0))
            if turn is not None or matrix is not None:
                video.set_display_matrix(matrix or MATRICES[turn])
            video.metadata.update(video_tags or {})
            audio = audio or add_sound(out, sound, sound_tags)
            texts = add_subtitles(out, subtitles)
            for attachment in attachments:
                out.add_attachment(*attachment)
            art = add_cover(out, cover)
            out.metadata.update(tags or {})
            add_chapters(out, chapters)
            times = list(pts) if pts is not None else None

            def pictures():
                for i in range(frames):
                    frame = make_frame(i, *size, pix_fmt)
                    frame.pts = times[i] if times else i
                    frame.time_base = time_base or 1 / rate
                    yield frame

            source = _fields(pictures(), interlaced == "tff") if interlaced else pictures()
            packets = [p for frame in source for p in video.encode(frame)] + video.encode(None)
            last_pts = times[-1] * (time_base or 1 / rate) if times else frames / rate
            packets += sound_packets(audio, float(last_pts) + 0.1) if audio else []
            packets += texts
            packets.sort(key=lambda p: p.dts * p.time_base)
            for packet in ([art] if art else []) + packets:
                out.mux(packet)
        return path

    return make


def set_color(context, color):
    """Primaries, transfer, matrix (ITU-T H.273), range (1 limited, 2 full)."""
    context.color_primaries, context.color_trc = color[:2]
    context.colorspace, context.color_range = color[2:]


def add_chapters(out, chapters):
    """(start ms, end ms, title)"""
    if chapters:
        base = {"time_base": Fraction(1, 1000)}
        out.set_chapters(
            [
                base | {"id": i, "start": start, "end": end, "metadata": {"title": title}}
                for i, (start, end, title) in enumerate(chapters, 1)
            ]
        )


def add_sound(out, codec, tags):
    if codec is None:
        return None
    stream = out.add_stream(codec, rate=SOUND_RATE)
    stream.codec_context.layout = "mono"
    stream.metadata.update(tags or {})
    return stream


def sound_packets(stream, seconds):
    context = stream.codec_context
    samples = (np.sin(np.arange(int(seconds * SOUND_RATE)) / 30) * 9000).astype(np.int16)
    resampler = av.AudioResampler(format=context.format, layout="mono", rate=SOUND_RATE)
    packets = []
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + 1024], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        for part in resampler.resample(frame):
            packets += stream.encode(part)
    return packets + stream.encode(None)


def add_subtitles(out, subtitles):
    """(start ms, length ms, text) as SubRip in Matroska, as MOV text in MP4."""
    if not subtitles:
        return []
    mov = out.format.name != "matroska"
    stream = out.add_mux_stream("mov_text" if mov else "subrip")
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "deu"
    packets = []
    for start, length, text in subtitles:
        data = text.encode()
        packet = av.Packet(struct.pack(">H", len(data)) + data if mov else data)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = length
        packets.append(packet)
    return packets


def add_cover(out, cover):
    if cover is None:
        return None
    stream = out.add_mux_stream("png", width=8, height=8)
    stream.time_base = Fraction(1, 90000)
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(cover)
    packet.stream, packet.time_base = stream, stream.time_base
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet


@pytest.fixture(scope="session")
def png():
    """A picture 8x8 as PNG bytes."""
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = 8, 8, "rgb24"
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((8, 8, 3), 200, np.uint8), format="rgb24")
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


def samples(frame: av.VideoFrame) -> list[np.ndarray]:
    """The samples of each plane, without padding, as bytes."""
    parts = []
    for index, plane in enumerate(frame.planes):
        inside = [c for c in frame.format.components if c.plane == index]
        count = 4 if frame.format.name in ("bgr0", "rgb0") else max(1, len(inside))
        deep = 2 if max(c.bits for c in frame.format.components) > 8 else 1
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))
        parts.append(rows[:, : plane.width * count * deep].copy())
    return parts


def _decoded(path, index=0):
    with av.open(str(path)) as container:
        stream = container.streams.video[index]
        for frame in container.decode(stream):
            yield frame, stream.time_base


@pytest.fixture(scope="session")
def planes_of():
    """path -> per frame the samples of its planes."""
    return lambda path: [samples(frame) for frame, _ in _decoded(path)]


@pytest.fixture(scope="session")
def times_of():
    """path -> per frame its time in seconds, a Fraction."""
    return lambda path: [frame.pts * base for frame, base in _decoded(path)]


@pytest.fixture(scope="session")
def packets_of():
    """path, kind -> (seconds, bytes) of each packet that holds something."""

    def read(path, kind):
        with av.open(str(path)) as container:
            streams = [s for s in container.streams if s.type == kind]
            if not streams:
                return []
            return [
                (None if p.pts is None else p.pts * p.time_base, bytes(p))
                for p in container.demux(*streams)
                if p.size
            ]

    return read
