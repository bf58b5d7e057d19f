"""Frames' own planes: read a face as RGB out of them and blend it back, touching nothing else.

A point travels crop -> display -> coded luma samples -> samples of each plane. All coordinates are
continuous, the centre of the first sample at 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Patch
    from facerestore.video.reader import FilmInfo

    Picture = NDArray[np.float32]

BT709, BT2020NC, BT2020C, UNSPECIFIED = 1, 9, 10, 2  # matrix coefficients, ITU-T H.273 table 4
LUMA_WEIGHTS = {  # Kr, Kb of ITU-R BT.601, BT.709, BT.2020
    "601": (0.299, 0.114),
    "709": (0.2126, 0.0722),
    "2020": (0.2627, 0.0593),
}
FULL_RANGE = 2
HD_HEIGHT = 720  # untagged pictures at least this high are taken as BT.709
MARGIN = 8  # samples around a region of interest that filters may reach into
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
    from av.video.frame import VideoFrame as Frame

    return Frame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")


def with_chroma(frame: VideoFrame) -> VideoFrame:
    """A grey frame as 4:4:4 of the same depth: the same luma samples, neutral chroma."""
    from av.video.frame import VideoFrame as Frame

    grey = plane_views(frame)[0]
    new = Frame(frame.width, frame.height, colour_format(frame.format.name))
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


def detector_picture(frame: VideoFrame, info: FilmInfo, *, long_side: int) -> tuple[Bytes, float]:
    """uint8 BGR [h, w, 3] upright with square pixels, and display pixels per pixel of it."""
    scale = max(info.display_width, info.display_height) / long_side
    width, height = (max(2, round(n / scale)) for n in (info.display_width, info.display_height))
    turned = abs(info.to_coded[0, 0]) < abs(info.to_coded[0, 1])
    coded = (height, width) if turned else (width, height)
    small = frame.reformat(*coded, format="bgr24", interpolation="AREA").to_ndarray()
    back = info.to_coded[:, :2]
    if turned:
        small = small.swapaxes(0, 1)
        flip_x, flip_y = back[1, 0] < 0, back[0, 1] < 0
    else:
        flip_x, flip_y = back[0, 0] < 0, back[1, 1] < 0
    small = small[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(small, np.uint8), scale


def crop_rgb(
    frame: VideoFrame,
    matrix: Floats,
    *,
    to_coded: Floats,
    size: int,
    field: int | None = None,
) -> Bytes:
    """uint8 RGB [size, size, 3]: the square that `matrix` [2, 3] (crop px -> display) describes.

    field: 0 or 1 reads only the even or odd rows of an interlaced frame
    Outside the picture its edge is repeated. Smoothed first where the crop shrinks it.
    """
    frame_layout = layout(frame)
    parts = []
    for index in range(len(frame_layout.places)):
        plane = frame_layout.component(index, field)
        to_plane = _plane_matrix(matrix, to_coded, frame_layout, index, field)
        codes = _sample(plane, to_plane, size) / frame_layout.step
        parts.append((codes - frame_layout.offset[index]) / frame_layout.scale[index])
    picture = np.stack(parts, axis=-1)
    if frame_layout.kind == "gray":
        picture = np.repeat(picture, 3, axis=-1)
    elif frame_layout.kind == "yuv":
        inverse = np.linalg.inv(rgb_to_yuv(frame_layout.weights))
        picture = picture @ inverse.T.astype(np.float32)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def blend(
    frame: VideoFrame,
    patch: Patch,
    matrix: Floats,
    *,
    to_coded: Floats,
    field: int | None = None,
) -> int:
    """Blend a patch into a frame in place, where its weights are above 0 and nowhere else.

    The frame must be writable (`make_writable`). What is finer than the patch's pixels stays as in
    the frame, except in holes. Returns how many luma samples lie under the mask.
    """
    frame_layout = layout(frame)
    if frame_layout.kind == "rgb":
        return _blend_rgb(frame_layout, patch, matrix, to_coded, field)
    yuv = rgb_to_yuv(frame_layout.weights).T
    new, old = patch.rgb @ yuv, patch.source @ yuv
    covered = 0
    for index in range(len(frame_layout.places)):
        weight = patch.luma if index == 0 else patch.chroma
        plane = frame_layout.component(index, field)
        to_plane = _plane_matrix(matrix, to_coded, frame_layout, index, field)
        place = _Place.of(plane, to_plane, len(weight))
        if place is None:
            continue
        alpha = place.weights(weight)
        target = place.part(plane)
        current = target.astype(np.float32) / np.float32(frame_layout.step)
        values = (current - np.float32(frame_layout.offset[index])) / np.float32(
            frame_layout.scale[index]
        )
        change = place.change(new[..., index], old[..., index], patch.detail, values)
        codes = current + alpha * change * frame_layout.scale[index]
        codes = np.clip(np.rint(codes), 0, frame_layout.top) * frame_layout.step
        np.copyto(target, codes.astype(target.dtype), where=alpha > 0)
        covered = int((alpha > 0).sum()) if index == 0 else covered
    return covered


def _blend_rgb(
    frame_layout: Layout, patch: Patch, matrix: Floats, to_coded: Floats, field: int | None
) -> int:
    """As `blend`, the change split into luma and chroma so that each has its own weight."""
    to_plane = _plane_matrix(matrix, to_coded, frame_layout, 0, field)
    place = _Place.of(frame_layout.component(0, field), to_plane, len(patch.luma))
    if place is None:
        return 0
    targets = [place.part(frame_layout.component(i, field)) for i in range(3)]
    current = np.stack(targets, axis=-1).astype(np.float32) / np.float32(frame_layout.top)
    change = np.stack(
        [
            place.change(patch.rgb[..., i], patch.source[..., i], patch.detail, current[..., i])
            for i in range(3)
        ],
        axis=-1,
    )
    yuv = rgb_to_yuv(frame_layout.weights)
    luma, chroma = place.weights(patch.luma), place.weights(patch.chroma)
    weighted = (change @ yuv.T) * np.stack([luma, chroma, chroma], axis=-1)
    codes = (current + weighted @ np.linalg.inv(yuv).T) * frame_layout.top
    codes = np.clip(np.rint(codes), 0, frame_layout.top)
    touched = (luma > 0) | (chroma > 0)
    for i, target in enumerate(targets):
        np.copyto(target, codes[..., i].astype(target.dtype), where=touched)
    return int(touched.sum())


def _plane_matrix(
    matrix: Floats, to_coded: Floats, frame_layout: Layout, index: int, field: int | None
) -> Floats:
    """float64 [2, 3]: crop pixels -> samples of a component's plane (or of its field)."""
    full = _compose(to_coded, matrix)
    if field is not None:  # row r of the field is row 2 r + field of the frame
        full = _compose(np.array([[1, 0, 0], [0, 0.5, (0.5 - field) / 2 + 0.25]]), full)
    across, down = frame_layout.steps[index]
    # MPEG-2 and its successors site chroma on the left one of two luma samples
    shift = 0.25 if across == 2 and not frame_layout.centred else 0.0
    return _compose(np.array([[1 / across, 0, shift], [0, 1 / down, 0]]), full)


def _compose(outer: Floats, inner: Floats) -> Floats:
    """outer after inner, both [2, 3]."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _sample(plane: NDArray[Any], to_plane: Floats, size: int) -> Picture:
    """float32 [size, size]: the plane's codes at the crop's pixels."""
    place = _Place.of(plane, to_plane, size)
    if place is None:  # far outside: the nearest edge
        x, y = np.clip(to_plane @ [size / 2, size / 2, 1], 0, np.array(plane.shape[::-1]) - 1)
        return np.full((size, size), plane[int(y), int(x)], np.float32)
    part = place.part(plane).astype(np.float32)
    shrink = place.scale
    if shrink > 1.05:
        part = _smooth(part, shrink)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    grid = _pixel_matrix(place.local)
    border = cv2.BORDER_REPLICATE
    return np.asarray(
        cv2.warpAffine(part, grid, (size, size), flags=flags, borderMode=border), np.float32
    )


def _smooth(picture: Picture, shrink: float) -> Picture:
    """Low-pass before shrinking by this factor: a pixel is a Gaussian of half its side."""
    sigma = 0.5 * float(np.sqrt(shrink**2 - 1))
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=border), np.float32)


def _pixel_matrix(matrix: Floats) -> Floats:
    """Continuous coordinates -> the pixel indices that OpenCV counts in."""
    linear = matrix[:, :2]
    return np.column_stack([linear, matrix[:, 2] + linear @ [0.5, 0.5] - 0.5])


@dataclass(frozen=True)
class _Place:
    """The part of a plane that a crop touches: left, top, right, bottom; crop -> part [2, 3]."""

    box: tuple[int, int, int, int]
    local: Floats
    scale: float
    size: int

    @classmethod
    def of(cls, plane: NDArray[Any], to_plane: Floats, size: int) -> _Place | None:
        """None where the crop lies wholly outside the plane."""
        corners = to_plane @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
        height, width = plane.shape[:2]
        left, top = np.maximum(np.floor(corners.min(axis=1)).astype(int) - MARGIN, 0)
        right, bottom = np.ceil(corners.max(axis=1)).astype(int) + MARGIN
        right, bottom = min(right, width), min(bottom, height)
        if right - left < 1 or bottom - top < 1:
            return None
        local = to_plane - np.array([[0, 0, left], [0, 0, top]])
        scale = float(np.sqrt(abs(np.linalg.det(to_plane[:, :2]))))
        return cls((int(left), int(top), int(right), int(bottom)), local, scale, size)

    def part(self, plane: NDArray[Any]) -> NDArray[Any]:
        left, top, right, bottom = self.box
        return plane[top:bottom, left:right]

    def weights(self, weight: Picture) -> Picture:
        """Blend weights of the part's samples, exactly 0 outside the crop."""
        return self._warp(weight, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)

    def change(
        self, new: Picture, old: Picture, detail: Picture | None, values: Picture
    ) -> Picture:
        """What to add to the part's `values` so that they show the new picture."""
        if detail is None:
            return self._values(new - old)
        kept = self._values(detail)
        return self._values(new - detail * old) - (np.float32(1) - kept) * values

    def _values(self, picture: Picture) -> Picture:
        if self.scale < 0.95:
            picture = _smooth(picture, 1 / self.scale)
        return self._warp(picture, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)

    def _warp(self, picture: Picture, interpolation: int, border: int) -> Picture:
        left, top, right, bottom = self.box
        size = (right - left, bottom - top)
        grid = _pixel_matrix(self.local)
        return np.asarray(
            cv2.warpAffine(picture, grid, size, flags=interpolation, borderMode=border), np.float32
        )
