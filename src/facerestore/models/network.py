"""The network: diffusers' UNet of Stable Video Diffusion, made small or made faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )
    from torch import Tensor

Net = TypeVar("Net", bound=nn.Module)


HEAD_WIDTH = 64  # channels an attention head, as in Stable Video Diffusion


def make_mini_unet(
    channels: int, widths: Sequence[int] = (64, 128, 192), *, beside: int = 0
) -> UNetSpatioTemporalConditionModel:
    """A freshly initialised network for latents of `channels` channels; it predicts zero.

    widths: channels of each level, multiples of 32, two levels or more
    beside: further input channels
    Input [B, F, 3 * channels + beside, h, w] (noisy, degraded, reference, others), output
    [B, F, channels, h, w].
    """
    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )

    upper = len(widths) - 1
    unet = UNetSpatioTemporalConditionModel(
        sample_size=64,
        in_channels=3 * channels + beside,
        out_channels=channels,
        down_block_types=("DownBlockSpatioTemporal",) * upper
        + ("CrossAttnDownBlockSpatioTemporal",),
        up_block_types=("CrossAttnUpBlockSpatioTemporal",) + ("UpBlockSpatioTemporal",) * upper,
        block_out_channels=tuple(widths),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=32,
        transformer_layers_per_block=1,
        num_attention_heads=tuple(max(1, width // HEAD_WIDTH) for width in widths),
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


@dataclass(frozen=True)
class Conditions:
    """What the network is told about a clip.

    degraded: float32 [F, C, h, w], latents of the degraded frames
    known:    [1, C, h, w] latents of the reference, or None without one
    tokens:   [1, N, D] identity tokens of the reference, as the network takes them, or None
    gamma:    task vector
    holes:    float32 [F, n, h, w] where they are (`hole_latents`), or None for models not told
    """

    degraded: Tensor
    known: Tensor | None
    tokens: Tensor | None
    gamma: tuple[float, ...]
    holes: Tensor | None = None


class Network(Protocol):
    """The UNet as the sampler calls it.

    sample: [B, F, 3C, h, w], or some channels more;  noise: [] timestep
    gamma:  [B, 3] task vectors
    tokens: [1, N, D] identity tokens or None;  blank: so many leading items of the batch see zero
            tokens instead (all of them where tokens is None)
    Returns [B, F, C, h, w].
    """

    def __call__(
        self, sample: Tensor, noise: Tensor, tokens: Tensor | None, blank: int, gamma: Tensor
    ) -> Tensor: ...


def plain(unet: nn.Module, *, tokens_shape: tuple[int, int]) -> Network:
    """The UNet as it is: every item of the batch carries its own tokens."""

    def run(
        sample: Tensor, noise: Tensor, tokens: Tensor | None, blank: int, gamma: Tensor
    ) -> Tensor:
        seen = sample.new_zeros(len(sample), *tokens_shape)
        if tokens is not None:
            seen[blank:] = tokens
        return unet(sample, noise, seen, added_time_ids=gamma).sample

    return run


def hoisted(unet: nn.Module) -> Network:
    """The same numbers with cross-attention computed once instead of once a pixel and step.

    All frames, pixels and steps of a clip see the same tokens, so their keys and values are made
    once. Zero tokens have zero values (both projections are without bias), so there the attention
    is its output bias. The UNet is changed in place; `stock` undoes it.
    """
    clip = _Clip()
    for attention in cross_attentions(unet):
        attention.set_processor(TokenAttention(clip))

    def run(
        sample: Tensor, noise: Tensor, tokens: Tensor | None, blank: int, gamma: Tensor
    ) -> Tensor:
        clip.tokens, clip.batch = tokens, len(sample)
        clip.blank = len(sample) if tokens is None else blank
        unused = sample.new_zeros(len(sample), 1, 1)  # diffusers would copy it to every pixel
        return unet(sample, noise, unused, added_time_ids=gamma).sample

    return run


def stock(unet: Net) -> Net:
    """The UNet as diffusers makes it again, in place: undoes `hoisted` and flat convolutions."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    for attention in cross_attentions(unet):
        attention.set_processor(AttnProcessor2_0())
    for module in unet.modules():
        if type(module) is TimeConvolution:
            cast("Any", module).__class__ = nn.Conv3d
    return unet


def cross_attentions(unet: nn.Module) -> Iterator[Any]:
    """All layers that look at the identity tokens; raises ValueError for keys with a bias."""
    for name, module in unet.named_modules():
        if name.endswith(".attn2"):
            attention: Any = module
            if attention.to_k.bias is not None or attention.to_v.bias is not None:
                raise ValueError(f"{name}: expected keys and values without bias")
            yield attention


class _Clip:
    """What all layers know of the call in progress: see `Network`."""

    tokens: Tensor | None = None
    batch: int = 1
    blank: int = 1


class TokenAttention:
    """Attention of any number of queries to one short row of tokens."""

    def __init__(self, clip: _Clip) -> None:
        self.clip = clip
        self.made_from: Tensor | None = None
        self.keys, self.values = torch.empty(0), torch.empty(0)  # [1, heads, N, D / heads]

    def __call__(self, attn: Any, hidden_states: Tensor, *unused: Any, **more: Any) -> Tensor:
        """hidden_states [B * n, m, D], B-major -> the same shape."""
        clip, x = self.clip, hidden_states
        seen = len(x) * clip.blank // clip.batch
        constant = attn.to_out[0](x.new_zeros(1, 1, attn.inner_dim))
        result = constant.expand(*x.shape[:2], constant.shape[-1])
        if clip.tokens is None:
            return result
        self._prepare(attn, clip.tokens)
        queries = attn.to_q(x[seen:].reshape(1, -1, x.shape[-1]))
        queries = queries.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # [1, heads, n, d]
        answer = F.scaled_dot_product_attention(queries, self.keys, self.values)
        answer = attn.to_out[0](answer.transpose(1, 2).flatten(2))
        return torch.cat([result[:seen], answer.reshape(-1, *result.shape[1:])])

    def _prepare(self, attn: Any, tokens: Tensor) -> None:
        if self.made_from is tokens:
            return
        self.made_from = tokens
        self.keys, self.values = (
            layer(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer in (attn.to_k, attn.to_v)
        )
