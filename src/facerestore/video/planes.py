"""Frames' own planes: read a face as RGB out of them and blend it back, touching nothing else.

A point travels crop -> display -> coded luma samples -> samples of each plane. All coordinates are
continuous, the centre of the first sample at 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.video.frame import VideoFrame

from facerestore.video.geometry import lies, upright
from facerestore.video.layout import ROUNDED, Layout, as_frame, layout, rgb_to_yuv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats, Patch
    from facerestore.video.reader import FilmInfo

    Picture = NDArray[np.float32]

MARGIN = 8  # samples around a region of interest that filters may reach into


def detector_picture(frame: VideoFrame, info: FilmInfo, *, long_side: int) -> tuple[Bytes, float]:
    """uint8 BGR [h, w, 3] upright with square pixels, and display pixels per pixel of it."""
    scale = max(info.display_width, info.display_height) / long_side
    width, height = (max(2, round(n / scale)) for n in (info.display_width, info.display_height))
    coded = (height, width) if lies(info.to_coded) else (width, height)
    small = frame.reformat(*coded, format="bgr24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(upright(small, info.to_coded), np.uint8), scale


def with_picture(frame: VideoFrame, picture: Bytes) -> VideoFrame:
    """A frame like `frame` (format, colours, time) that shows a picture uint8 RGB [H, W, 3]."""
    shown = as_frame(picture).reformat(
        format=frame.format.name,
        interpolation=ROUNDED,
        dst_colorspace=frame.colorspace,
        dst_color_range=frame.color_range,
    )
    shown.pts, shown.time_base = frame.pts, frame.time_base
    return shown


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
    film: Layout | None = None,
) -> int:
    """Blend a patch into a frame in place, where its weights are above 0 and nowhere else.

    The frame must be writable (`make_writable`). What is finer than the patch's pixels stays as in
    the frame, except in holes. Returns how many luma samples lie under the mask.
    film: the samples that the patch's source was cut from, where the frame's are others by now
    """
    frame_layout = layout(frame)
    if frame_layout.kind == "rgb":
        return _blend_rgb(frame_layout, patch, matrix, to_coded, field, film)
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
        own = current
        if film is not None:
            part = place.part(film.component(index, field))
            own = part.astype(np.float32) / np.float32(frame_layout.step)
        values = (own - np.float32(frame_layout.offset[index])) / np.float32(
            frame_layout.scale[index]
        )
        change = place.change(new[..., index], old[..., index], patch.detail, values)
        codes = current + alpha * change * frame_layout.scale[index]
        if film is not None:
            codes += alpha * (own - current)
        codes = np.clip(np.rint(codes), 0, frame_layout.top) * frame_layout.step
        np.copyto(target, codes.astype(target.dtype), where=alpha > 0)
        covered = int((alpha > 0).sum()) if index == 0 else covered
    return covered


def _blend_rgb(
    frame_layout: Layout,
    patch: Patch,
    matrix: Floats,
    to_coded: Floats,
    field: int | None,
    film: Layout | None,
) -> int:
    """As `blend`, the change split into luma and chroma so that each has its own weight."""
    to_plane = _plane_matrix(matrix, to_coded, frame_layout, 0, field)
    place = _Place.of(frame_layout.component(0, field), to_plane, len(patch.luma))
    if place is None:
        return 0
    targets = [place.part(frame_layout.component(i, field)) for i in range(3)]
    current = np.stack(targets, axis=-1).astype(np.float32) / np.float32(frame_layout.top)
    own = current
    if film is not None:
        parts = [place.part(film.component(i, field)) for i in range(3)]
        own = np.stack(parts, axis=-1).astype(np.float32) / np.float32(frame_layout.top)
    change = np.stack(
        [
            place.change(patch.rgb[..., i], patch.source[..., i], patch.detail, own[..., i])
            for i in range(3)
        ],
        axis=-1,
    )
    if film is not None:
        change += own - current
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
    return _compose(frame_layout.from_luma(index), full)


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
    return resampled(place.part(plane).astype(np.float32), place.local, size)


def resampled(picture: Picture, matrix: Floats, size: int) -> Picture:
    """float32 [size, size, ...]: how every crop is cut out of a picture [H, W, ...].

    matrix: [2, 3], crop px -> px of the picture, continuous coordinates
    Smoothed first where the crop shrinks it; outside the picture its edge is repeated.
    """
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink > 1.05:
        picture = _smooth(picture, shrink)
    flags, border = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    grid = pixel_matrix(matrix)
    return np.asarray(
        cv2.warpAffine(picture, grid, (size, size), flags=flags, borderMode=border), np.float32
    )


def _smooth(picture: Picture, shrink: float) -> Picture:
    """Low-pass before shrinking by this factor: a pixel is a Gaussian of half its side."""
    sigma = 0.5 * float(np.sqrt(shrink**2 - 1))
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=border), np.float32)


def pixel_matrix(matrix: Floats) -> Floats:
    """Continuous coordinates -> the pixel indices that OpenCV counts in."""
    linear = matrix[:, :2]
    return np.column_stack([linear, matrix[:, 2] + linear @ [0.5, 0.5] - 0.5])


def _float(picture: Any) -> Picture:
    return np.asarray(picture, np.float32)


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
        return _float(self._values(_float(new - detail * old)) - (1 - kept) * values)

    def _values(self, picture: Picture) -> Picture:
        if self.scale < 0.95:
            picture = _smooth(picture, 1 / self.scale)
        return self._warp(picture, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)

    def _warp(self, picture: Picture, interpolation: int, border: int) -> Picture:
        left, top, right, bottom = self.box
        size = (right - left, bottom - top)
        grid = pixel_matrix(self.local)
        return np.asarray(
            cv2.warpAffine(picture, grid, size, flags=interpolation, borderMode=border), np.float32
        )
