"""Pixels <-> latents. The patch codec needs no network and loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchCodec:
    """Every `patch` x `patch` square of pixels becomes one latent position, exactly.

    patch: side of the square in pixels; 3 * patch**2 latent channels at 1/patch of the size
    """

    patch: int = 4

    @property
    def channels(self) -> int:
        return 3 * self.patch**2

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [..., 3, H, W] in [-1, 1] -> latents [..., C, H / patch, W / patch]."""
        return F.pixel_unshuffle(pixels, self.patch)

    def decode(self, latents: Tensor) -> Tensor:
        """The inverse of `encode`."""
        return F.pixel_shuffle(latents, self.patch)
