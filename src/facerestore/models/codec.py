"""Pixels <-> latents. The patch codec needs no network and loses nothing; the VAE is SVD's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import (
        AutoencoderKLTemporalDecoder,
    )
    from torch import Tensor

DECODE_FRAMES = 16  # decoded together by the released code; the number changes pixels
ENCODE_FRAMES = 8


class Codec(Protocol):
    """Pixels [F, 3, H, W] in about [-1, 1] <-> latents [F, C, h, w], both float."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of each picture."""
        ...

    def decode(self, latents: Tensor, *, together: int = DECODE_FRAMES) -> Tensor:
        """Pictures of consecutive frames, not clamped, so many decoded together."""
        ...


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

    def decode(self, latents: Tensor, *, together: int = DECODE_FRAMES) -> Tensor:
        """The inverse of `encode`; frames do not touch each other."""
        return F.pixel_shuffle(latents, self.patch)


def hole_latents(holes: Tensor, patch: int = 4) -> Tensor:
    """bool [..., H, W] -> float32 [..., patch**2, H / patch, W / patch], 1 where holes are."""
    return F.pixel_unshuffle(holes.unsqueeze(-3).float(), patch)


class VaeCodec:
    """The VAE of Stable Video Diffusion: 4 channels at 1/8 of the size.

    Latents are the mode of the encoder, not multiplied by the scaling factor.
    """

    def __init__(self, vae: AutoencoderKLTemporalDecoder) -> None:
        self.vae: Any = vae

    def encode(self, pixels: Tensor) -> Tensor:
        """Each picture by itself, a few at a time."""
        parts = pixels.to(self.vae.dtype).split(ENCODE_FRAMES)
        latents = [self.vae.encode(part).latent_dist.mode() for part in parts]
        return torch.cat(latents).to(pixels.dtype)

    def decode(self, latents: Tensor, *, together: int = DECODE_FRAMES) -> Tensor:
        """The decoder is steady in time within the frames it decodes together."""
        parts = latents.to(self.vae.dtype).split(together)
        pixels = [self.vae.decode(part, num_frames=len(part)).sample for part in parts]
        return torch.cat(pixels).to(latents.dtype)
