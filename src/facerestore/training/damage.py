"""What old film and old video do to a picture: flicker, dirt, scratches, combing, grey stock.

Frames are uint8 RGB [F, H, W, 3] throughout; every draw comes from the generator passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facerestore.frames import LUMA_601

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facerestore.frames import Bytes

# Orthochromatic film hardly sees red: lips and skin come out dark. An estimate from its spectral
# response (blue and green only), used at most for two thirds.
ORTHOCHROMATIC = np.array([0.05, 0.55, 0.40], np.float32)
FLICKER_TURNS = 3.0  # changes of exposure a frame are drawn around this many a 25 frames


@dataclass(frozen=True)
class FilmDamage:
    """One draw of an old print's faults, the same for all frames of a clip.

    flicker:   relative standard deviation of the exposure from frame to frame
    dirt:      mean number of specks in every area of the size of a 256-px face crop
    scratches: vertical lines that wander slowly and stay for the whole clip
    """

    flicker: float = 0.0
    dirt: float = 0.0
    scratches: int = 0


def draw_damage(rng: np.random.Generator) -> FilmDamage:
    """Draw the faults of a worn print; the upper ends are what still shows a face well."""
    return FilmDamage(
        flicker=float(rng.uniform(0, 0.05)),
        dirt=float(rng.uniform(0, 3)) if rng.random() < 0.7 else 0.0,
        scratches=int(rng.integers(1, 4)) if rng.random() < 0.4 else 0,
    )


def wear(
    frames: Bytes, damage: FilmDamage, rng: np.random.Generator, *, scale: float = 1.0
) -> Bytes:
    """Flicker, dirt and scratches.

    scale: pixels of these frames a pixel of a 256-px face crop, for the sizes of dirt and scratches
    """
    gains = 1 + damage.flicker * _wobble(len(frames), rng)
    worn = np.clip(frames * gains[:, None, None, None] + 0.5, 0, 255).astype(np.uint8)
    area = frames.shape[1] * frames.shape[2] / (256 * scale) ** 2
    lines = [
        _draw_scratch(len(frames), frames.shape[2], scale, rng) for _ in range(damage.scratches)
    ]
    for number, picture in enumerate(worn):
        for _ in range(int(rng.poisson(damage.dirt * area))):
            _add_speck(picture, scale, rng)
        for line in lines:
            _add_scratch(picture, line, number)
    return worn


def fade(frames: Bytes, amount: float) -> Bytes:
    """Contrast lost towards a light grey, as of a faded print; amount 0..1."""
    if amount == 0:
        return frames
    return np.clip(frames * (1 - amount) + 160 * amount + 0.5, 0, 255).astype(np.uint8)


def _wobble(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """float64 [count], about unit variance: quick changes upon slow ones."""
    time = np.arange(count) / 25
    slow = np.sin(2 * np.pi * FLICKER_TURNS * rng.uniform(0.3, 1) * time + rng.uniform(0, 6.3))
    return 0.8 * slow + 0.8 * rng.standard_normal(count)


def _add_speck(picture: Bytes, scale: float, rng: np.random.Generator) -> None:
    """A blob of dust or a hair, white (dirt on the negative) or black (on the print), in place."""
    height, width = picture.shape[:2]
    code = int(rng.integers(200, 256) if rng.random() < 0.6 else rng.integers(0, 50))
    at = rng.uniform(0, 1, 2) * (width, height)
    if rng.random() < 0.7:
        axes = np.maximum(rng.uniform(0.5, 2.5, 2) * scale, 0.6)
        box = (tuple(map(float, at)), tuple(map(float, 2 * axes)), float(rng.uniform(0, 180)))
        cv2.ellipse(picture, box, (code, code, code), -1, cv2.LINE_AA)
        return
    bends = at + np.cumsum(rng.normal(0, 5 * scale, (4, 2)), axis=0)
    hair = np.round(bends).astype(np.int32)
    cv2.polylines(picture, [hair], False, (code,) * 3, max(1, round(scale)), cv2.LINE_AA)


@dataclass(frozen=True)
class Scratch:
    """One vertical line.

    x:     float64 [F], px from the left at the top of each frame;  lean: px to the side a line down
    light: change of what lies under it, in codes;  reach: half width in px
    """

    x: NDArray[np.float64]
    lean: float
    light: float
    reach: float


def _draw_scratch(n_frames: int, width: int, scale: float, rng: np.random.Generator) -> Scratch:
    return Scratch(
        x=rng.uniform(0, width) + np.cumsum(rng.normal(0, 0.5 * scale, n_frames)),
        lean=float(rng.normal(0, 0.01)),
        light=float(rng.choice([60.0, -60.0]) * rng.uniform(0.5, 1)),
        reach=float(rng.uniform(0.5, 1.2)) * scale,
    )


def _add_scratch(picture: Bytes, line: Scratch, number: int) -> None:
    """Lighten or darken what is under the line in frame `number`, in place."""
    height, width = picture.shape[:2]
    x = line.x[number] + line.lean * np.arange(height)
    away = np.abs(np.arange(width)[None] - x[:, None]) / line.reach
    change = line.light * np.exp(-(away**2))
    picture[:] = np.clip(picture + change[..., None], 0, 255).astype(np.uint8)


def comb(frames: Bytes) -> Bytes:
    """Even lines of every frame, odd lines of the next one: what weaving of video fields leaves."""
    combed = frames.copy()
    combed[:-1, 1::2] = frames[1:, 1::2]
    return combed


@dataclass(frozen=True)
class Stock:
    """What a film stock made of the light of a scene, and what time made of the stock.

    fade:  0..1, share of the contrast that is lost
    ortho: of black-and-white film, 0 sees colours as luma does, 1 as orthochromatic film
    gamma: of its contrast curve
    """

    fade: float = 0.0
    ortho: float = 0.0
    gamma: float = 1.0


def draw_stock(rng: np.random.Generator) -> Stock:
    """One clip in eight is faded; half see colours as luma does, the others as old film did."""
    faded = float(rng.uniform(0, 0.25)) if rng.random() < 0.125 else 0.0
    if rng.random() < 0.5:
        return Stock(fade=faded)
    return Stock(faded, ortho=float(rng.uniform(0, 0.66)), gamma=float(rng.uniform(0.75, 1.3)))


def to_grey(frames: Bytes) -> Bytes:
    """Luma of each pixel (ITU-R BT.601, rounded), repeated to three channels."""
    return grey_stock(frames, Stock())


def grey_stock(frames: Bytes, stock: Stock) -> Bytes:
    """Black-and-white film of the scene, [..., 3] -> the same shape."""
    grey = frames @ ((1 - stock.ortho) * LUMA_601 + stock.ortho * ORTHOCHROMATIC)
    if stock.gamma != 1:
        grey = 255 * (grey / 255) ** stock.gamma
    return np.repeat(np.clip(grey + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def with_luma(colour: Bytes, grey: Bytes) -> Bytes:
    """The chroma of `colour` with the luma of `grey`, both uint8 [..., 3].

    Colorizing adds colours and leaves the light as the film has it, whatever its stock made of it.
    """
    change = grey[..., :1].astype(np.float32) - (colour @ LUMA_601)[..., None]
    return np.clip(colour + change + 0.5, 0, 255).astype(np.uint8)


def tint(grey: Bytes, colour: tuple[float, float, float]) -> Bytes:
    """A toned print: grey [..., 3] times an RGB gain for each channel (1, 1, 1 changes nothing)."""
    return np.clip(grey * np.asarray(colour, np.float32) + 0.5, 0, 255).astype(np.uint8)
