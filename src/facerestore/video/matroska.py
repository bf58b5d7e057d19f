"""Sample aspect ratio in Matroska for codecs that do not carry it themselves (FFV1, VP9).

The muxer ignores what PyAV sets. A display rotation makes it write a `Projection` element of 14
bytes of content inside the track's `Video` element; once the file is closed, that element is
overwritten in place by the display size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 1 << 20  # the track headers lie in the first megabyte
PROJECTION = bytes.fromhex("7670")
DISPLAY_WIDTH, DISPLAY_HEIGHT = bytes.fromhex("54B082"), bytes.fromhex("54BA82")
DISPLAY_UNIT = bytes.fromhex("54B281")  # one byte of content follows: 4 = unknown, 0 = pixels
VOID = bytes.fromhex("EC")
PLACEHOLDER_DEGREES = 90


def write_display_size(path: Path, width: int, height: int) -> bool:
    """Turn the placeholder rotation of a closed file into a display size; False if not found.

    width, height: 1..65535
    """
    with path.open("r+b") as file:
        head = file.read(HEAD_BYTES)
        place = head.find(PROJECTION)
        if place < 0 or head.find(PROJECTION, place + 1) >= 0:
            return False
        length = 3 + (head[place + 2] & 0x7F)  # id, one length byte, content
        size = DISPLAY_WIDTH + width.to_bytes(2, "big") + DISPLAY_HEIGHT + height.to_bytes(2, "big")
        rest = length - len(size)
        if rest < 2:
            return False
        file.seek(place)
        file.write(size + VOID + bytes([0x80 | (rest - 2)]) + bytes(rest - 2))
        unit = head.find(DISPLAY_UNIT)
        if unit >= 0:
            file.seek(unit + len(DISPLAY_UNIT))
            file.write(b"\0")
        file.flush()
        os.fsync(file.fileno())
    return True
