"""What is minimised: a batch of clips -> the losses of SVFR, summed with their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from facerestore.models.checkpoint import ModelConfig
from facerestore.models.codec import hole_latents
from facerestore.models.sampling import scalings
from facerestore.training.losses import (
    LandmarkHead,
    LatentTransformer,
    consistency_loss,
    detail_loss,
    latent_loss,
    noise_loss,
    pixel_loss,
    prior_loss,
    structure_loss,
)

if TYPE_CHECKING:
    from facerestore.models.codec import Codec
    from facerestore.models.identity import ArcFace, TokenProjection
    from facerestore.training.batches import Batch
    from facerestore.training.config import Losses, Noise, TrainConfig

HIGH = 0.5  # noise levels above this share of the highest count as high


def draw_sigma(noise: Noise, model: ModelConfig, count: int, generator: torch.Generator) -> Tensor:
    """Noise levels [B, 1, 1, 1, 1], see `Noise`."""
    device = generator.device
    uniform = torch.rand(2, count, generator=generator, device=device)
    if noise.lognormal:
        mean, deviation = noise.lognormal
        sigma = (mean + deviation * torch.randn(count, generator=generator, device=device)).exp()
        sigma = sigma.clamp(model.sigma_min, model.sigma_max)
    else:
        high = uniform[0] < noise.high_share
        low = torch.where(high, HIGH * model.sigma_max, model.sigma_min)
        sigma = (low.log() + uniform[1] * (model.sigma_max / low).log()).exp()
    return sigma[:, None, None, None, None]


def latent_noise(config: TrainConfig, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Unit variance [B, F, C, h, w] for a batch."""
    count, frames, _, size, _ = batch.bad.shape
    channels, cell = (48, 4) if config.model.codec == "patch4" else (4, 8)
    shape = (count, frames, channels, size // cell, size // cell)
    if config.model.shared_noise:  # as when restoring: all frames start from the same noise
        shape = (count, 1, *shape[2:])
    noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise.expand(-1, frames, -1, -1, -1)


@dataclass(frozen=True)
class Shared:
    """What is used but not trained; copies of an objective share it."""

    codec: Codec
    arcface: ArcFace | None = None

    def __deepcopy__(self, memo: object) -> Shared:
        return self


class Objective(nn.Module):
    """The trained networks, and the losses they make of a batch.

    unet, projection: trained (the projection only where there is an ArcFace network)
    shown: [C, C] matrix that condition latents go through before the network, or None
    """

    shown: Tensor | None

    def __init__(
        self,
        unet: nn.Module,
        shared: Shared,
        model: ModelConfig,
        losses: Losses,
        noise: Noise,
        *,
        points: int,
        projection: TokenProjection | None = None,
        shown: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.unet, self.projection = unet, projection
        channels = middle_channels(unet)
        self.latent = LatentTransformer(channels) if losses.ulr else None
        self.head = LandmarkHead(channels, points) if losses.prior else None
        self.shared = shared
        self.register_buffer("shown", shown, persistent=False)
        self.model, self.losses, self.noise = model, losses, noise

    def forward(
        self, batch: Batch, sigma: Tensor, noise: Tensor, aim: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Losses by name, unweighted, and "total", the weighted sum.

        sigma: [B, 1, 1, 1, 1];  noise: unit variance, as the latents [B, F, C, h, w]
        aim:   denoised latents to agree with; then that is the only loss (see `distill`)
        Both degradations of a clip are denoised, with the same noise.
        """
        base, target = self.latents(batch)
        count = len(base) // len(sigma)
        sigma, noise = (t.repeat(count, 1, 1, 1, 1) for t in (sigma, noise))
        x = target + sigma * noise
        middle, seen = cast("Any", self.unet).mid_block, []
        with middle.register_forward_hook(lambda module, inputs, output: seen.append(output)):
            answer = self._answer(batch, x, sigma, base)
        if aim is not None:
            loss = consistency_loss(_denoised(x, answer, sigma), aim)
            return {"consistency": loss, "total": loss}
        parts = self._picture_losses(x, answer, base, target, sigma)
        features = seen[0].unflatten(0, base.shape[:2])  # [B or 2 B, F, C, h, w]
        if self.latent is not None and count == 2:
            first, second = self.latent(features).chunk(2)
            parts["ulr"] = latent_loss(first, second)
        if self.head is not None:
            truth = batch.landmarks.repeat(count, 1, 1, 1)
            parts["prior"] = prior_loss(self.head(features).float(), truth)
        weights = vars(self.losses) | {"noise": 1.0}
        total = torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()
        return parts | {"total": total}

    def latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those of the degraded clips and the clean target of the denoiser, [B or 2 B, F, C, h, w].

        Twice as many where the batch has second degradations.
        """
        bad = batch.bad if batch.other is None else torch.cat([batch.bad, batch.other])
        base = self._encoded(bad)
        clean = self._encoded(batch.target).repeat(len(bad) // len(batch.bad), 1, 1, 1, 1)
        return base, (clean - base if self.model.residual else clean) * self.model.latent_scale

    def _picture_losses(
        self, x: Tensor, answer: Tensor, base: Tensor, target: Tensor, sigma: Tensor
    ) -> dict[str, Tensor]:
        high = (sigma.flatten() >= HIGH * self.model.sigma_max).float()
        if self.noise.lognormal:
            high = torch.ones_like(high)
        level = self.noise.low_weight + (1 - self.noise.low_weight) * high
        badness = torch.ones_like(level)
        if self.losses.relative_floor:
            badness = target.square().mean((1, 2, 3, 4)) + self.losses.relative_floor
        parts = {"noise": (noise_loss(answer, target, x, sigma) * level / badness).mean()}
        denoised = _denoised(x, answer, sigma)
        if self.losses.edges or self.losses.steady:
            edges, steady = pixel_loss(self.shared.codec.decode(denoised - target))
            share = level / badness.sqrt()
            parts |= {"edges": (edges * share).mean(), "steady": (steady * share).mean()}
        if self.losses.structure or self.losses.detail:
            pixels = [self._pixels(z, base) for z in (denoised, target)]
            if self.losses.structure:
                parts["structure"] = (structure_loss(*pixels) * level).mean()
            if self.losses.detail:
                parts["detail"] = (detail_loss(*pixels) * (1 - high)).mean()
        return parts

    def _pixels(self, latents: Tensor, base: Tensor) -> Tensor:
        """Clean latents of the denoiser -> pixels in [-1, 1]."""
        clean = latents / self.model.latent_scale
        return self.shared.codec.decode(base + clean if self.model.residual else clean)

    def denoise(self, batch: Batch, x: Tensor, sigma: Tensor, base: Tensor) -> Tensor:
        """The clean latents the network sees in x [B, F, C, h, w], guided as when restoring."""
        guidance = self.model.guidance
        answer = self._answer(batch, x, sigma, base)
        if guidance != 1:
            blank = self._answer(
                replace(batch, known=torch.zeros_like(batch.known)), x, sigma, base
            )
            answer = blank + guidance * (answer - blank)
        return _denoised(x, answer, sigma)

    def _answer(self, batch: Batch, x: Tensor, sigma: Tensor, base: Tensor) -> Tensor:
        """The network's answer, float32, like x [B or 2 B, F, C, h, w]."""
        count = len(x) // len(batch.bad)
        known = batch.known[:, None, None, None, None]
        reference = self._encoded(batch.reference[:, None]) * known
        shown = [base, reference.repeat(count, x.shape[1], 1, 1, 1)]
        if self.shown is not None:
            shown = [torch.einsum("ij,bfjhw->bfihw", self.shown, z) for z in shown]
        _, _, into, noise = scalings(sigma)
        if self.model.fills_holes:
            shown.append(hole_latents(torch.cat([batch.holes, batch.other_holes][:count])))
        sample = torch.cat([into * x, *shown], dim=2)
        gamma = batch.gamma.repeat(count, 1)
        tokens = self._tokens(batch).repeat(count, 1, 1)
        return self.unet(sample, noise.flatten(), tokens, added_time_ids=gamma).sample.float()

    def _tokens(self, batch: Batch) -> Tensor:
        """[B, N, D], zeros without a reference or an identity network."""
        arcface, shape = self.shared.arcface, self.model.tokens
        if arcface is None or self.projection is None or batch.faces is None:
            return batch.gamma.new_zeros(len(batch.gamma), *shape)
        with torch.no_grad():
            seen = arcface.feature_map(batch.faces.to(arcface.conv1.weight.dtype))
        there = (batch.known * batch.faces.flatten(1).any(dim=1))[:, None, None]
        return self.projection(seen) * there

    @torch.no_grad()
    def _encoded(self, pictures: Tensor) -> Tensor:
        """uint8 [B, F, 3, S, S] -> float32 latents [B, F, C, h, w]."""
        pixels = pictures.float() / 127.5 - 1
        return (
            self.shared.codec.encode(pixels.flatten(0, 1)).float().unflatten(0, pictures.shape[:2])
        )


def _denoised(x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
    skip, scale, _, _ = scalings(sigma)
    return skip * x + scale * answer


def middle_channels(unet: Any) -> int:
    """Channels of the features of the UNet's mid block."""
    return unet.config.block_out_channels[-1]
