"""Which frames are denoised together, and how overlapping answers are joined. Pure arithmetic."""

from __future__ import annotations

import math

SHIFTED_STEPS = 3  # steps in which the released code lets windows overlap


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


def chunk_ranges(n_frames: int, *, limit: int, overlap: int) -> list[range]:
    """Ranges of at most `limit` frames over 0..n_frames-1, neighbours sharing `overlap`."""
    if not 0 <= overlap < limit:
        raise ValueError(f"expected 0 <= overlap < limit, got {overlap}, {limit}")
    starts = range(0, max(n_frames - overlap, 1), limit - overlap)
    return [range(start, min(start + limit, n_frames)) for start in starts]


def released_windows(n_frames: int, *, window: int, overlap: int, step: int) -> list[list[int]]:
    """Frame numbers of each window at a step of the released code, wrapping around the clip.

    Windows start every `window - overlap` frames in the first three steps and every `window` later;
    after each step all move `overlap` frames to the left. In a clip shorter than a window a frame
    is in it more than once.
    """
    starts = _starts(n_frames, window=window, overlap=overlap, step=step)
    return [[(start + i) % n_frames for i in range(window)] for start in starts]


def film_windows(n_frames: int, *, window: int, overlap: int, step: int) -> list[range]:
    """The windows of `released_windows` without joining the end of the clip to its beginning.

    They end where the clip ends, and one that lies wholly in its neighbour is left out. A clip no
    longer than a window is one window.

        n_frames=11, window=6, overlap=2, step=0      0 1 2 3 4 5
                                                              4 5 6 7 8 9
                                                                      8 9 10
        step=1                                        0 1 2 3
                                                          2 3 4 5 6 7
                                                                  6 7 8 9 10
    """
    if n_frames <= window:
        return [range(n_frames)]
    starts = _starts(n_frames, window=window, overlap=overlap, step=step)
    if starts[-1] + window < n_frames:  # the shift has bared the end
        starts.append(starts[-1] + _stride(window, overlap, step))
    windows = [range(max(start, 0), min(start + window, n_frames)) for start in starts]
    longest_by_start = {frames.start: frames for frames in windows}
    kept: list[range] = []
    for frames in longest_by_start.values():
        if not kept or frames.stop > kept[-1].stop:
            kept.append(frames)
    return kept


def _starts(n_frames: int, *, window: int, overlap: int, step: int) -> list[int]:
    if n_frames < 1 or not 0 <= overlap < window or step < 0:
        raise ValueError(
            f"expected n_frames >= 1, 0 <= overlap < window and step >= 0, got {n_frames}, "
            f"{overlap}, {window}, {step}"
        )
    shift = step * overlap % window
    return [start - shift for start in range(0, n_frames, _stride(window, overlap, step))]


def _stride(window: int, overlap: int, step: int) -> int:
    return window - overlap if step < SHIFTED_STEPS else window
