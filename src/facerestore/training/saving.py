"""What a training run leaves in its work folder to go on from and to use."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pickle import PickleError
from typing import TYPE_CHECKING

import torch

from facerestore.errors import ModelError
from facerestore.training.networks import finished, restorer, write_model
from facerestore.training.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from facerestore.training.data import Sample
    from facerestore.training.log import Log
    from facerestore.training.train import Run

DAMAGED = (RuntimeError, LookupError, ValueError, TypeError, OSError, EOFError, PickleError)


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


def save(
    run: Run,
    work: Path,
    log: Log,
    held_out: Sequence[Sample] | None,
    listen: Callable[[str], None],
) -> None:
    """Write state and model; where there are held-out samples, try the model on them."""
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
