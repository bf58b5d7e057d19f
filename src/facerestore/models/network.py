"""The bundled model's network: the same diffusers class as Stable Video Diffusion, made small."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )
    from torch import Tensor

Net = TypeVar("Net", bound=nn.Module)


def make_mini_unet(channels: int) -> UNetSpatioTemporalConditionModel:
    """A freshly initialised network for latents of `channels` channels; it predicts zero.

    Input [B, F, 3 * channels, h, w] (noisy, degraded, reference), output [B, F, channels, h, w].
    """
    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )

    unet = UNetSpatioTemporalConditionModel(
        sample_size=64,
        in_channels=3 * channels,
        out_channels=channels,
        down_block_types=("DownBlockSpatioTemporal",) * 2 + ("CrossAttnDownBlockSpatioTemporal",),
        up_block_types=("CrossAttnUpBlockSpatioTemporal",) + ("UpBlockSpatioTemporal",) * 2,
        block_out_channels=(64, 128, 192),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=32,
        transformer_layers_per_block=1,
        num_attention_heads=(1, 2, 3),
        num_frames=8,
    )
    for parameter in unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    return flatten_time_convolutions(unet)


class TimeConvolution(nn.Conv3d):
    """A (3, 1, 1) convolution computed as a 2-D one over [time, pixels]: the same numbers.

    In bfloat16 on CPUs the weight gradient of the 3-D form comes out as NaN (torch 2.15), and it
    is slower.
    """

    def forward(self, input: Tensor) -> Tensor:
        b, c, f, h, w = input.shape
        x = input.reshape(b, c, f, h * w)
        x = F.conv2d(x, self.weight[..., 0], self.bias, padding=(1, 0))
        return x.reshape(b, -1, f, h, w)


def flatten_time_convolutions(network: Net) -> Net:
    """Replace the computation of every (3, 1, 1) convolution in place; the weights stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d and module.kernel_size == (3, 1, 1):
            module.__class__ = TimeConvolution
    return network
