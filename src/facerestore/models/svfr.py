"""SVFR: conditions in, restored clip out (SVFR paper section 4; EDM sampling in windows)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from facerestore.models.sampling import euler_step, karras_sigmas, scalings
from facerestore.models.windows import cover, triangle

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from facerestore.frames import Bytes, FaceClip, Reference, Tasks
    from facerestore.models.checkpoint import ModelConfig
    from facerestore.models.codec import PatchCodec

LUMA_601 = (0.299, 0.587, 0.114)  # ITU-R BT.601, the grey of colorization (released SVFR code)
WHITE = 255  # what a hole is filled with (released SVFR code)


class Restorer(Protocol):
    """What the rest of the program knows of a model.

    size:   side of the square crops in pixels;  window: frames denoised together
    cost:   network passes over one frame, summed over all calls so far ("frame-forwards")
    """

    size: int
    window: int
    cost: int

    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        steps: int | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3]; the same inputs give the same frames."""
        ...


class SVFR:
    """One latent video diffusion model for every mix of tasks, told which by its task vector.

    unet:   input [B, F, 3C, h, w] = noisy, degraded, reference latents -> [B, F, C, h, w]
    dtype:  what the network computes in; noise levels and latents stay float32
    """

    def __init__(
        self,
        unet: torch.nn.Module,
        codec: PatchCodec,
        config: ModelConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.unet = unet.to(device).eval()
        self.codec, self.config = codec, config
        self.device, self.dtype = device, dtype
        self.size, self.window = config.size, config.window
        self.cost = 0

    @torch.inference_mode()
    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        steps: int | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3].

        steps:   network evaluations per window, None = the model's own choice
        on_step: called after each window of each step
        Raises ValueError for crops of another size than the model's.
        """
        if clip.frames.shape[1] != self.size:
            raise ValueError(f"expected {self.size} px crops, got {clip.frames.shape[1]}")
        degraded = self._encode(condition(clip, tasks))  # [F, C, h, w]
        known = torch.zeros_like(degraded[:1])
        if reference is not None:
            known = self._encode(reference.image[None])
        sigmas = karras_sigmas(
            steps or self.config.steps,
            sigma_min=self.config.sigma_min,
            sigma_max=self.config.sigma_max,
        )
        base = degraded if self.config.residual else torch.zeros_like(degraded)
        x = self.config.latent_scale * (degraded - base)
        x = x + sigmas[0] * self._noise(x.shape, seed)
        for sigma, lower in pairwise(sigmas):
            denoised = self._denoise(x, sigma, degraded, known, tasks, on_step)
            x = euler_step(x, denoised, sigma, lower)
        return self._decode(base + x / self.config.latent_scale)

    def _noise(self, shape: torch.Size, seed: int) -> Tensor:
        """Drawn on the CPU so that every device starts from the same numbers."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape[1:], generator=generator).expand(shape).to(self.device)

    def _denoise(
        self,
        x: Tensor,
        sigma: Tensor,
        degraded: Tensor,
        known: Tensor,
        tasks: Tasks,
        on_step: Callable[[], None],
    ) -> Tensor:
        """The clean latents [F, C, h, w] expected behind x, joined over overlapping windows."""
        total = torch.zeros_like(x)
        weights = torch.zeros(len(x), 1, 1, 1, device=self.device)
        for frames in cover(len(x), window=self.window, overlap=self.config.overlap):
            part = slice(frames.start, frames.stop)
            weight = torch.tensor(triangle(len(frames)), device=self.device)[:, None, None, None]
            total[part] += weight * self._forward(x[part], sigma, degraded[part], known, tasks)
            weights[part] += weight
            on_step()
        return total / weights

    def _forward(
        self, x: Tensor, sigma: Tensor, degraded: Tensor, known: Tensor, tasks: Tasks
    ) -> Tensor:
        skip, out, into, noise = (s.to(self.device) for s in scalings(sigma))
        sample = torch.cat([into * x, degraded, known.expand_as(x)], dim=1)[None]
        tokens = torch.zeros(1, *self.config.tokens, device=self.device)
        gamma = torch.tensor([tasks.vector], device=self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            answer = self.unet(sample, noise, tokens, added_time_ids=gamma).sample[0]
        self.cost += len(x)
        return skip * x + out * answer.float()

    def _encode(self, pictures: Bytes) -> Tensor:
        """uint8 RGB [F, S, S, 3] -> latents float32 [F, C, h, w]."""
        pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
        return self.codec.encode(pixels / 127.5 - 1)

    def _decode(self, latents: Tensor) -> Bytes:
        pixels = (self.codec.decode(latents) + 1) * 127.5
        return pixels.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def condition(clip: FaceClip, tasks: Tasks) -> Bytes:
    """The degraded frames as the network is shown them, uint8 RGB [F, S, S, 3].

    Grey for colorization, then white where holes are (order of the released code).
    """
    frames = clip.frames
    if tasks.color:
        grey = np.clip(frames @ np.array(LUMA_601, np.float32) + 0.5, 0, 255).astype(np.uint8)
        frames = np.repeat(grey[..., None], 3, axis=-1)
    if tasks.inpaint and clip.holes is not None:
        frames = np.where(clip.holes[..., None], np.uint8(WHITE), frames)
    return np.ascontiguousarray(frames)
