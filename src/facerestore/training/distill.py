"""A student that does in one step what its teacher does in several: consistency distillation.

Along the teacher's path from noise to picture the student should say the same everywhere (Song et
al. 2023, algorithm 2, on the teacher's own few noise levels). At a drawn level the teacher makes
one Euler step, with its guidance folded in; the student's answer before the step is pulled to the
answer of the student's moving average after it, and at the last level to the teacher's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from facerestore.errors import UsageError
from facerestore.models.sampling import euler_step, karras_sigmas
from facerestore.training.objective import latent_noise

if TYPE_CHECKING:
    from torch import Tensor

    from facerestore.training.batches import Batch
    from facerestore.training.config import TrainConfig
    from facerestore.training.objective import Objective
    from facerestore.training.train import Draw, Run


def student_of(config: TrainConfig) -> TrainConfig:
    """The configuration of a student: one step without guidance, no loss but the consistency."""
    model = replace(config.model, steps=1, first_steps=None, guidance=1.0)
    return replace(config, model=model, losses=replace(config.losses, ulr=0.0, prior=0.0))


def distillation(teacher: Objective, steps: int) -> Draw:
    """What a student of `teacher`, which takes `steps` steps, is trained with by `train`.

    Raises UsageError for a single step: there is nothing to learn.
    """
    if steps < 2:
        raise UsageError(f"a teacher of {steps} step has nothing to distill; use 2 or more")
    model = teacher.model
    sigmas = karras_sigmas(steps, sigma_min=model.sigma_min, sigma_max=model.sigma_max)

    def draw(run: Run, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        teacher.to(run.accelerator.device)
        teacher.shared = run.objective.shared  # one VAE is enough
        levels, device = sigmas.to(batch.bad.device), generator.device
        at = torch.randint(steps, (len(batch.bad),), generator=generator, device=device)
        noise = latent_noise(run.config, batch, generator)
        sigma, after = (levels[n].view(-1, 1, 1, 1, 1) for n in (at, at + 1))
        with torch.no_grad(), run.accelerator.autocast():
            aim = aim_of(teacher, cast("Objective", run.average.module), batch, sigma, after, noise)
        return sigma, noise, aim

    return draw


def aim_of(
    teacher: Objective,
    average: Objective,
    batch: Batch,
    sigma: Tensor,
    after: Tensor,
    noise: Tensor,
) -> Tensor:
    """What the student should see at level sigma [B, 1, 1, 1, 1]: denoised latents.

    after: the teacher's next level, 0 at its end
    """
    base, target = teacher.latents(batch)
    x = target + sigma * noise
    denoised = teacher.denoise(batch, x, sigma, base)
    lower = euler_step(x, denoised, sigma, after)
    last = after == 0
    said = average.denoise(batch, lower, torch.where(last, sigma, after), base)
    return torch.where(last, denoised, said)
