"""The trainer: one loop for the small model on a CPU and the full one on many cards.

A run lives in its work folder:
    state.pt      everything that is needed to go on, replaced every few minutes
    model/        the averaged weights as a model folder: `restore -m WORK/model`
    log.jsonl     one line every LOG_STEPS steps, and one for each validation
    tensorboard/  the same as curves;  samples/  pictures of held-out clips
    .lease/       who is training here
Every draw comes from the seed and the step, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facerestore.errors import BadInputError, ModelError, UsageError
from facerestore.lease import leased
from facerestore.models.device import choose_device
from facerestore.training.batches import batches_from, find
from facerestore.training.capture import gradients_of
from facerestore.training.data import knows_landmarks, read_samples
from facerestore.training.log import Clock, Log
from facerestore.training.networks import start
from facerestore.training.objective import draw_sigma, latent_noise
from facerestore.training.saving import save, take_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from accelerate import Accelerator
    from torch import nn

    from facerestore.training.batches import Batch
    from facerestore.training.capture import Gradients
    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Sample
    from facerestore.training.objective import Objective

    Draw = Callable[["Run", Batch, torch.Generator], tuple[torch.Tensor, ...]]
    Losses = Mapping[str, float | torch.Tensor]

LOG_STEPS = 20
LEAST_RATE = 0.02  # of the learning rate, at the end
CLIP_NORM = 1.0
LOST_SHARE = 0.5  # of the steps since the log's last line may have gradients that are not finite


@dataclass
class Run:
    """A training run in progress.

    objective: the trained networks and their losses;  gradients: takes its gradients
    frozen:    networks that are used but not trained, by kind
    average:   moving average of the weights;  step: steps done;  seconds: trained so far
    losses:    of each step since the last line of the log, and the norm of its gradients
    """

    config: TrainConfig
    accelerator: Accelerator
    objective: Objective
    gradients: Gradients
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
    draw: Draw | None = None,
) -> Run:
    """Train until the configured steps or `max_minutes` of this call are over.

    data:   folder of the tar files;  work: see above, taken up again where it holds a state
    start_folder: what `network.start` names, None for "fresh"
    listen: told a line now and then
    draw:    what else than `paper_draw` goes into the objective beside a batch, see `distill`
    Raises UsageError, BadInputError or ModelError before anything is written, BusyError where
    another process trains in the same folder.
    """
    samples = read_samples(find(data, config.data.train))
    held_out = read_samples(find(data, config.data.validation))
    count = config.data.points
    if config.losses.prior and not any(knows_landmarks(sample, count) for sample in samples):
        text = f"{data}: no sample has {count} landmarks; set data.points to 5 or losses.prior to 0"
        raise BadInputError(text)
    run = begin(config, start_folder, device)
    first = run.accelerator.is_main_process
    with leased(work / ".lease", doing="training here") if first else nullcontext():
        _go_on(run, samples, held_out, work, max_minutes, listen, draw or paper_draw)
    return run


def _go_on(
    run: Run,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    work: Path,
    max_minutes: float,
    listen: Callable[[str], None],
    draw: Draw,
) -> None:
    """From where the work folder stands to the end, see `train`."""
    config = run.config
    if (work / "state.pt").is_file():
        take_up(run, work / "state.pt")
        listen(f"{work}: goes on at step {run.step}")
    elif (work / "log.jsonl").is_file():
        listen(f"{work}: begins anew, the run there ended before it was first saved")
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
    tried = -1  # at which step last
    while run.step < config.steps and not _any(run, clock.over()):
        run.losses.append(_step(run, batches, draw))
        run.seconds = clock.trained()
        if run.step % LOG_STEPS == 0 or run.step == config.steps:
            _check(run)
            if log:
                minutes = {"minutes": round(run.seconds / 60, 2)}
                log.losses(run.step, minutes | _means(run.losses))
            run.losses = []
        if log and clock.save_due(config.saving.minutes):
            measured = clock.validation_due()
            save(run, work, log, held_out if measured else None, listen)
            clock.saved(measured=measured)
            if measured:
                tried = run.step
    if log:
        if tried != run.step:
            save(run, work, log, held_out, listen)
        log.close()


def _check(run: Run) -> None:
    """Raise ModelError if gradients have not been finite for a while: nothing is learnt then."""
    if len(_counted(run.losses)) < (1 - LOST_SHARE) * len(run.losses):
        raise ModelError(f"step {run.step}: the loss is not finite; lower the rate and go on")


def _any(run: Run, here: bool) -> bool:
    """Whether it is so in one process at least: all of them have to stop at the same step."""
    if run.accelerator.num_processes == 1:
        return here
    flag = torch.tensor(float(here), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flag, "sum") > 0)  # pyright: ignore[reportOperatorIssue]


def _counted(losses: Sequence[Losses]) -> list[Losses]:
    """Those of the steps whose gradients were finite."""
    return [part for part in losses if np.isfinite(float(part["norm"]))]


def _means(losses: Sequence[Losses]) -> dict[str, float]:
    """Means over the steps that counted, and how many did not, if any."""
    counted = _counted(losses)
    lost = {"lost": float(len(losses) - len(counted))} if len(counted) < len(losses) else {}
    means = {n: float(np.mean([float(part[n]) for part in counted])) for n in losses[0]}
    return means | lost


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
    gradients = gradients_of(objective, accelerator, config)
    return Run(config, accelerator, objective, gradients, frozen, average, optimizer)


def _step(run: Run, batches: Iterator[Batch], draw: Draw) -> Losses:
    """One step of the optimizer; the losses by name, and "norm", that of the gradients.

    Gradients that are not finite are left out.
    """
    plan, accelerator = run.config.optimizer, run.accelerator
    for group in run.optimizer.param_groups:
        group["lr"] = rate(run.config, run.step)
    found: list[dict[str, torch.Tensor]] = []
    for part in range(plan.accumulate):
        number = (run.step * plan.accumulate + part) * accelerator.num_processes
        state = _seed(run.config.seed, number + accelerator.process_index)
        generator = torch.Generator(accelerator.device).manual_seed(state)
        batch = next(batches)
        found.append(run.gradients(batch, *draw(run, batch, generator)))
    norm = torch.as_tensor(accelerator.clip_grad_norm_(run.objective.parameters(), CLIP_NORM))
    if torch.isfinite(norm):  # else one clip would spoil all weights, and their averages, for ever
        run.optimizer.step()
        run.average.update_parameters(run.objective)
    run.optimizer.zero_grad()
    run.step += 1
    means = {name: torch.stack([f[name].detach() for f in found]).mean() for name in found[0]}
    return means | {"norm": norm}


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step: a linear warm-up, a plateau, a cosine to LEAST_RATE of it."""
    plan = config.optimizer
    warm = min(1.0, (step + 1) / max(plan.warmup, 1))
    done = max(0, step - plan.decay_from) / max(config.steps - plan.decay_from, 1)
    fall = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + np.cos(np.pi * min(done, 1)))
    return float(plan.rate * warm * fall)  # a numpy scalar would not load with weights_only


def paper_draw(run: Run, batch: Batch, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Noise levels [B, 1, 1, 1, 1] and noise for a batch, as the configuration has them."""
    sigma = draw_sigma(run.config.noise, run.config.model, len(batch.bad), generator)
    return sigma, latent_noise(run.config, batch, generator)


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number, 1]).generate_state(1, np.uint64)[0]) >> 1
