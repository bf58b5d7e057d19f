"""Training clips from still portraits: pictures from tar files, moved by synthetic motion.

A portrait is an aligned square crop (the 512-px template of facexlib's FaceRestoreHelper scaled to
the picture's size). A clip is that picture under smooth camera and head-like motion and drifting
light: never the same twice.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.frames import Tasks
from facerestore.training.degrade import degrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.frames import Bytes

PORTRAIT_SIZE = 256
MIXES = (
    "bfr",
    "color",
    "inpaint",
    "bfr,color",
    "bfr,inpaint",
    "color,inpaint",
    "bfr,color,inpaint",
)
MIX_WEIGHTS = (0.36, 0.07, 0.07, 0.2, 0.12, 0.06, 0.12)  # what films need most is drawn most
REFERENCE_DROPOUT = 0.5  # SVFR paper section 4.3
MOUTH, EYES = (0.5, 0.725), ((0.377, 0.469), (0.623, 0.469))  # template, fractions of the side


@dataclass(frozen=True)
class Example:
    """One training clip.

    clean, bad: uint8 RGB [F, S, S, 3];  reference: uint8 RGB [S, S, 3] or None;  tasks: the mix
    """

    clean: Bytes
    bad: Bytes
    reference: Bytes | None
    tasks: Tasks


def load_portraits(tars: Sequence[Path]) -> Bytes:
    """uint8 RGB [N, 256, 256, 3] from the pictures in the tar files, in name order."""
    return np.stack([_square(data) for tar in tars for data in _pictures(tar)])


def _pictures(path: Path) -> Iterator[bytes]:
    with tarfile.open(path) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            content = tar.extractfile(member)
            if content and member.name.endswith((".jpg", ".png")):
                yield content.read()


def _square(data: bytes) -> Bytes:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadInputError("a portrait archive holds a picture that cannot be read")
    size = (PORTRAIT_SIZE, PORTRAIT_SIZE)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def moving_clip(
    portrait: Bytes, *, n_frames: int, size: int, rng: np.random.Generator, zoom: float = 1.0
) -> Bytes:
    """uint8 RGB [F, S, S, 3]: the portrait [P, P, 3] under smooth synthetic motion.

    zoom: 1 shows the whole crop; above 1 a random part of it, enlarged by this factor
    """
    time = np.linspace(0, 1, n_frames) * rng.uniform(0.02, 0.25) * n_frames
    grid = _grid(size, len(portrait), zoom, rng)
    fields = [_warp_field(size, rng) for _ in range(3)]
    phases = rng.uniform(0, 2 * np.pi, 8)
    light = 1 + rng.uniform(0, 0.06) * np.sin(2 * np.pi * time * 0.5 + phases[7])
    pose = _pose(rng)
    frames = []
    for t, gain in zip(time, light, strict=True):
        xy = _move(grid, pose(t), len(portrait))
        for field, phase in zip(fields, phases, strict=False):
            xy = xy + field * np.sin(2 * np.pi * t + phase) * len(portrait)
        x, y = xy[..., 0].astype(np.float32), xy[..., 1].astype(np.float32)
        picture = cv2.remap(portrait, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        frames.append(np.clip(picture * gain + 0.5, 0, 255).astype(np.uint8))
    clip = np.stack(frames)
    return clip[:, :, ::-1] if rng.random() < 0.5 else clip


def _grid(size: int, portrait: int, zoom: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """float64 [S, S, 2]: where in the portrait each output pixel looks, before motion."""
    side = portrait / zoom
    corner = rng.uniform(0, portrait - side, 2)
    axis = (np.arange(size) + 0.5) / size * side - 0.5
    return np.stack(np.meshgrid(axis + corner[0], axis + corner[1]), axis=-1)


def _pose(rng: np.random.Generator):
    """A function of time giving (angle, scale, shift x, shift y), slow and smooth."""
    base = np.array([rng.normal(0, 0.12), rng.normal(1.0, 0.06), *rng.normal(0, 0.025, 2)])
    sway = np.array([0.05, 0.025, 0.03, 0.03]) * rng.uniform(0, 1, 4)
    rate, phase = rng.uniform(0.2, 1, 4), rng.uniform(0, 2 * np.pi, 4)
    return lambda t: base + sway * np.sin(2 * np.pi * rate * t + phase)


def _move(grid: NDArray[np.float64], pose: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    angle, scale, dx, dy = pose
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    centred = grid - side / 2
    return centred @ np.array([[c, s], [-s, c]]) + side / 2 + np.array([dx, dy]) * side


def _warp_field(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """float64 [S, S, 2], fractions of the side: a soft bend, and mouth or eyes that move."""
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
    return field


def example(
    portraits: Bytes, *, n_frames: int, size: int, rng: np.random.Generator, zoomed: float
) -> Example:
    """Draw one training example; a `zoomed` share shows a part of the crop at its full detail."""
    portrait = portraits[int(rng.integers(len(portraits)))]
    zoom = PORTRAIT_SIZE / size if rng.random() < zoomed else 1.0
    clean = moving_clip(portrait, n_frames=n_frames + 1, size=size, rng=rng, zoom=zoom)
    order = rng.permutation(n_frames + 1)
    reference = None if rng.random() < REFERENCE_DROPOUT else _soften(clean[order[0]], rng)
    clip = clean[:n_frames]
    tasks = Tasks.parse(str(rng.choice(MIXES, p=MIX_WEIGHTS)))
    return Example(clip, degrade(clip, tasks, rng)[0], reference, tasks)


def _soften(reference: Bytes, rng: np.random.Generator) -> Bytes:
    """Half of the time slightly blurred: when restoring, the reference is the model's own frame."""
    if rng.random() < 0.5:
        return reference
    return np.asarray(cv2.GaussianBlur(reference, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
