"""How far pictures are from the true ones: pure functions of clips, one value a frame.

Clips are uint8 RGB [F, H, W, 3] in the codes of the film (gamma as it is), peak 255; `holes` is
bool [F, H, W] and restricts a measure to where it is True (nan in frames where it nowhere is).
All raise ValueError for clips of different shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats

    Holes = NDArray[np.bool_] | None

PEAK = 255.0
SIGMA = 1.5  # of SSIM's Gaussian window, 11 x 11 (Wang et al. 2004)
MARGIN = 5  # half of that window: nearer to the border it would reach outside the picture
# R'G'B' -> Cb, Cr in codes, full range (ITU-R BT.601, as in JPEG); the numerators are whole, so
# that grey differences are exactly 0
CHROMA_601 = np.array([[-299.0, -587.0, 886.0], [701.0, -587.0, -114.0]])
CHROMA_SCALE = np.array([1772.0, 1402.0])


def psnr(out: Bytes, ref: Bytes, *, holes: Holes = None) -> Floats:
    """Peak signal-to-noise ratio in dB over all three channels, [F]; inf for equal frames."""
    _check(out, ref, holes)
    return _decibels(_means((_codes(out) - _codes(ref)) ** 2, holes))


def chroma_psnr(out: Bytes, ref: Bytes, *, holes: Holes = None) -> Floats:
    """As `psnr`, over Cb and Cr of ITU-R BT.601 at full resolution: colour without brightness."""
    _check(out, ref, holes)
    # [F, H, W, 2]; the offset of 128 falls out
    error = (_codes(out) - _codes(ref)) @ CHROMA_601.T / CHROMA_SCALE
    return _decibels(_means(error**2, holes))


def ssim(out: Bytes, ref: Bytes, *, holes: Holes = None) -> Floats:
    """Structural similarity (Wang et al. 2004), [F], the mean over the three channels; 1 is equal.

    Gaussian window of 11 x 11 with sigma 1.5, K 0.01 and 0.03, population covariance, without the
    border of 5 pixels. Raises ValueError for pictures smaller than the window.
    """
    from skimage.metrics import structural_similarity

    _check(out, ref, holes)
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    found = []
    for number, pair in enumerate(zip(ref, out, strict=True)):
        maps: Any = structural_similarity(
            *pair,
            channel_axis=-1,
            data_range=PEAK,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
            full=True,
        )
        full = maps[1][inner][None]  # [1, H, W, 3]
        hole = None if holes is None else holes[number][inner][None]
        found.append(_means(full, hole)[0])
    return np.array(found, np.float64)


def temporal_error(out: Bytes, ref: Bytes, *, holes: Holes = None) -> Floats:
    """Temporal difference error in codes, [F - 1]: how much neighbouring frames change otherwise.

    The mean of |(out[t + 1] - out[t]) - (ref[t + 1] - ref[t])|; 0 where everything moves and
    flickers as in the reference. The hole is that of the later frame.
    """
    _check(out, ref, holes)
    error = np.diff(_codes(out) - _codes(ref), axis=0)
    return _means(np.abs(error), None if holes is None else holes[1:])


def _check(out: Bytes, ref: Bytes, holes: Holes) -> None:
    wrong = out.ndim != 4 or out.shape[-1] != 3 or out.dtype != np.uint8 or ref.dtype != np.uint8
    if wrong or out.shape != ref.shape:
        raise ValueError(
            f"expected two uint8 [F, H, W, 3], got {out.dtype} {out.shape}, {ref.dtype} {ref.shape}"
        )
    if holes is not None and (holes.shape != out.shape[:3] or holes.dtype != np.bool_):
        raise ValueError(f"expected bool {out.shape[:3]}, got {holes.dtype} {holes.shape}")


def _codes(pictures: Bytes) -> Floats:
    return pictures.astype(np.float64)


def _means(values: Floats, holes: Holes) -> Floats:
    """Mean of each frame of [F, H, W, C], inside the holes only; nan without any."""
    if holes is None:
        return values.mean(axis=(1, 2, 3))
    inside = zip(values, holes, strict=True)
    return np.array([v[hole].mean() if hole.any() else np.nan for v, hole in inside], np.float64)


def _decibels(squared_error: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(PEAK**2 / squared_error)
