"""Networks for whole pictures, through spandrel: `realesrgan`, `ddcolor`, or a file of weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import ModelError, ResourceError
from facerestore.models.baselines import (
    answer_in_place,
    check_numbers,
    load_descriptor,
    turns_pictures,
    weights_named,
)
from facerestore.models.device import choose_device
from facerestore.models.tiles import count_tiles, tiled

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

NAMES = ("realesrgan", "ddcolor")
COLOURING = "DDColor"  # spandrel's name of the architecture
TILE = {"cuda": 512, "cpu": 256}  # px; memory of Real-ESRGAN: about 2 GiB and, in float32, 1 GiB
LEAST_TILE = 128  # px
EDGE = 16  # px mirrored around a picture: convolutions take what is beyond it for black
COLOUR_SIDE = 512  # px, what the authors of DDColor show to it; spandrel shows 256


@dataclass
class Background:
    """A network for whole pictures on its device.

    colours: it gives colours to brightness; else it sharpens or cleans
    tile:    side of the tiles in pixels; becomes smaller where a card is full
    cost:    calls of the network so far;  notes: what the user should know of them
    facts:   name, version, sha256, licence and kind, for the record
    """

    descriptor: Any
    device: torch.device
    path: Path
    facts: dict[str, Any]
    colours: bool
    tile: int
    dtype: torch.dtype | None = None
    cost: int = 0
    notes: list[str] = field(default_factory=list)

    def sharpened(self, picture: Picture) -> Picture:
        """float32 RGB [H, W, 3], 0..1 -> the same shape; raises ModelError, ResourceError."""
        import cv2
        import torch

        wide = cv2.copyMakeBorder(picture, *(EDGE,) * 4, borderType=cv2.BORDER_REFLECT_101)
        while True:
            try:
                answer = tiled(np.asarray(wide, np.float32), self._answer, tile=self.tile)
                return answer[EDGE:-EDGE, EDGE:-EDGE]
            except torch.OutOfMemoryError:
                if self.tile // 2 < LEAST_TILE:
                    raise ResourceError(
                        "the card has no memory left for the background; use --device cpu"
                    ) from None
                self.tile //= 2
                self.notes.append(
                    f"the card ran out of memory: background in tiles of {self.tile} px"
                )
            torch.cuda.empty_cache()

    def _answer(self, picture: Picture) -> Picture:
        self.cost += 1
        return answer_in_place(self.descriptor, picture, self.device, self.path, self.dtype)

    def colours_of(self, grey: Picture) -> Picture:
        """float32 [S, S, 2], a and b (see `colours.py`): brightness float32 [S, S], 0..1."""
        import torch

        self.cost += 1
        with torch.inference_mode():
            # past spandrel's own call, which knows one size only
            x = torch.from_numpy(np.repeat(grey[None, None], 3, axis=1)).to(self.device)
            try:
                ab = self.descriptor.model(x)[0].permute(1, 2, 0).float().cpu().numpy()
            except torch.OutOfMemoryError:
                raise ResourceError(
                    "the card has no memory left for the colours; use --device cpu"
                ) from None
        check_numbers(ab, self.path)
        return ab

    def passes(self, height: int, width: int) -> int:
        """Calls of the network for a picture."""
        if self.colours:
            return 1
        return count_tiles(height + 2 * EDGE, width + 2 * EDGE, self.tile)

    def try_out(self) -> None:
        """One call of the network of the usual size, for who measures time."""
        side = COLOUR_SIDE if self.colours else self.tile
        grey = np.full((side, side), 0.5, np.float32)
        if self.colours:
            self.colours_of(grey)
        else:
            self._answer(np.repeat(grey[..., None], 3, axis=-1))


def load_background(name: str, *, device: str) -> Background:
    """The network of a name in NAMES, or of a file of weights, on the first of the devices.

    Raises ModelError where weights or spandrel are missing, or the network is for something else.
    """
    weights = weights_named(name, NAMES, option=f"--background {name}")
    descriptor = load_descriptor(weights.path)
    colours = descriptor.architecture.id == COLOURING
    if colours:
        _check_colouring(descriptor, weights.path)
    else:
        _check_sharpening(descriptor, weights.path)
    where = choose_device(device.split(",")[0])
    half = half_of(descriptor, where) if not colours else None
    descriptor.to(where, half)
    facts = weights.facts | {
        "licence": weights.licence or "not known to this program",
        "kind": "colours" if colours else "sharpens",
    }
    tile = TILE.get(where.type, TILE["cpu"])
    return Background(descriptor, where, weights.path, facts, colours, tile, half)


def half_of(descriptor: Any, device: torch.device) -> torch.dtype | None:
    """float16 on cards for networks that stand it (bfloat16 is too coarse for pictures)."""
    import torch

    return torch.float16 if device.type == "cuda" and descriptor.supports_half else None


def _check_colouring(descriptor: Any, path: Path) -> None:
    found = descriptor.model.num_output_channels
    if found != 2:
        raise ModelError(f"{path}: gives {found} channels; a DDColor that gives a and b is needed")


def _check_sharpening(descriptor: Any, path: Path) -> None:
    if descriptor.purpose == "Inpainting":
        raise ModelError(f"{path}: fills holes and needs a mask; it is no use for --background")
    if descriptor.purpose == "FaceSR":
        raise ModelError(f"{path}: is made for faces; use it by -m, not by --background")
    if not turns_pictures(descriptor):
        channels = f"{descriptor.input_channels} to {descriptor.output_channels} channels"
        raise ModelError(
            f"{path}: turns {channels}; --background needs a network for colour pictures (3 to 3)"
        )
