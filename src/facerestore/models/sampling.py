"""Noise levels and scalings, shared by training and sampling so that they cannot drift apart.

EDM with v-prediction as in Stable Video Diffusion (sigma_data = 1): a network F sees c_in * x and
predicts so that c_skip * x + c_out * F is the clean signal (Karras et al. 2022, equation 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

RHO = 7.0  # spacing of noise levels, Karras et al. 2022, equation 5


class Scalings(NamedTuple):
    """Multipliers for one noise level; `noise` is the timestep the network is told."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


def scalings(sigma: Tensor) -> Scalings:
    """v-prediction scalings at noise level sigma > 0 (any shape)."""
    total = sigma**2 + 1
    return Scalings(1 / total, -sigma / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4)


def karras_sigmas(steps: int, *, sigma_min: float, sigma_max: float) -> Tensor:
    """float32 [steps + 1]: falling noise levels, the last one 0.

    One step starts at sigma_max (Karras et al. 2022, equation 5).
    """
    ramp = torch.linspace(0, 1, steps)
    low, high = sigma_min ** (1 / RHO), sigma_max ** (1 / RHO)
    return torch.cat([(high + ramp * (low - high)) ** RHO, torch.zeros(1)])


def euler_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One Euler step of the probability flow ODE from sigma to sigma_next."""
    return x + (x - denoised) / sigma * (sigma_next - sigma)
