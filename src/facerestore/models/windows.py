"""Which frames are denoised together, and how overlapping answers are joined. Pure arithmetic."""

from __future__ import annotations

import math


def cover(n_frames: int, *, window: int, overlap: int) -> list[range]:
    """Windows over frames 0..n_frames-1, neighbours sharing at least `overlap` frames.

    All have `window` frames (fewer only if there are not as many); they are spread evenly and
    never wrap around from the end to the beginning.

        n_frames=11, window=6, overlap=2      0 1 2 3 4 5
                                                  2 3 4 5 6 7
                                                          5 6 7 8 9 10
    """
    if n_frames < 1 or not 0 <= overlap < window:
        raise ValueError(
            f"expected n_frames >= 1 and 0 <= overlap < window, got {n_frames}, {overlap}, {window}"
        )
    if n_frames <= window:
        return [range(n_frames)]
    count = math.ceil((n_frames - overlap) / (window - overlap))
    starts = [round(i * (n_frames - window) / (count - 1)) for i in range(count)]
    return [range(start, start + window) for start in starts]


def triangle(length: int) -> list[float]:
    """Blend weight of each frame of a window: min(i + 1, length - i) (released SVFR code)."""
    return [float(min(i + 1, length - i)) for i in range(length)]
