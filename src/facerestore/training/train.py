"""Train the small model: the EDM noise loss on synthetic clips, in one plain loop.

    python -m facerestore.training.train PORTRAITS_FOLDER WORK_FOLDER --minutes 100

Kills are harmless: WORK_FOLDER/state.pt is written every few minutes and taken up again.
`--export FOLDER` writes the averaged weights of WORK_FOLDER as a model folder and trains nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from facerestore.frames import TASK_NAMES
from facerestore.models.checkpoint import ModelConfig, save_model
from facerestore.models.network import make_mini_unet
from facerestore.models.sampling import scalings
from facerestore.training.data import Example, example, load_portraits
from facerestore.training.fresh import CODEC, folded, fresh_unet, whitening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from facerestore.frames import Bytes

RESIDUAL_SCALE = 2.5  # brings (clean - degraded), in [-1, 1] pixel units, near unit variance
SIGMA_MIN, SIGMA_MAX = 2.0, 100.0
# What one-step sampling sees is nearly all that is trained. At lower noise the network would spend
# most of its few channels on carrying the noise through; a first run that did so hardly restored.
HIGH_SHARE = 0.93
LOW_WEIGHT = 0.1
RELATIVE_FLOOR = 0.006  # of the mean squared residual, in scaled units
TOKENS, TOKEN_DIM = 1, 32
LEARNING_RATE, WARMUP_STEPS = 1e-3, 200
EMA_DECAY = 0.998
GRADIENT_WEIGHT, STEADY_WEIGHT = 0.7, 0.7
SAVE_SECONDS = 240
VALIDATION_CLIPS = 24  # of each mix


@dataclass(frozen=True)
class Stage:
    """Until this share of the time: clips of `frames` at `size` px, `batch` at once."""

    until: float
    size: int
    frames: int
    batch: int
    zoomed: float


STAGES = (  # small batches of large crops come late: at the full learning rate they undid the rest
    Stage(0.25, 128, 1, 8, 0.6),
    Stage(0.7, 128, 2, 4, 0.6),
    Stage(0.93, 256, 2, 2, 0.0),
    Stage(1.0, 256, 8, 1, 0.0),
)


class Clips(IterableDataset[tuple["Tensor", ...]]):
    """Endless batches; the stage is passed through a shared value so that workers follow it."""

    def __init__(self, portraits: Bytes, seed: int) -> None:
        self.portraits, self.seed = portraits, seed
        self.stage = torch.zeros((), dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            stage = STAGES[int(self.stage)]
            draws = [
                example(
                    self.portraits,
                    n_frames=stage.frames,
                    size=stage.size,
                    rng=rng,
                    zoomed=stage.zoomed,
                )
                for _ in range(stage.batch)
            ]
            yield collate(draws)


def collate(draws: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """clean and bad uint8 [B, F, 3, S, S], reference uint8 [B, 3, S, S], has [B], gamma [B, 3]."""
    clean = torch.from_numpy(np.stack([d.clean for d in draws])).permute(0, 1, 4, 2, 3)
    bad = torch.from_numpy(np.stack([d.bad for d in draws])).permute(0, 1, 4, 2, 3)
    blank = np.zeros_like(draws[0].clean[0])
    images = [blank if d.reference is None else d.reference for d in draws]
    has = torch.tensor([float(d.reference is not None) for d in draws])
    reference = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    reference = (reference / 127.5 - 1) * has[:, None, None, None]
    gamma = torch.tensor([d.tasks.vector for d in draws])
    return clean.contiguous(), bad.contiguous(), reference, gamma


def draw_sigma(batch: int) -> Tensor:
    """[B, 1, 1, 1, 1]: mostly the highest levels, which is all that one-step sampling sees."""
    low = torch.where(torch.rand(batch) < HIGH_SHARE, SIGMA_MAX / 2, SIGMA_MIN)
    sigma = (low.log() + torch.rand(batch) * (SIGMA_MAX / low).log()).exp()
    return sigma[:, None, None, None, None]


def loss_of(unet: torch.nn.Module, batch: tuple[Tensor, ...], sigma: Tensor) -> Tensor:
    """The squared noise loss of SVD plus, at high noise, L1 of spatial and temporal differences.

    Each clip counts relative to how bad it is: holes would drown blur and noise otherwise.
    """
    clean, bad, reference, gamma = batch
    clean, bad = (CODEC.encode(x / 127.5 - 1) for x in (clean, bad))  # [B, F, C, h, w]
    target = (clean - bad) * RESIDUAL_SCALE
    x = target + sigma * torch.randn_like(target)
    out, denoised = predict(unet, x, sigma, bad, CODEC.encode(reference), gamma)
    skip, scale, _, _ = scalings(sigma)
    noise_loss = F.mse_loss(out, (target - skip * x) / scale, reduction="none").mean((1, 2, 3, 4))
    error = CODEC.decode(denoised - target)  # [B, F, 3, H, W]
    high = (sigma.flatten() >= SIGMA_MAX / 2).float()
    gradients = error.diff(dim=-1).abs().mean((1, 2, 3, 4)) + error.diff(dim=-2).abs().mean(
        (1, 2, 3, 4)
    )
    extra = GRADIENT_WEIGHT * gradients
    if error.shape[1] > 1:
        extra = extra + STEADY_WEIGHT * error.diff(dim=1).abs().mean((1, 2, 3, 4))
    noise_loss = noise_loss * (LOW_WEIGHT + (1 - LOW_WEIGHT) * high)
    badness = target.square().mean((1, 2, 3, 4)) + RELATIVE_FLOOR
    return (noise_loss / badness + high * extra / badness.sqrt()).mean()


def predict(
    unet: torch.nn.Module, x: Tensor, sigma: Tensor, bad: Tensor, reference: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor]:
    """The network's output and the denoised residual, both [B, F, C, h, w]."""
    skip, scale, into, noise = scalings(sigma)
    reference = reference[:, None].expand_as(bad)
    shown = [torch.einsum("ij,bfjhw->bfihw", whitening(), z) for z in (bad, reference)]
    sample = torch.cat([into * x, *shown], dim=2)
    tokens = torch.zeros(len(x), TOKENS, TOKEN_DIM)
    with torch.autocast("cpu", torch.bfloat16):
        out = unet(sample, noise.flatten(), tokens, added_time_ids=gamma).sample
    out = out.float()
    return out, skip * x + scale * out


@torch.no_grad()
def validate(unet: torch.nn.Module, portraits: Bytes) -> dict[str, list[float]]:
    """Mean PSNR in dB, degraded and restored in one step, for each of three mixes at 256 px."""
    from facerestore.frames import Tasks
    from facerestore.training.data import moving_clip
    from facerestore.training.degrade import degrade

    table: dict[str, list[float]] = {}
    for mix in ("bfr", "bfr,color", "inpaint"):
        tasks, before, after = Tasks.parse(mix), [], []
        for i, portrait in enumerate(portraits[: 3 * VALIDATION_CLIPS : 3]):
            rng = np.random.default_rng([7, i])
            clean = moving_clip(portrait, n_frames=2, size=256, rng=rng)
            bad = degrade(clean, tasks, rng)[0]
            c, b, r, g = collate([Example(clean, bad, None, tasks)])
            base = CODEC.encode(b / 127.5 - 1)
            sigma = torch.full((1, 1, 1, 1, 1), SIGMA_MAX)
            torch.manual_seed(i)
            x = SIGMA_MAX * torch.randn_like(base)
            _, residual = predict(unet, x, sigma, base, CODEC.encode(r), g)
            restored = CODEC.decode(base + residual / RESIDUAL_SCALE).clamp(-1, 1)
            before.append(_psnr(b / 127.5 - 1, c / 127.5 - 1))
            after.append(_psnr(restored, c / 127.5 - 1))
        table[mix] = [round(float(np.mean(before)), 2), round(float(np.mean(after)), 2)]
    return table


def _psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean().clamp(min=1e-10)))


def train(portraits: Path, work: Path, *, minutes: float, seed: int = 0) -> None:
    """Train until `minutes` of training time are used, over any number of starts."""
    torch.manual_seed(seed)
    unet, used, step = fresh_unet(), 0.0, 0
    average = copy.deepcopy(unet).eval()
    torch.set_num_threads(2)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    state_path = work / "state.pt"
    work.mkdir(parents=True, exist_ok=True)
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        unet.load_state_dict(state["unet"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        used, step = state["seconds"], state["step"]
    clips = Clips(load_portraits(sorted(portraits.glob("portraits-[gs]*.tar"))), seed + step)
    held_out = load_portraits([portraits / "portraits-val.tar"])
    batches = iter(DataLoader(clips, batch_size=None, num_workers=1, prefetch_factor=6))
    log = (work / "log.jsonl").open("a")
    last = saved = time.monotonic()
    losses: list[float] = []
    while used < minutes * 60:
        share = used / (minutes * 60)
        clips.stage.fill_(next(i for i, s in enumerate(STAGES) if share < s.until))
        batch = next(batches)
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        rate = LEARNING_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = float(rate)  # a numpy scalar would not load with weights_only
        loss = loss_of(unet, batch, draw_sigma(len(batch[0])))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
        with torch.no_grad():
            decay = min(EMA_DECAY, (1 + step) / (10 + step))
            for a, p in zip(average.parameters(), unet.parameters(), strict=True):
                a.lerp_(p, 1 - decay)
        losses.append(loss.item())
        step += 1
        now = time.monotonic()
        used, last = used + now - last, now
        if now - saved > SAVE_SECONDS or used >= minutes * 60:
            torch.save(
                {
                    "unet": unet.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "seconds": used,
                    "step": step,
                },
                work / "state.part",
            )
            os.replace(work / "state.part", state_path)
            line = {"minutes": round(used / 60, 1), "step": step, "size": batch[0].shape[-1]}
            line |= {"loss": round(float(np.mean(losses)), 4), **validate(average, held_out)}
            log.write(json.dumps(line) + "\n")
            log.flush()
            losses, saved = [], time.monotonic()
            last = saved


def export(work: Path, folder: Path) -> None:
    """Write the averaged weights of a training run as a model folder."""
    state = torch.load(work / "state.pt", weights_only=True)
    unet = make_mini_unet(CODEC.channels)
    weights = state["average"]
    weights["conv_in.weight"] = folded(weights["conv_in.weight"], whitening())
    unet.load_state_dict(weights)
    minutes = round(state["seconds"] / 60)
    config = ModelConfig(
        name="mini",
        version="0.2",
        tasks=TASK_NAMES,
        size=256,
        window=8,
        overlap=4,
        codec="patch4",
        residual=True,
        latent_scale=RESIDUAL_SCALE,
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        steps=1,
        tokens=(TOKENS, TOKEN_DIM),
        licence="Apache-2.0",
        origin=f"facerestore.training.train, {state['step']} steps in {minutes} minutes",
    )
    save_model(folder, {"unet": unet}, config, dtype=torch.bfloat16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=100)
    parser.add_argument("--export", type=Path)
    options = parser.parse_args()
    if options.export:
        export(options.work, options.export)
    else:
        train(options.portraits, options.work, minutes=options.minutes)
