"""HDR10 static metadata: not written from frames by the encoders, so given as their parameters."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facerestore.video.reader import FilmInfo


def hdr_options(info: FilmInfo, codec: str) -> dict[str, str]:
    """Encoder options that repeat the film's mastering display and light levels, if it has any."""
    if info.mastering is None and info.light is None:
        return {}
    if codec == "libx264":
        parts = [_named("mastering-display", _mastering(info)), _named("cll", _light(info))]
        return {"x264-params": ":".join(filter(None, parts))}
    if codec == "libx265":
        parts = ["hdr10=1:repeat-headers=1", _named("master-display", _mastering(info))]
        return {"x265-params": ":".join(filter(None, [*parts, _named("max-cll", _light(info))]))}
    if codec == "libsvtav1":
        mastering = _mastering(info, decimals=True)
        parts = [_named("mastering-display", mastering), _named("content-light", _light(info))]
        return {"svtav1-params": ":".join(filter(None, parts))}
    return {}


def loses_hdr(info: FilmInfo, codec: str) -> bool:
    """Whether the film has static metadata that this encoder cannot store."""
    has = info.mastering is not None or info.light is not None
    return has and codec not in ("libx264", "libx265", "libsvtav1")


def _named(name: str, value: str | None) -> str | None:
    return f"{name}={value}" if value else None


def _mastering(info: FilmInfo, *, decimals: bool = False) -> str | None:
    """FFmpeg's AVMasteringDisplayMetadata (22 ints: ten fractions, two flags) as x265 writes it."""
    if info.mastering is None:
        return None
    numbers = struct.unpack("22i", info.mastering[:88])
    rx, ry, gx, gy, bx, by, wx, wy, low, high = (
        n / max(d, 1) for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)
    )

    def colour(x: float, y: float) -> str:  # unit 0.00002, as in SMPTE ST 2086
        return f"({x:g},{y:g})" if decimals else f"({round(x * 50000)},{round(y * 50000)})"

    light = f"({high:g},{low:g})" if decimals else f"({round(high * 10000)},{round(low * 10000)})"
    points = f"G{colour(gx, gy)}B{colour(bx, by)}R{colour(rx, ry)}WP{colour(wx, wy)}"
    return f"{points}L{light}"


def _light(info: FilmInfo) -> str | None:
    if info.light is None:
        return None
    return "{},{}".format(*struct.unpack("2I", info.light[:8]))
