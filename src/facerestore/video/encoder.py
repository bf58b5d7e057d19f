"""Set up a video encoder so that its stream says all that the source's stream says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.codec.context import Flags
from av.filter import Graph
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame

from facerestore.video.container import video_stream
from facerestore.video.geometry import side_data
from facerestore.video.hdr import hdr_options
from facerestore.video.matroska import PLACEHOLDER_DEGREES
from facerestore.video.streams import STREAM_TAGS, kept_tags

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer

    from facerestore.video.profiles import Encoding
    from facerestore.video.reader import FilmInfo

FULL_RANGE = 2
BOTTOM_FIRST = (3, 5)  # FFmpeg's AV_FIELD_BB and AV_FIELD_BT
SAR_LOST = ("ffv1", "libvpx-vp9", "libsvtav1")  # the Matroska muxer does not see what PyAV sets
FRAME_DATA = {
    SideData.A53_CC: "closed captions",
    SideData.DYNAMIC_HDR_PLUS: "HDR10+ dynamic metadata",
    SideData.DOVI_METADATA: "Dolby Vision metadata",
}


def add_video(
    target: OutputContainer, source: InputContainer, info: FilmInfo, encoding: Encoding
) -> av.VideoStream:
    """The output's picture stream, with the source's size, clock, colours, shape and tags."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 knows no other way
    stream = video_stream(source, info.path)
    decoder = stream.codec_context
    fields = _field_options(encoding.codec, decoder.field_order) if info.interlaced else {}
    options = _joined(encoding.options, fields, hdr_options(info, encoding.codec))
    out = cast("av.VideoStream", target.add_stream(encoding.codec, rate=info.rate, options=options))
    encoder = out.codec_context
    encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, encoding.pix_fmt
    encoder.time_base = out.time_base = info.time_base
    encoder.sample_aspect_ratio = info.sar
    encoder.color_primaries, encoder.color_trc = decoder.color_primaries, decoder.color_trc
    encoder.colorspace, encoder.color_range = decoder.colorspace, decoder.color_range
    if info.pix_fmt.startswith("yuvj"):
        encoder.color_range = FULL_RANGE
    encoder.field_order = decoder.field_order
    encoder.flags |= int(Flags.frame_duration)  # keeps the last frame's own duration
    if encoding.codec == "libx265" and encoding.container != "matroska":
        encoder.codec_tag = "hvc1"
    out.metadata.update(kept_tags(stream.metadata, STREAM_TAGS))
    out.disposition = stream.disposition
    if info.matrix is not None:
        out.set_display_matrix(info.matrix)
    elif needs_size_patch(info, encoding):
        out.set_display_rotation(PLACEHOLDER_DEGREES)
    return out


def _field_options(codec: str, field_order: int) -> dict[str, str]:
    """What makes an encoder mark its frames as interlaced; x264 takes the parity from them."""
    first = "bff" if field_order in BOTTOM_FIRST else "tff"
    known = {
        "libx264": {"flags": "+ildct+ilme"},
        "libx265": {"x265-params": f"interlace={first}"},
        "prores_ks": {"flags": "+ildct"},
    }
    return known.get(codec, {})


def _joined(*parts: dict[str, str]) -> dict[str, str]:
    """Encoder options of all parts; lists of parameters are appended to each other."""
    options: dict[str, str] = {}
    for key, value in (item for part in parts for item in part.items()):
        options[key] = f"{options[key]}:{value}" if key in options else value
    return options


def needs_size_patch(info: FilmInfo, encoding: Encoding) -> bool:
    """Whether the sample aspect ratio reaches the file only by `write_display_size`."""
    return encoding.codec in SAR_LOST and encoding.container == "matroska" and info.sar != 1


def as_format(frame: VideoFrame, pix_fmt: str) -> VideoFrame:
    """The frame in the encoder's sample format; the same samples where the formats allow it."""
    if frame.format.name == pix_fmt:
        return frame
    if frame.format.name == "yuvj" + pix_fmt.removeprefix("yuv"):
        new = VideoFrame(frame.width, frame.height, pix_fmt)
        for old_plane, new_plane in zip(frame.planes, new.planes, strict=True):
            old = np.frombuffer(cast("Any", old_plane), np.uint8).reshape(-1, old_plane.line_size)
            rows = np.frombuffer(cast("Any", new_plane), np.uint8).reshape(-1, new_plane.line_size)
            width = min(old.shape[1], rows.shape[1])
            rows[: new_plane.height, :width] = old[: new_plane.height, :width]
        new.color_range = FULL_RANGE
    elif frame.interlaced_frame:
        new = _reformat_fields(frame, pix_fmt)
    else:
        new = frame.reformat(format=pix_fmt)
    new.pts, new.time_base = frame.pts, frame.time_base
    new.duration = frame.duration
    return new


def _reformat_fields(frame: VideoFrame, pix_fmt: str) -> VideoFrame:
    """Each field converted by itself, or chroma would bleed from one into the other."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("scale", "interl=1"),
        graph.add("format", pix_fmt),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    return cast("VideoFrame", graph.pull())


def lost_side_data(frame: VideoFrame, codec: str) -> list[str]:
    """What a frame carries besides its samples that this encoder does not write again."""
    lost = []
    for kind, name in FRAME_DATA.items():
        writes = kind is SideData.A53_CC and codec == "libx264"
        if not writes and side_data(frame, kind) is not None:
            lost.append(f"{name} of the picture stream are lost")
    return lost
