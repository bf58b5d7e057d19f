"""A new network, set up so that it learns to restore in minutes instead of days."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from facerestore.models.codec import PatchCodec
from facerestore.models.network import make_mini_unet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )
    from torch import Tensor

CODEC = PatchCodec(4)
HOLE_CHANNELS = CODEC.patch**2  # of `hole_latents`
DETAIL_GAIN = 8.0  # brings the detail inside a patch near the variance of its mean
NOISE_SHRINK = 0.02  # of the first layer's weights for the noisy latents, at the start
OFFSET = 4.0  # of the last norm's channels, in standard deviations: see `keep_amplitude`


@torch.no_grad()
def fresh_unet(
    widths: Sequence[int], *, fills_holes: bool = False
) -> UNetSpatioTemporalConditionModel:
    """A small network with weights to begin training with; it predicts zero.

    widths: channels of each level, see `make_mini_unet`;  fills_holes: see `ModelConfig`
    """
    unet = make_mini_unet(CODEC.channels, widths, beside=HOLE_CHANNELS if fills_holes else 0)
    unet.conv_in.weight[:, : CODEC.channels] *= NOISE_SHRINK
    keep_amplitude(unet, torch.ones(unet.conv_norm_out.num_channels))
    return unet


@torch.no_grad()
def keep_amplitude(unet: UNetSpatioTemporalConditionModel, spread: Tensor) -> None:
    """Let the network say how bad a clip is: make its last group norm nearly linear.

    The norm brings every clip's last features to the same strength, so a noisy clip and a clean
    one would get a difference of the same size. Here the two channels of a group are first moved
    apart, to +-OFFSET `spread`, which outweighs what varies between clips, and moved back after.

    spread: [C], standard deviation of the norm's input; the network's answer stays about the same
    """
    last: Any = unet.up_blocks[-1]
    block = last.resnets[-1]
    share = 1 - torch.sigmoid(block.time_mixer.mix_factor)  # of the temporal branch
    norm: Any = unet.conv_norm_out
    group = spread.square().unflatten(0, (norm.num_groups, -1)).mean(1, keepdim=True).sqrt()
    size = norm.num_channels // norm.num_groups
    sign = 1 - 2 * (torch.arange(size) % 2)
    offset = (OFFSET * group * sign).flatten()
    deviation = group.expand(-1, size).flatten()
    block.temporal_res_block.conv2.bias += offset / share
    norm.bias -= norm.weight * offset / deviation
    norm.weight *= (1 + OFFSET**2) ** 0.5


@cache
def whitening() -> Tensor:
    """[C, C]: latents of a patch -> its mean and its detail (DCT), of about the same variance.

    While training, the first layer sees the degraded and reference latents through this matrix,
    or the tiny detail would hardly move its weights; `folded` puts it into the weights.
    """
    n = CODEC.patch
    wave = torch.cos(torch.pi / n * (torch.arange(n) + 0.5) * torch.arange(n)[:, None])
    basis = wave * torch.where(torch.arange(n) == 0, (1 / n) ** 0.5, (2 / n) ** 0.5)[:, None]
    gain = torch.full((n * n, 1), DETAIL_GAIN)
    gain[0] = 1 / n
    return torch.block_diag(*[gain * torch.kron(basis, basis)] * 3)


def folded(weight: Tensor, matrix: Tensor) -> Tensor:
    """The first layer's weight [O, 3C + n, 3, 3] for inputs that have not gone through `matrix`."""
    noisy, degraded, reference, *holes = weight.split(CODEC.channels, dim=1)
    shown = (torch.einsum("oihw,ij->ojhw", part, matrix) for part in (degraded, reference))
    return torch.cat([noisy, *shown, *holes], dim=1)
