"""Noise levels, scalings and steps, shared by training and sampling so that they cannot drift.

EDM with v-prediction as in Stable Video Diffusion (sigma_data = 1): a network F sees c_in * x and
predicts so that c_skip * x + c_out * F is the clean signal (Karras et al. 2022, equation 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from facerestore.errors import UsageError
from facerestore.frames import BLIND, LUMA_601
from facerestore.models.windows import chunk_ranges, cover, film_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from facerestore.frames import Tasks
    from facerestore.models.checkpoint import ModelConfig

    Windows = Callable[[int, int], Sequence[Sequence[int]]]

TOO_LARGE = 1.9  # film's px a px of a `large` crop; measured with `mini`, docs/mini-model.md
RHO = 7.0  # spacing of noise levels, Karras et al. 2022, equation 5
MODES = ("exact", "fast")
# Of `doubted`: exponent and share of the doubt, chosen on held-out portraits
LUMA_DOUBT, COLOUR_DOUBT = (4.0, 1.0), (2.0, 0.7)
# "Align Your Steps" for Stable Video Diffusion, 10 steps (Sabour et al. 2024)
ALIGNED = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034)
GUIDED = (0.2, 5.0)  # guidance matters only between these levels (Kynkaanniemi et al. 2024)


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
    ramp = np.linspace(0, 1, steps)
    low, high = sigma_min ** (1 / RHO), sigma_max ** (1 / RHO)
    return _ended((high + ramp * (low - high)) ** RHO)


def aligned_sigmas(steps: int) -> Tensor:
    """float32 [steps + 1]: the ten levels of Align Your Steps, their logarithms interpolated."""
    at = np.linspace(0, 1, steps)
    return _ended(np.exp(np.interp(at, np.linspace(0, 1, len(ALIGNED)), np.log(ALIGNED))))


def _ended(sigmas: np.ndarray) -> Tensor:
    return torch.from_numpy(np.append(sigmas, 0.0).astype(np.float32))


def euler_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One Euler step of the probability flow ODE from sigma to sigma_next."""
    return x + (x - denoised) / sigma * (sigma_next - sigma)


def multistep(
    x: Tensor, denoised: Tensor, before: Tensor | None, sigmas: Tensor, step: int
) -> Tensor:
    """One step of DPM-Solver++(2M) from sigmas[step] (Lu et al. 2022, algorithm 2).

    before: what was denoised in the step before, None at the start
    """
    sigma, lower = sigmas[step], sigmas[step + 1]
    if before is None or lower == 0:
        ahead = denoised
    else:
        ratio = (sigmas[step - 1] / sigma).log() / (sigma / lower).log()
        ahead = denoised + (denoised - before) / (2 * ratio)
    return lower / sigma * x + (1 - lower / sigma) * ahead


@dataclass(frozen=True)
class Schedule:
    """How one clip is sampled.

    sigmas:   float32 [steps + 1], falling to 0;  guidance: one scale a step, 1 = none
    windows:  (n_frames, step) -> the frame numbers that are denoised together
    second_order: DPM-Solver++(2M) instead of Euler steps
    """

    sigmas: Tensor
    guidance: tuple[float, ...]
    windows: Windows
    second_order: bool = False

    def __len__(self) -> int:
        return len(self.guidance)

    def evaluations(self, n_frames: int, *, reference: bool) -> Iterator[tuple[int, int]]:
        """For each window of each step its frames and its branches (1, or 2 with guidance)."""
        for step, guidance in enumerate(self.guidance):
            for frames in self.windows(n_frames, step):
                yield len(frames), 2 if reference and guidance != 1 else 1

    def forwards(self, n_frames: int, *, reference: bool) -> int:
        """Passes of one frame through the network for a clip of `n_frames` ("frame-forwards")."""
        return sum(f * b for f, b in self.evaluations(n_frames, reference=reference))


def schedule_for(config: ModelConfig, *, mode: str, steps: int | None, reference: bool) -> Schedule:
    """The schedule of a clip with or without a reference; raises UsageError for an unknown mode.

    exact: the model's own noise levels, Euler steps, guidance at every step (for the released
           model the released schedule)
    fast:  Align Your Steps, DPM-Solver++(2M), guidance at middle noise levels only
    """
    if mode not in MODES:
        raise UsageError(f"unknown mode '{mode}'; choose from {', '.join(MODES)}")
    if mode == "fast" and not config.shifting:
        raise UsageError(f"--mode fast is for svfr; leave it out for {config.name}")
    windows = partial(_cover, window=config.window, overlap=config.overlap)
    if config.shifting:
        windows = partial(_shifted, window=config.window, overlap=config.overlap)
    if mode == "fast":
        sigmas = aligned_sigmas(steps or len(ALIGNED))
        low, high = GUIDED
        guidance = [config.guidance if low < s <= high else 1.0 for s in sigmas[:-1].tolist()]
        return Schedule(sigmas, tuple(guidance), windows, second_order=True)
    usual = config.steps if reference else config.first_steps or config.steps
    sigmas = karras_sigmas(steps or usual, sigma_min=config.sigma_min, sigma_max=config.sigma_max)
    return Schedule(sigmas, (config.guidance,) * (len(sigmas) - 1), windows)


def crop_size(config: ModelConfig, tasks: Tasks, *, face: float) -> int:
    """The side of a model's crops in pixels: `large` where the film has as many to be restored.

    face: side of the face's square in the film, in pixels
    New colours need no more pixels, and what is made up in holes was learnt at `size`. Above
    TOO_LARGE noise is coarse in such a crop, and finer in one of `size`.
    """
    if config.large is None or tasks != BLIND:
        return config.size
    return config.large if 1 <= face / config.large < TOO_LARGE else config.size


def started(schedule: Schedule, *, strength: float) -> Schedule:
    """The last part of a schedule: it starts where a share `strength` of the steps is left."""
    skipped = len(schedule) - min(int(len(schedule) * strength), len(schedule))
    return replace(schedule, sigmas=schedule.sigmas[skipped:], guidance=schedule.guidance[skipped:])


def film_forwards(
    config: ModelConfig, n_frames: int, tasks: Tasks, *, mode: str, steps: int | None
) -> int:
    """Frame-forwards for `n_frames` of a new person: the first clip, then all with its reference.

    Or all without one, for tasks for which the model takes none of its own.

    The released code on 64 frames: 88.0 a frame, on 256: 68.1 (exact here: 73.6 and 64.5).
    """
    first = schedule_for(config, mode=mode, steps=steps, reference=False)
    chunks = chunk_ranges(n_frames, limit=config.chunk, overlap=config.window)
    if not tasks.any_of(config.self_reference):
        return sum(first.forwards(len(chunk), reference=False) for chunk in chunks)
    rest = schedule_for(config, mode=mode, steps=steps, reference=True)
    opening = min(n_frames, config.window)
    following = sum(rest.forwards(len(chunk), reference=True) for chunk in chunks)
    return first.forwards(opening, reference=False) + following


def _cover(n_frames: int, step: int, *, window: int, overlap: int) -> list[range]:
    return cover(n_frames, window=window, overlap=overlap)


def _shifted(n_frames: int, step: int, *, window: int, overlap: int) -> list[range]:
    return film_windows(n_frames, window=window, overlap=overlap, step=step)


def doubted(latents: Tensor, degraded: Tensor, doubt: float, holes: Tensor | None = None) -> Tensor:
    """Latents like pixels, [-1, 1], less far from the degraded ones the smaller the way is.

    latents, degraded: [F, 3 n, h, w], n values of red, then of green, then of blue
    doubt: rms error in codes of an answer in luma, however small it is
    holes: [F, n, h, w], 1 where there is nothing to stay near to: there the whole way is gone
    The share 1 - (doubt / rms)^n of the way, at least 0; with n = 2 that is the estimator of James
    and Stein (1961). Luma and what is left of the colours are estimated apart: one may be spoilt,
    the other good. A larger n trusts luma sooner; colours have smaller errors.
    """
    way = (latents - degraded).unflatten(1, (3, -1))
    hole = way.new_zeros(()) if holes is None else holes.amax(dim=1)[:, None, None]
    weights = torch.as_tensor(LUMA_601, dtype=way.dtype, device=way.device)
    luma = torch.einsum("c,fcnhw->fnhw", weights, way).unsqueeze(1).expand_as(way)
    known = (1 - hole).expand_as(way)
    found = torch.zeros_like(way)
    for part, (power, least) in ((luma, LUMA_DOUBT), (way - luma, COLOUR_DOUBT)):
        mean_square = (known * part.square()).sum() / known.sum().clamp(min=1) * 127.5**2
        share = (1 - ((least * doubt) ** 2 / mean_square) ** (power / 2)).clamp(min=0)
        found = found + part * torch.maximum(share, hole)
    return degraded + found.flatten(1, 2)
