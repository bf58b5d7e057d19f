"""What a frame's planes hold: which samples are which component, and what their codes mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats

    Picture = NDArray[np.float32]

BT709, BT2020NC, BT2020C, UNSPECIFIED = 1, 9, 10, 2  # matrix coefficients, ITU-T H.273 table 4
LUMA_WEIGHTS = {  # Kr, Kb of ITU-R BT.601, BT.709, BT.2020
    "601": (0.299, 0.114),
    "709": (0.2126, 0.0722),
    "2020": (0.2627, 0.0593),
}
FULL_RANGE = 2
HD_HEIGHT = 720  # untagged pictures at least this high are taken as BT.709
# How swscale converts to and from RGB: with less it cuts fractions off, so that a picture becomes
# a code or more darker each time, and takes the nearest chroma sample instead of those around.
ROUNDED = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
PADDED_RGB = ("bgr0", "rgb0", "0rgb", "0bgr")


@dataclass(frozen=True)
class Layout:
    """Where a frame keeps its components and what its codes mean.

    kind:    "yuv", "gray" or "rgb";  views: one array [h, w] or [h, w, n] per plane
    places:  per component (Y, Cb, Cr or R, G, B) its plane and its index inside the plane
    offset, scale: [n] code = offset + scale * value, where Y, R, G, B are 0..1 and C is -0.5..0.5
    top:     largest code;  step: codes are multiples of this (64 in p010)
    steps:   per component horizontal and vertical subsampling
    """

    kind: str
    views: list[NDArray[Any]]
    places: list[tuple[int, int]]
    steps: list[tuple[int, int]]
    offset: list[float]
    scale: list[float]
    top: int
    step: int
    centred: bool
    weights: tuple[float, float]

    def component(self, index: int, field: int | None) -> NDArray[Any]:
        """Writable view [h, w] of a component, of one field where asked."""
        plane, place = self.places[index]
        view = self.views[plane]
        view = view if view.ndim == 2 else view[..., place]
        return view if field is None else view[field::2]

    def from_luma(self, index: int) -> Floats:
        """float64 [2, 3]: luma samples -> samples of a component's plane."""
        across, down = self.steps[index]
        # MPEG-2 and its successors site chroma on the left one of two luma samples
        shift = 0.25 if across == 2 and not self.centred else 0.0
        return np.array([[1 / across, 0, shift], [0, 1 / down, 0]])

    def copied(self) -> Layout:
        """The same samples, which stay when those of the frame change."""
        return replace(self, views=[view.copy() for view in self.views])


def plane_views(frame: VideoFrame) -> list[NDArray[Any]]:
    """Arrays [h, w] or [h, w, n] that alias the frame's planes, 8 or 16 bits a sample."""
    components = frame.format.components
    deep = max(c.bits for c in components) > 8
    padded = frame.format.name in PADDED_RGB
    views = []
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(cast("Any", plane), np.uint16 if deep else np.uint8)
        rows = rows.reshape(plane.height, abs(plane.line_size) // rows.itemsize)
        count = 4 if padded else max(1, sum(c.plane == index for c in components))
        picture = rows[:, : plane.width * count]
        views.append(picture if count == 1 else picture.reshape(plane.height, plane.width, count))
    return views


def as_frame(picture: Bytes) -> VideoFrame:
    """A frame of a picture, uint8 RGB [H, W, 3]."""
    return VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")


def as_rgb(frame: VideoFrame) -> Bytes:
    """uint8 RGB [H, W, 3]: the coded picture as it is stored, not turned upright."""
    return np.asarray(frame.reformat(format="rgb24", interpolation=ROUNDED).to_ndarray(), np.uint8)


def with_chroma(frame: VideoFrame) -> VideoFrame:
    """A grey frame as 4:4:4 of the same depth: the same luma samples, neutral chroma."""
    grey = plane_views(frame)[0]
    new = VideoFrame(frame.width, frame.height, colour_format(frame.format.name))
    luma, *chroma = plane_views(new)
    luma[:] = grey
    for view in chroma:
        view[:] = 1 << (max(c.bits for c in frame.format.components) - 1)
    new.pts, new.time_base, new.duration = frame.pts, frame.time_base, frame.duration
    new.color_range, new.colorspace = frame.color_range, frame.colorspace
    return new


def colour_format(pix_fmt: str) -> str:
    """The 4:4:4 format that can hold a grey format's luma: gray10le -> yuv444p10le."""
    return pix_fmt.replace("gray", "yuv444p")


def layout(frame: VideoFrame) -> Layout:
    """How to read and write the frame's samples."""
    name = frame.format.name
    views = plane_views(frame)
    components = [c for c in frame.format.components if not c.is_alpha]
    bits = max(c.bits for c in components)
    top, step = (1 << bits) - 1, 64 if name.startswith("p010") else 1
    full = frame.color_range == FULL_RANGE or name.startswith("yuvj")
    centred = name.startswith("yuvj")  # JPEG sites chroma between the luma samples
    if frame.format.is_rgb:
        places = _rgb_places(name)
        return Layout(
            "rgb", views, places, [(1, 1)] * 3, [0.0] * 3, [float(top)] * 3, top, step, True,
            LUMA_WEIGHTS["601"],
        )  # fmt: skip
    kind = "gray" if len(components) == 1 or name.startswith("ya") else "yuv"
    count = 1 if kind == "gray" else 3
    unit = 1 << (bits - 8)
    offset = [0.0 if full else 16.0 * unit] + [128.0 * unit] * (count - 1)
    scale = [float(top) if full else 219.0 * unit]
    scale += [float(top) if full else 224.0 * unit] * (count - 1)
    places, steps = [(0, 0)], [(1, 1)]
    for index in range(1, count):
        interleaved = views[1].ndim == 3
        places.append((1, index - 1) if interleaved else (index, 0))
        h, w = views[1].shape[:2]
        steps.append((round(frame.width / w), round(frame.height / h)))
    return Layout(
        kind, views, places, steps, offset, scale, top, step, centred, _luma_weights(frame)
    )


def _rgb_places(name: str) -> list[tuple[int, int]]:
    if name.startswith("gbr"):
        return [(2, 0), (0, 0), (1, 0)]
    order = name.removesuffix("le").rstrip("0123456789") or name
    order = {"rgb": "rgb", "bgr": "bgr", "rgba": "rgba", "bgra": "bgra", "argb": "argb"}.get(
        order, name[:4]
    )
    return [(0, order.index(letter)) for letter in "rgb"]


def _luma_weights(frame: VideoFrame) -> tuple[float, float]:
    space = int(frame.colorspace)
    if space in (BT2020NC, BT2020C):
        return LUMA_WEIGHTS["2020"]
    if space == BT709 or (space == UNSPECIFIED and frame.height >= HD_HEIGHT):
        return LUMA_WEIGHTS["709"]
    return LUMA_WEIGHTS["601"]


def rgb_to_yuv(weights: tuple[float, float]) -> Picture:
    """float32 [3, 3]: R'G'B' -> Y'CbCr for luma weights Kr, Kb (ITU-R BT.601 and successors)."""
    kr, kb = weights
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    red = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, blue, red]).astype(np.float32)
