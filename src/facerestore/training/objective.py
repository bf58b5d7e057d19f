"""What is minimised: a batch of clips -> the losses of SVFR, summed with their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from facerestore.models.checkpoint import ModelConfig
from facerestore.models.codec import hole_latents
from facerestore.models.identity import face_crop
from facerestore.models.sampling import scalings
from facerestore.training.losses import (
    LandmarkHead,
    LatentTransformer,
    consistency_loss,
    latent_loss,
    noise_loss,
    pixel_loss,
    prior_loss,
)
from facerestore.training.motion import MIRRORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facerestore.frames import Bytes
    from facerestore.models.codec import Codec
    from facerestore.models.identity import ArcFace, TokenProjection
    from facerestore.training.config import Losses, Noise
    from facerestore.training.data import Example

HIGH = 0.5  # noise levels above this share of the highest count as high


@dataclass(frozen=True)
class Batch:
    """Examples as tensors.

    target, bad: uint8 [B, F, 3, S, S];  other: a second degradation, or None
    holes, other_holes: bool [B, F, S, S] of the two
    reference:   uint8 [B, 3, S, S], zeros where there is none;  known: [B] 1 where there is one
    faces:       float32 [B, 3, 112, 112] in [-1, 1], the reference's face for ArcFace, or None
    gamma:       [B, 3] task vectors;  landmarks: float32 [B, F, K, 2], NaN where unknown
    """

    target: Tensor
    bad: Tensor
    other: Tensor | None
    holes: Tensor
    other_holes: Tensor
    reference: Tensor
    known: Tensor
    faces: Tensor | None
    gamma: Tensor
    landmarks: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device) for name, value in vars(self).items()
        }
        return Batch(**moved)

    def mirrored(self) -> Batch:
        """The same, left and right exchanged."""
        turned: dict[str, Any] = {
            name: None if value is None else value.flip(-1)
            for name, value in vars(self).items()
            if name not in ("known", "gamma", "landmarks")
        }
        order = MIRRORED[self.landmarks.shape[2]]
        away = torch.stack([1 - self.landmarks[..., 0], self.landmarks[..., 1]], dim=-1)
        return replace(self, landmarks=away[:, :, order], **turned)


def collate(examples: Sequence[Example], *, faces: bool) -> Batch:
    """Examples of one size -> a batch; faces: whether ArcFace will look at the references."""
    references = [np.zeros_like(e.bad[0]) if e.reference is None else e.reference for e in examples]
    others = [e.other for e in examples if e.other is not None]
    return Batch(
        target=_pictures([e.target for e in examples]),
        bad=_pictures([e.bad for e in examples]),
        other=_pictures(others) if others else None,
        holes=_holes([e.holes for e in examples], examples),
        other_holes=_holes([e.other_holes for e in examples], examples),
        reference=_pictures(references),
        known=torch.tensor([float(e.reference is not None) for e in examples]),
        faces=torch.stack([_face(e) for e in examples]) if faces else None,
        gamma=torch.tensor([e.tasks.vector for e in examples]),
        landmarks=torch.tensor(np.stack([e.landmarks for e in examples]), dtype=torch.float32),
    )


def _pictures(arrays: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).movedim(-1, -3).contiguous()


def _holes(found: Sequence[NDArray[np.bool_] | None], examples: Sequence[Example]) -> Tensor:
    nothing = np.zeros(examples[0].bad.shape[:3], np.bool_)
    return torch.from_numpy(np.stack([nothing if holes is None else holes for holes in found]))


def _face(example: Example) -> Tensor:
    points = example.reference_landmarks
    if example.reference is None or np.isnan(points).any():
        return torch.zeros(3, 112, 112)
    crop = face_crop(example.reference, points * len(example.reference) - 0.5)
    return torch.from_numpy(crop).movedim(-1, 0) / 127.5 - 1


def draw_sigma(noise: Noise, model: ModelConfig, count: int, generator: torch.Generator) -> Tensor:
    """Noise levels [B, 1, 1, 1, 1], see `Noise`."""
    uniform = torch.rand(2, count, generator=generator)
    if noise.lognormal:
        mean, deviation = noise.lognormal
        sigma = (mean + deviation * torch.randn(count, generator=generator)).exp()
        sigma = sigma.clamp(model.sigma_min, model.sigma_max)
    else:
        high = uniform[0] < noise.high_share
        low = torch.where(high, HIGH * model.sigma_max, model.sigma_min)
        sigma = (low.log() + uniform[1] * (model.sigma_max / low).log()).exp()
    return sigma[:, None, None, None, None]


@dataclass(frozen=True)
class Shared:
    """What is used but not trained; copies of an objective share it.

    shown: [C, C] matrix that condition latents go through before the network, or None
    """

    codec: Codec
    arcface: ArcFace | None = None
    shown: Tensor | None = None

    def __deepcopy__(self, memo: object) -> Shared:
        return self


class Objective(nn.Module):
    """The trained networks, and the losses they make of a batch.

    unet, projection: trained (the projection only where there is an ArcFace network)
    """

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
    ) -> None:
        super().__init__()
        self.unet, self.projection = unet, projection
        channels = middle_channels(unet)
        self.latent = LatentTransformer(channels) if losses.ulr else None
        self.head = LandmarkHead(channels, points) if losses.prior else None
        self.shared = shared
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
        parts = self._picture_losses(x, answer, target, sigma)
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
        self, x: Tensor, answer: Tensor, target: Tensor, sigma: Tensor
    ) -> dict[str, Tensor]:
        high = (sigma.flatten() >= HIGH * self.model.sigma_max).float()
        if self.noise.lognormal:
            high = torch.ones_like(high)
        level = self.noise.low_weight + (1 - self.noise.low_weight) * high
        badness = torch.ones_like(level)
        if self.losses.relative_floor:
            badness = target.square().mean((1, 2, 3, 4)) + self.losses.relative_floor
        parts = {"noise": (noise_loss(answer, target, x, sigma) * level / badness).mean()}
        if self.losses.edges or self.losses.steady:
            error = self.shared.codec.decode(_denoised(x, answer, sigma) - target)
            edges, steady = pixel_loss(error)
            share = high / badness.sqrt()
            parts |= {"edges": (edges * share).mean(), "steady": (steady * share).mean()}
        return parts

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
        if self.shared.shown is not None:
            matrix = self.shared.shown.to(x.device)
            shown = [torch.einsum("ij,bfjhw->bfihw", matrix, z) for z in shown]
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
