"""Clips from still pictures: smooth camera and head motion, bending faces, changing light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats

    Maps = NDArray[np.float32]

# Eyes, nose tip, mouth corners of the crops, fractions of the side: the 512-px template of
# facexlib's FaceRestoreHelper
TEMPLATE_POINTS = (
    np.array(
        [
            [192.98, 239.95],
            [318.90, 240.19],
            [256.63, 314.02],
            [201.26, 371.41],
            [313.09, 371.15],
        ]
    )
    / 512
)
# Which landmark is where each one was, in a mirror: of five, and of the 68 of iBUG 300-W (jaw,
# brows, bridge and base of the nose, eyes, outer and inner lips)
MIRRORED = {
    5: [1, 0, 2, 4, 3],
    68: [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ],
}
MOUTH, EYES = (0.5, 0.725), ((0.377, 0.469), (0.623, 0.469))  # fractions of the side
LIGHT_SWING = 0.06  # relative change of the light, at most
BLINK_SHARE = 0.08  # of clips in which the exposure jumps for a frame
FOLLOWED = 5  # steps of the fixed-point iteration that follows a point; 0.01 px are reached by then


def moving_clip(
    portrait: Bytes,
    *,
    n_frames: int,
    size: int,
    rng: np.random.Generator,
    zoom: float = 1.0,
    points: Floats = TEMPLATE_POINTS,
) -> tuple[Bytes, Floats]:
    """The portrait [P, P, 3] under smooth synthetic motion, never the same twice.

    zoom: 1 shows the whole crop; above 1 a random part of it, enlarged by this factor
    points: float64 [K, 2], landmarks of the portrait, fractions of its side
    Returns uint8 RGB [F, S, S, 3] and where the landmarks are, [F, K, 2], fractions of the side.
    """
    time = np.linspace(0, 1, n_frames) * rng.uniform(0.02, 0.25) * n_frames
    side = len(portrait)
    grid = _grid(size, side, zoom, rng)
    fields = [_warp_field(size, rng) for _ in range(3)]
    phases = rng.uniform(0, 2 * np.pi, 8)
    light = 1 + rng.uniform(0, LIGHT_SWING) * np.sin(np.pi * time + phases[7])
    if rng.random() < BLINK_SHARE:
        light[int(rng.integers(n_frames))] *= rng.uniform(0.85, 1.15)
    pose = _pose(rng)
    frames, found = [], []
    for t, gain in zip(time, light, strict=True):
        xy = _move(grid, pose(t), side)
        for field, phase in zip(fields, phases, strict=False):
            moved = np.sin(2 * np.pi * t + phase) * side / zoom  # of what is shown
            xy += field * np.float32(moved)
        x, y = cv2.split(xy)
        picture = cv2.remap(portrait, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        frames.append(np.clip(picture * gain + 0.5, 0, 255).astype(np.uint8))
        found.append(_followed(points * side - 0.5, xy))
    clip, landmarks = np.stack(frames), (np.stack(found) + 0.5) / size
    if rng.random() < 0.5:
        return clip[:, :, ::-1], _mirrored(landmarks)
    return clip, landmarks


def _mirrored(landmarks: Floats) -> Floats:
    """Left and right change places, so that `left eye` stays the left one in the picture."""
    turned = landmarks * (-1, 1) + (1, 0)
    return turned[:, MIRRORED[landmarks.shape[1]]]


def _followed(points: Floats, xy: Maps) -> Floats:
    """Where in the output the portrait's points [K, 2] come to lie: the inverse of the map `xy`.

    Newton's steps with the map's mean slope; outside the picture the map goes on at its edge.
    """
    size = len(xy)
    along_x = (xy[:, -1] - xy[:, 0]).mean(axis=0) / (size - 1)
    along_y = (xy[-1] - xy[0]).mean(axis=0) / (size - 1)
    back = np.linalg.inv(np.column_stack([along_x, along_y]))
    at = (points - xy[size // 2, size // 2]) @ back.T + size // 2
    for _ in range(FOLLOWED):
        inside = np.clip(at, 0, size - 1).astype(np.float32)
        seen = cv2.remap(xy, inside[None, :, 0], inside[None, :, 1], cv2.INTER_LINEAR)[0]
        seen = seen + (at - inside) @ np.column_stack([along_x, along_y]).T
        at = at + (points - seen) @ back.T
    return at


def _grid(size: int, portrait: int, zoom: float, rng: np.random.Generator) -> Maps:
    """float32 [S, S, 2]: where in the portrait each output pixel looks, before motion."""
    side = portrait / zoom
    corner = rng.uniform(0, portrait - side, 2)
    axis = (np.arange(size) + 0.5) / size * side - 0.5
    return np.stack(np.meshgrid(axis + corner[0], axis + corner[1]), axis=-1).astype(np.float32)


def _pose(rng: np.random.Generator) -> Callable[[float], Floats]:
    """A function of time giving (angle, scale, shift x, shift y), slow and smooth."""
    base = np.array([rng.normal(0, 0.12), rng.normal(1.0, 0.06), *rng.normal(0, 0.025, 2)])
    sway = np.array([0.05, 0.025, 0.03, 0.03]) * rng.uniform(0, 1, 4)
    rate, phase = rng.uniform(0.2, 1, 4), rng.uniform(0, 2 * np.pi, 4)
    return lambda t: base + sway * np.sin(2 * np.pi * rate * t + phase)


def _move(grid: Maps, pose: Floats, side: int) -> Maps:
    angle, scale, dx, dy = pose
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[c, -s, dx * side + side / 2], [s, c, dy * side + side / 2]])
    turn[:, 2] -= turn[:, :2] @ [side / 2, side / 2]
    return np.asarray(cv2.transform(grid, turn), np.float32)


def _warp_field(size: int, rng: np.random.Generator) -> Maps:
    """float32 [S, S, 2], fractions of the side: a soft bend, and mouth or eyes that move."""
    coarse = rng.normal(0, 0.006, (4, 4, 2))
    field = np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float64)
    spots = (MOUTH,) if rng.random() < 0.6 else EYES
    axis = (np.arange(size) + 0.5) / size
    for x, y in spots:
        bump = (
            np.exp(-(((axis - x) / 0.09) ** 2))[None, :]
            * np.exp(-(((axis - y) / 0.05) ** 2))[:, None]
        )
        field[..., 1] += bump * (axis - y)[:, None] * rng.uniform(0, 0.5)
    return field.astype(np.float32)
