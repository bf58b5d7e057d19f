"""Compress a few frames with a real encoder and decode them again, in memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np

from facerestore.video.layout import ROUNDED, as_frame, as_rgb

if TYPE_CHECKING:
    from facerestore.frames import Bytes


def recompress(frames: Bytes, *, codec: str, quantizer: int) -> Bytes:
    """Frames uint8 RGB [F, H, W, 3], H and W even, after one encode and decode.

    codec:     "libx264" (quantizer is the CRF, 0..51), "mpeg4" or "mpeg2video" (qscale, 1..31)
    """
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as out:
        stream = out.add_stream(codec, rate=25, options=_options(codec, quantizer))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in frames:
            frame = as_frame(picture).reformat(format=stream.pix_fmt, interpolation=ROUNDED)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as back:
        return np.stack([as_rgb(frame) for frame in back.decode(video=0)])


def _options(codec: str, quantizer: int) -> dict[str, str]:
    if codec == "libx264":
        # with B-frames x264 does not give the same pictures every time
        return {"crf": str(quantizer), "preset": "veryfast", "bf": "0"}
    # not global_quality: FFmpeg wants it again with each frame, which PyAV does not pass on
    return {"qmin": str(quantizer), "qmax": str(quantizer), "g": "12"}
