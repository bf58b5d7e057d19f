"""Make good clips bad: what blind restoration, colorization and inpainting have to undo.

Every draw comes from the generator passed in, so a seed gives the same clip again. Frames are uint8
RGB [F, H, W, 3] throughout, H and W even. The parts follow the SVFR paper, section 5.1 (random
blur, noise, resize, video compression); the ranges, the drift in time and the faults of old film
are ours. docs/degradations.md lists all ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.errors import UsageError
from facerestore.models.restorer import WHITE
from facerestore.training.damage import (
    FilmDamage,
    Stock,
    comb,
    draw_damage,
    draw_stock,
    fade,
    grey_stock,
    wear,
    with_luma,
)
from facerestore.training.holes import draw_holes
from facerestore.video.compress import recompress
from facerestore.video.planes import resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Tasks

CROP_SIZE = 256  # sizes of blur, dirt and scratches are pixels of a face crop of this size
SHRINKING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)
GROWING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)
CODECS = ("libx264", "mpeg4", "mpeg2video")
LEAST_SHRINK = 1.05  # below, a clip keeps its size
DRIFT_SECONDS, FRAMES_A_SECOND = 3.0, 25  # how slowly parameters drift


@dataclass(frozen=True)
class Severity:
    """How bad a clip can get: the upper ends of the ranges of BlindDegradation, and shares."""

    blur: float
    shrink: float
    noise: float
    odd_blur: float  # share of clips with motion or defocus blur instead of gaussian blur
    codec: float  # share of clips that are compressed
    worn: float  # share with the faults of an old print
    combed: float  # share with woven fields


# Most clips are like films that people bring; the worst teach little, the best to leave alone.
SEVERITIES = {
    "light": Severity(0.8, 1.3, 3, 0.0, 0.2, 0.0, 0.0),
    "medium": Severity(2.0, 2.5, 9, 0.1, 0.5, 0.15, 0.05),
    "heavy": Severity(3.0, 6.0, 16, 0.2, 0.7, 0.25, 0.05),
}
SEVERITY_WEIGHTS = {"light": 0.15, "medium": 0.6, "heavy": 0.25}


@dataclass(frozen=True)
class BlindDegradation:
    """One draw of everything that blind restoration undoes, for one clip.

    blur:     "gaussian" (blur_size is its sigma), "defocus" (radius) or "motion" (length), in px
    shrink:   the clip is reduced by this factor and enlarged again (OpenCV interpolations)
    noise:    "gaussian", "poisson" or "grain" (soft, stronger in middle tones);  noise_level: its
              standard deviation in 8-bit codes;  grey_noise: the same in all channels;
              noise_memory: 0..1, correlation of one frame's noise with the next one's
    codec, quantizer: video compression at the reduced size, or None
    damage:   faults of old film;  combed: woven fields
    drift:    0..1, how much blur and noise change in the course of seconds, relative;
              drift_phase: where in that wave the film begins, 0..2 pi
    """

    blur: str = "gaussian"
    blur_size: float = 0.0
    blur_angle: float = 0.0
    shrink: float = 1.0
    shrink_interpolation: int = cv2.INTER_AREA
    grow_interpolation: int = cv2.INTER_CUBIC
    noise: str = "gaussian"
    noise_level: float = 0.0
    grey_noise: bool = False
    noise_memory: float = 0.0
    codec: str | None = None
    quantizer: int = 23
    damage: FilmDamage = field(default_factory=FilmDamage)
    combed: bool = False
    drift: float = 0.0
    drift_phase: float = 0.0


@dataclass(frozen=True)
class Degraded:
    """bad: what the model is given;  target: what it should give back;  holes: bool [F, H, W]"""

    bad: Bytes
    target: Bytes
    holes: NDArray[np.bool_] | None


def draw_blind(rng: np.random.Generator, *, severity: str | None = None) -> BlindDegradation:
    """Draw from the ranges of one severity, or of all by their weights.

    Raises UsageError for an unknown severity.
    """
    if severity is not None and severity not in SEVERITIES:
        raise UsageError(f"unknown severity '{severity}'; choose from {', '.join(SEVERITIES)}")
    name = severity or str(rng.choice(list(SEVERITY_WEIGHTS), p=list(SEVERITY_WEIGHTS.values())))
    worst = SEVERITIES[name]
    codec = str(rng.choice(CODECS))
    draw = BlindDegradation(
        blur_size=float(rng.uniform(0, worst.blur)),
        shrink=float(np.exp(rng.uniform(0, np.log(worst.shrink)))),
        shrink_interpolation=int(rng.choice(SHRINKING)),
        grow_interpolation=int(rng.choice(GROWING)),
        noise=str(rng.choice(["gaussian", "poisson", "grain"])),
        noise_level=float(rng.uniform(0, worst.noise)) if rng.random() < 0.8 else 0.0,
        grey_noise=bool(rng.random() < 0.4),
        noise_memory=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
        codec=codec if rng.random() < worst.codec else None,
        quantizer=int(rng.integers(20, 36) if codec == "libx264" else rng.integers(2, 11)),
        combed=bool(rng.random() < worst.combed),
        drift=float(rng.uniform(0, 0.3)),
        drift_phase=float(rng.uniform(0, 2 * np.pi)),
    )
    if rng.random() < worst.odd_blur:
        kind, size = ("motion", rng.uniform(3, 10)) if rng.random() < 0.5 else ("defocus", 3.0)
        size = float(size if kind == "motion" else rng.uniform(0.8, size))
        draw = replace(draw, blur=kind, blur_size=size, blur_angle=float(rng.uniform(0, 180)))
    if rng.random() < worst.worn:
        draw = replace(draw, noise="grain", grey_noise=True, damage=draw_damage(rng))
    return draw


def degrade_blind(
    frames: Bytes,
    draw: BlindDegradation,
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
    first: int = 0,
) -> Bytes:
    """Blur, shrink, wear, add noise, weave, compress, enlarge: [F, H, W, 3] -> the same shape.

    scale: pixels of these frames a pixel of a 256-px face crop; 1 for crops
    first: number of the first frame in its film, for what drifts
    """
    height, width = frames.shape[1:3]
    shrink = max(1.0, draw.shrink * scale) if draw.shrink > LEAST_SHRINK else 1.0
    small = (_even(width / shrink), _even(height / shrink))
    drift = _drifts(draw, first, len(frames))
    bad = np.stack(
        [
            _shrink(_blur(frame, draw, draw.blur_size * scale * change), small, draw)
            for frame, change in zip(frames, drift, strict=True)
        ]
    )
    bad = wear(bad, draw.damage, rng, scale=scale / shrink)
    bad = _add_noise(bad, draw, drift, rng)
    if draw.combed:
        bad = comb(bad)
    if draw.codec:
        bad = recompress(bad, codec=draw.codec, quantizer=draw.quantizer)
    if small == (width, height):
        return bad
    enlarged = [cv2.resize(f, (width, height), interpolation=draw.grow_interpolation) for f in bad]
    return np.stack(enlarged).astype(np.uint8, copy=False)


def cut_out(frames: Bytes, size: int) -> Bytes:
    """uint8 [F, size, size, 3]: square frames as `restore` cuts a crop out of a film."""
    if frames.shape[1] == size:
        return frames
    scale = frames.shape[1] / size
    matrix = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])
    crops = np.stack([resampled(frame.astype(np.float32), matrix, size) for frame in frames])
    return np.clip(crops + 0.5, 0, 255).astype(np.uint8)


def _even(length: float) -> int:
    return max(16, int(length / 2) * 2)  # never above: enlarging would leave an odd size


def _drifts(draw: BlindDegradation, first: int, count: int) -> NDArray[np.float64]:
    """float64 [count] around 1: a slow wave."""
    turn = 2 * np.pi / (DRIFT_SECONDS * FRAMES_A_SECOND)
    return 1 + draw.drift * np.sin(turn * (first + np.arange(count)) + draw.drift_phase)


def _blur(frame: Bytes, draw: BlindDegradation, size: float) -> Bytes:
    if draw.blur == "gaussian":
        blurred = frame if size < 0.2 else cv2.GaussianBlur(frame, (0, 0), size)
    else:
        kernel = _disc(size) if draw.blur == "defocus" else _line(size, draw.blur_angle)
        blurred = cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.uint8)


def _disc(radius: float) -> NDArray[np.float32]:
    """The picture of a point out of focus: a disc with a soft edge."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disc / disc.sum()


def _line(length: float, angle: float) -> NDArray[np.float32]:
    """The picture of a point that moves by `length` px in the direction `angle` (degrees)."""
    reach = int(np.ceil(length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    turn = np.deg2rad(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    line = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return (line / line.sum()).astype(np.float32)


def _shrink(frame: Bytes, small: tuple[int, int], draw: BlindDegradation) -> Bytes:
    if small == frame.shape[1::-1]:
        return frame
    return np.asarray(cv2.resize(frame, small, interpolation=draw.shrink_interpolation), np.uint8)


def _add_noise(
    frames: Bytes, draw: BlindDegradation, drift: NDArray[np.float64], rng: np.random.Generator
) -> Bytes:
    if draw.noise_level == 0:
        return frames
    shape = (*frames.shape[1:3], 1 if draw.grey_noise else 3)
    memory, fresh = draw.noise_memory, (1 - draw.noise_memory**2) ** 0.5
    noise, noisy = _noise(shape, draw, rng), []
    for frame, change in zip(frames, drift, strict=True):
        level = draw.noise_level * change * _noise_gain(frame, draw.noise)
        noisy.append(np.clip(frame + noise * level + 0.5, 0, 255).astype(np.uint8))
        noise = memory * noise + fresh * _noise(shape, draw, rng)
    return np.stack(noisy)


def _noise(
    shape: tuple[int, int, int], draw: BlindDegradation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """float32 [H, W, 1 or 3] of unit variance; film grain is soft, its neighbours are alike."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if draw.noise != "grain":
        return noise
    soft = np.asarray(cv2.GaussianBlur(noise, (3, 3), 0.7), np.float32).reshape(shape)
    return soft / np.float32(max(float(soft.std()), 1e-6))


def _noise_gain(frame: Bytes, kind: str) -> NDArray[np.float32] | float:
    """How the strength of noise goes with the light of each pixel, 1 at middle grey."""
    if kind == "poisson":  # photons: the variance grows with the light
        return np.sqrt((frame.astype(np.float32) + 8) / 136)
    if kind == "grain":  # silver: most visible in middle tones
        light = frame.mean(axis=-1, keepdims=True, dtype=np.float32) / 255
        return 0.4 + 2.4 * light * (1 - light)
    return 1.0


def degrade(
    clean: Bytes,
    tasks: Tasks,
    rng: np.random.Generator,
    *,
    stock: Stock | None = None,
    size: int | None = None,
    coarse: float = 1.0,
) -> Degraded:
    """Draw and apply what `tasks` have to undo to a clip [F, H, W, 3].

    stock: None = drawn, too
    size:  px of the crop that is cut out of square frames of a film once they are blurred, noisy
           and compressed; None = the frames are a crop already
    coarse: pixels of that crop a pixel of a 256-px crop: how much larger its faults are
    Order of the released code: degrade, grey, then white where the holes are. The target keeps what
    the stock made of the light: grading a film is not a face's business.
    """
    stock = stock or draw_stock(rng)
    film = bad = fade(clean, stock.fade)
    side = film.shape[1] if size is None else size
    if tasks.bfr:
        bad = degrade_blind(film, draw_blind(rng), rng, scale=coarse * film.shape[1] / side)
    target = cut_out(film, side)
    bad = cut_out(bad, side) if tasks.bfr else target
    if tasks.color:
        bad, target = grey_stock(bad, stock), with_luma(target, grey_stock(target, stock))
    if not tasks.inpaint:
        return Degraded(bad, target, None)
    holes = draw_holes(len(target), target.shape[1:3], rng)
    return Degraded(np.where(holes[..., None], np.uint8(WHITE), bad), target, holes)
