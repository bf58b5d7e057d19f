"""Whole frames: their planes as one RGB picture, and a changed picture back into the planes.

What goes back is the change, not the picture: where a network has changed nothing, no sample does,
whatever the sample format. Colour pictures are float32 RGB [H, W, 3], 0..1, coded (not upright), of
the whole frame or of one field of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.video.frame import VideoFrame

from facerestore.errors import BadInputError
from facerestore.video.layout import layout, rgb_to_yuv
from facerestore.video.planes import pixel_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Floats
    from facerestore.video.layout import Layout
    from facerestore.video.reader import FilmInfo

    Picture = NDArray[np.float32]

MOST_BITS = 16  # of a sample; those of 32 are floating point


def check_format(info: FilmInfo) -> None:
    """Raise BadInputError for sample formats whose frames cannot be changed as a whole."""
    frame = VideoFrame(16, 16, info.pix_fmt)
    try:
        rgb_of(frame)
        known = info.bit_depth <= MOST_BITS
    except (ValueError, IndexError, OSError):  # packed 4:2:2, palettes, one bit a sample
        known = False
    if not known:
        raise BadInputError(
            f"{info.path}: its background cannot be changed in {info.pix_fmt}; convert the film to "
            "yuv422p or the like, or leave --background out"
        )


def rgb_of(frame: VideoFrame, field: int | None = None) -> Picture:
    """The frame's picture, within 0..1.

    field: 0 or 1 reads only the even or odd rows of an interlaced frame, None all
    """
    planes = layout(frame)
    luma = _values(planes, 0, field)
    if planes.kind == "gray":
        return np.repeat(np.clip(luma, 0, 1)[..., None], 3, axis=-1)
    others = [_spread(_values(planes, i, field), planes.from_luma(i), luma.shape) for i in (1, 2)]
    picture = np.stack([luma, *others], axis=-1)
    if planes.kind == "yuv":
        picture = _float(picture @ np.linalg.inv(rgb_to_yuv(planes.weights)).T)
    return np.clip(picture, 0, 1)


def grey_of(frame: VideoFrame, field: int | None = None) -> Picture:
    """The frame's brightness, float32 [H, W], within 0..1."""
    planes = layout(frame)
    if planes.kind == "rgb":
        return rgb_of(frame, field) @ rgb_to_yuv(planes.weights)[0]
    return np.clip(_values(planes, 0, field), 0, 1)


def add_change(frame: VideoFrame, change: Picture, field: int | None = None) -> None:
    """Add to the frame's picture, in place; the frame must be writable.

    change: float32 RGB [H, W, 3], new less old picture; of grey frames its luma counts alone
    """
    planes = layout(frame)
    parts = change if planes.kind == "rgb" else change @ rgb_to_yuv(planes.weights).T
    for index in range(len(planes.places)):
        target = planes.component(index, field)
        part = _gathered(parts[..., index], planes.from_luma(index), target.shape)
        codes = target.astype(np.float32) / np.float32(planes.step)
        _store(planes, index, field, _float(codes + part * planes.scale[index]))


def set_colours(frame: VideoFrame, picture: Picture, field: int | None = None) -> None:
    """Give the frame the colours of a picture and leave its luma alone, in place.

    Where a colour is too strong for the luma there it becomes paler, or players would clip it and
    show another brightness. Raises ValueError for frames without room for colours.
    """
    planes = layout(frame)
    if planes.kind == "gray":
        raise ValueError("a grey frame has no room for colours; see `layout.with_chroma`")
    to_yuv = rgb_to_yuv(planes.weights)
    chroma = (picture @ to_yuv.T)[..., 1:]
    tint = _float(chroma @ np.linalg.inv(to_yuv)[:, 1:].T)  # RGB without luma
    grey = grey_of(frame, field)[..., None]
    share = fitting(grey, tint)
    if planes.kind == "rgb":
        for index in range(3):
            _store(planes, index, field, _float((grey + share * tint)[..., index] * planes.top))
        return
    fit = _float(share * chroma)
    for index in (1, 2):
        target = planes.component(index, field)
        part = _gathered(fit[..., index - 1], planes.from_luma(index), target.shape)
        _store(planes, index, field, part * planes.scale[index] + planes.offset[index])


def fitting(grey: Picture, tint: Picture) -> Picture:
    """float32 [H, W, 1], 0..1: how much of a tint [H, W, 3] keeps grey [H, W, 1] + tint in 0..1."""
    room = np.where(tint > 0, 1 - grey, grey)
    share = room / np.maximum(np.abs(tint), np.float32(1e-6))
    red, green, blue = np.moveaxis(share, -1, 0)  # six times as fast as the least along an axis
    return np.clip(np.minimum(np.minimum(red, green), blue), 0, 1)[..., None]


def _float(values: Any) -> Picture:
    return np.asarray(values, np.float32)


def _values(planes: Layout, index: int, field: int | None) -> Picture:
    """A component's samples as values: Y, R, G, B about 0..1, C about -0.5..0.5."""
    codes = planes.component(index, field).astype(np.float32) / np.float32(planes.step)
    return (codes - np.float32(planes.offset[index])) / np.float32(planes.scale[index])


def _store(planes: Layout, index: int, field: int | None, codes: Picture) -> None:
    target = planes.component(index, field)
    target[:] = (np.clip(np.rint(codes), 0, planes.top) * planes.step).astype(target.dtype)


def _spread(part: Picture, from_luma: Floats, shape: tuple[int, ...]) -> Picture:
    """A plane's samples on the grid of luma, of shape (H, W)."""
    if part.shape == shape:
        return part
    return _warped(part, from_luma, shape)


def _gathered(part: Picture, from_luma: Floats, shape: tuple[int, ...]) -> Picture:
    """Values on the grid of luma, averaged around the samples of a plane of shape (h, w)."""
    if part.shape == shape:
        return part
    across, down = (round(1 / from_luma[i, i]) for i in (0, 1))
    # as wide as the samples that one of the plane stands for; see `planes._smooth`
    sigmas = [0.5 * float(np.sqrt(n**2 - 1)) or 1e-3 for n in (across, down)]
    border = cv2.BORDER_REPLICATE
    smooth = cv2.GaussianBlur(part, (0, 0), sigmas[0], sigmaY=sigmas[1], borderType=border)
    to_luma = np.linalg.inv(np.vstack([from_luma, [0, 0, 1]]))[:2]
    return _warped(np.asarray(smooth, np.float32), to_luma, shape)


def _warped(part: Picture, matrix: Floats, shape: tuple[int, ...]) -> Picture:
    """A picture sampled where `matrix` [2, 3] (continuous, new -> old) says."""
    size, border = (shape[1], shape[0]), cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(part, pixel_matrix(matrix), size, flags=flags, borderMode=border)
    return np.asarray(moved, np.float32)
