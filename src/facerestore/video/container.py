"""Open a file, find the picture stream in it, refuse what is none; one clear sentence each."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError
from av.stream import Disposition

from facerestore.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

MAX_PIXELS = 8192 * 8192  # a 52 kB file can claim 16000 x 16000 and fill the memory
MAX_STREAMS = 500  # subtitled films carry dozens of fonts; each stream costs memory


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container of a file, closed at the end; raises BadInputError if it is not readable."""
    if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
        raise BadInputError(f"{path}: may not be read; check its permissions")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for, for ever
        kind = "is a folder" if path.is_dir() else "is a pipe or a device"
        raise BadInputError(f"{path}: {kind}; name a video file")
    try:
        name = os.path.abspath(path)  # or FFmpeg would take "pipe:0.mp4" for a protocol
        container = av.open(name, "r", metadata_errors="replace")  # old films: Latin-1
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


def packets(container: InputContainer, *streams: Stream) -> Iterator[Packet | None]:
    """The packets of these streams; None, as the last, where the file cannot be read further."""
    demuxed = container.demux(*streams)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except FFmpegError:
            yield None
            return
        yield packet


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The stream to restore: the first that is not a cover picture."""
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise BadInputError(f"{path}: no video stream; is it an audio file?")
    if len(container.streams) > MAX_STREAMS:
        raise BadInputError(
            f"{path}: has {len(container.streams)} streams, at most {MAX_STREAMS} are taken; "
            "copy those that matter into a file of their own"
        )
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
