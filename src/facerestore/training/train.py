"""The trainer: one loop for the small model on a CPU and the full one on many cards.

A run lives in its work folder:
    state.pt      everything that is needed to go on, replaced every few minutes
    model/        the averaged weights as a model folder: `restore -m WORK/model`
    log.jsonl     one line every LOG_STEPS steps, and one for each validation
    tensorboard/  the same as curves;  samples/  pictures of held-out clips
Every draw comes from the seed and the step, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pickle import PickleError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facerestore.errors import BadInputError, ModelError, UsageError
from facerestore.models.device import choose_device
from facerestore.training.batches import batches_from, find
from facerestore.training.data import knows_landmarks, read_samples
from facerestore.training.log import Clock, Log
from facerestore.training.networks import finished, restorer, start, write_model
from facerestore.training.objective import Batch, draw_sigma
from facerestore.training.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from accelerate import Accelerator
    from torch import nn

    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Sample
    from facerestore.training.objective import Objective

    Loss = Callable[["Run", Batch, torch.Generator], dict[str, torch.Tensor]]
    Losses = Mapping[str, float | torch.Tensor]

LOG_STEPS = 20
LEAST_RATE = 0.02  # of the learning rate, at the end
CLIP_NORM = 1.0
DAMAGED = (RuntimeError, LookupError, ValueError, TypeError, OSError, EOFError, PickleError)


@dataclass
class Run:
    """A training run in progress.

    objective: the trained networks and their losses;  wrapped: the same, ready for many processes
    frozen:    networks that are used but not trained, by kind
    average:   moving average of the weights;  step: steps done;  seconds: trained so far
    losses:    of each step since the last line of the log, and the norm of its gradients; numbers
               that nothing waits for, so that a card always has its next step to do
    """

    config: TrainConfig
    accelerator: Accelerator
    objective: Objective
    wrapped: Any
    frozen: dict[str, nn.Module]
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    losses: list[Losses] = field(default_factory=list)

    def origin(self) -> str:
        """Where the weights come from, for the model's facts."""
        return f"facerestore train, {self.step} steps in {round(self.seconds / 60)} minutes"


def train(
    config: TrainConfig,
    *,
    data: Path,
    work: Path,
    start_folder: Path | None = None,
    max_minutes: float = float("inf"),
    device: str = "auto",
    listen: Callable[[str], None] = lambda text: None,
    loss_of: Loss | None = None,
) -> Run:
    """Train until the configured steps or `max_minutes` of this call are over.

    data:   folder of the tar files;  work: see above, taken up again where it holds a state
    start_folder: what `network.start` names, None for "fresh"
    listen: told a line now and then;  loss_of: another loss than the paper's, see `distill`
    Raises UsageError, BadInputError or ModelError before anything is written.
    """
    samples = read_samples(find(data, config.data.train))
    held_out = read_samples(find(data, config.data.validation))
    count = config.data.points
    if config.losses.prior and not any(knows_landmarks(sample, count) for sample in samples):
        text = f"{data}: no sample has {count} landmarks; set data.points to 5 or losses.prior to 0"
        raise BadInputError(text)
    run = begin(config, start_folder, device)
    if (work / "state.pt").is_file():
        take_up(run, work / "state.pt")
        listen(f"{work}: goes on at step {run.step}")
    often = f"saved every {config.saving.minutes:g} minutes, tried on held-out clips after a while"
    listen(f"{len(samples)} samples, {config.steps - run.step} steps to go; {often}")
    log = Log(work, run.step) if run.accelerator.is_main_process else None
    clock = Clock(run.seconds, max_minutes, config.saving.validation_minutes)
    batches = batches_from(
        run.step,
        config,
        samples,
        process=run.accelerator.process_index,
        processes=run.accelerator.num_processes,
        device=run.accelerator.device,
    )
    while run.step < config.steps and not _any(run, clock.over()):
        run.losses.append(_step(run, batches, loss_of or paper_loss))
        run.seconds = clock.trained()
        if run.step % LOG_STEPS == 0 or run.step == config.steps:
            _check(run)
            if log:
                minutes = {"minutes": round(run.seconds / 60, 2)}
                log.losses(run.step, minutes | _means(run.losses))
            run.losses = []
        if log and clock.save_due(config.saving.minutes):
            measured = clock.validation_due()
            _save(run, work, log, held_out if measured else None, listen)
            clock.saved(measured=measured)
    if log:
        _save(run, work, log, held_out, listen)
        log.close()
    return run


def _check(run: Run) -> None:
    """Raise ModelError if a gradient was not finite: such a run must not be saved."""
    if not all(np.isfinite(float(losses["norm"])) for losses in run.losses):
        raise ModelError(f"step {run.step}: the loss is not finite; lower the rate and go on")


def _any(run: Run, here: bool) -> bool:
    """Whether it is so in one process at least: all of them have to stop at the same step."""
    if run.accelerator.num_processes == 1:
        return here
    flag = torch.tensor(float(here), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flag, "sum") > 0)  # pyright: ignore[reportOperatorIssue]


def _means(losses: Sequence[Losses]) -> dict[str, float]:
    return {name: float(np.mean([float(part[name]) for part in losses])) for name in losses[0]}


def begin(config: TrainConfig, start_folder: Path | None, device: str) -> Run:
    """A run at step 0.

    Raises ModelError if the start does not fit, UsageError or ResourceError for the device.
    """
    from accelerate import Accelerator

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: choose auto, cpu or cuda; several: accelerate launch")
    choose_device(device)  # refuses a card that is not there
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16")
    objective, frozen = start(config, start_folder)
    for network in (objective, *frozen.values()):
        network.to(accelerator.device)
    keep = get_ema_multi_avg_fn(config.optimizer.average)
    optimizer = torch.optim.AdamW(
        [p for p in objective.parameters() if p.requires_grad],
        lr=config.optimizer.rate,
        weight_decay=config.optimizer.weight_decay,
    )
    average = AveragedModel(objective, multi_avg_fn=keep)
    wrapped = accelerator.prepare(objective)
    return Run(config, accelerator, objective, wrapped, frozen, average, optimizer)


def take_up(run: Run, path: Path) -> None:
    """Go on from a saved state; raises ModelError if it is another network's."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        run.objective.load_state_dict(state["objective"])
        run.average.load_state_dict(state["average"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.step, run.seconds, run.losses = (state[k] for k in ("step", "seconds", "losses"))
    except DAMAGED as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        text = f"{path}: not a state of this configuration ({reason}); choose another --work"
        raise ModelError(text) from None


def _step(run: Run, batches: Iterator[Batch], loss_of: Loss) -> Losses:
    """One step of the optimizer; the losses by name, and "norm", that of the gradients."""
    plan, accelerator = run.config.optimizer, run.accelerator
    for group in run.optimizer.param_groups:
        group["lr"] = rate(run.config, run.step)
    found: list[dict[str, torch.Tensor]] = []
    for part in range(plan.accumulate):
        number = (run.step * plan.accumulate + part) * accelerator.num_processes
        generator = _generator(run.config.seed, number + accelerator.process_index)
        found.append(loss_of(run, next(batches), generator))
        accelerator.backward(found[-1]["total"] / plan.accumulate)
    norm = accelerator.clip_grad_norm_(run.objective.parameters(), CLIP_NORM)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.average.update_parameters(run.objective)
    run.step += 1
    means = {name: torch.stack([f[name].detach() for f in found]).mean() for name in found[0]}
    return means | {"norm": torch.as_tensor(norm)}


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step: a linear warm-up, a plateau, a cosine to LEAST_RATE of it."""
    plan = config.optimizer
    warm = min(1.0, (step + 1) / max(plan.warmup, 1))
    done = max(0, step - plan.decay_from) / max(config.steps - plan.decay_from, 1)
    fall = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + np.cos(np.pi * min(done, 1)))
    return float(plan.rate * warm * fall)  # a numpy scalar would not load with weights_only


def paper_loss(run: Run, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The losses of the paper at noise levels drawn from the configuration."""
    sigma = draw_sigma(run.config.noise, run.config.model, len(batch.bad), generator)
    noise = latent_noise(run.config, batch, generator)
    return run.wrapped(batch, sigma.to(batch.bad.device), noise)


def latent_noise(config: TrainConfig, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Unit variance [B, F, C, h, w] for a batch, drawn on the CPU."""
    count, frames, _, size, _ = batch.bad.shape
    channels, cell = (48, 4) if config.model.codec == "patch4" else (4, 8)
    shape = (count, frames, channels, size // cell, size // cell)
    if config.model.shared_noise:  # as when restoring: all frames start from the same noise
        shape = (count, 1, *shape[2:])
    noise = torch.randn(shape, generator=generator).to(batch.bad.device)
    return noise.expand(-1, frames, -1, -1, -1)


def _generator(seed: int, number: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, number, 1]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def _save(
    run: Run,
    work: Path,
    log: Log,
    held_out: Sequence[Sample] | None,
    listen: Callable[[str], None],
) -> None:
    """Write state and model; where there are held-out samples, try the model on them."""
    _check(run)
    part = work / "state.part"
    torch.save(
        {
            "objective": run.objective.state_dict(),
            "average": run.average.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "step": run.step,
            "seconds": run.seconds,
            "losses": [{n: float(loss) for n, loss in one.items()} for one in run.losses],
        },
        part,
    )
    os.replace(part, work / "state.pt")
    facts = replace(run.config.model, origin=run.origin())
    networks = finished(run.objective, run.average.module.state_dict())
    write_model(work / "model", networks | run.frozen, facts, torch.bfloat16)
    if held_out is None:
        return listen(f"step {run.step}: saved")
    listen(f"step {run.step}: saved, now tried on held-out clips")
    whole = replace(facts, doubt=0.0)  # what is learnt shows in small answers first
    tried = restorer(networks | run.frozen, whole, run.accelerator.device)
    scores, sheet = validate(tried, held_out, run.config)
    log.validation(run.step, {mix: asdict(score) for mix, score in scores.items()}, sheet)
    texts = (f"{mix} {s.psnr[0]:.2f} -> {s.psnr[1]:.2f} dB" for mix, s in scores.items())
    listen(f"step {run.step}: {'; '.join(texts)}")
