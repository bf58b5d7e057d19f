"""Pictures in overlapping tiles: where these lie, and how they become one picture without a seam.

A network sees nothing beyond its tile, so what it says of the last pixels before an inner edge
counts for nothing; then the tile fades in, while its neighbour fades out:

    tile        ...1 1 1 1 1 ; fade ; 0 0 0 |
    neighbour             | 0 0 0 ; fade ; 1 1 1 1 1...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

OVERLAP = 48  # px that neighbours share at least
TRIM = 12  # px before an inner edge that count for nothing
ALIGN = 8  # tiles begin at multiples of it, so that networks that work on blocks see the same ones


def tile_ranges(length: int, tile: int) -> list[range]:
    """The tiles along one side of a picture, evenly spread; neighbours share OVERLAP px or more.

    length: px;  tile: px, from 2 * OVERLAP up; the last tile may be up to ALIGN - 1 px longer
    """
    if tile < 2 * OVERLAP:
        raise ValueError(f"expected a tile of {2 * OVERLAP} px or more, got {tile}")
    if length < tile + ALIGN:
        return [range(length)]
    steps = -(-(length - tile) // (tile - OVERLAP - ALIGN))
    starts = [i * (length - tile) // steps // ALIGN * ALIGN for i in range(steps + 1)]
    return [range(s, length if s == starts[-1] else s + tile) for s in starts]


def fade(span: range, length: int) -> Picture:
    """float32 [n]: how much each px of a tile counts, along one side; 1 at the picture's edge."""
    place = np.arange(len(span), dtype=np.float32) + 0.5
    ramp = OVERLAP - 2 * TRIM
    weight = np.ones(len(span), np.float32)
    if span.start > 0:
        weight = np.minimum(weight, (place - TRIM) / ramp)
    if span.stop < length:
        weight = np.minimum(weight, (len(span) - place - TRIM) / ramp)
    return np.clip(weight, 0, 1)


def count_tiles(height: int, width: int, tile: int) -> int:
    """Tiles of a picture."""
    return len(tile_ranges(height, tile)) * len(tile_ranges(width, tile))


def tiled(picture: Picture, network: Callable[[Picture], Picture], *, tile: int) -> Picture:
    """What a network says of a picture float32 [H, W, C], tile by tile; of the same shape.

    network: float32 [h, w, C] -> the same shape, h and w up to `tile` + ALIGN - 1
    """
    height, width = picture.shape[:2]
    rows, columns = tile_ranges(height, tile), tile_ranges(width, tile)
    if len(rows) == len(columns) == 1:
        return network(picture)
    total = np.zeros_like(picture)
    weight = np.zeros((height, width, 1), np.float32)
    for down in rows:
        for across in columns:
            place = slice(down.start, down.stop), slice(across.start, across.stop)
            share = np.outer(fade(down, height), fade(across, width))[..., None]
            total[place] += share * network(picture[place])
            weight[place] += share
    return total / weight
