"""Held-out clips through the real restorer: how good the model is so far, per mix of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facerestore.evaluation.metrics import psnr, ssim, temporal_error
from facerestore.frames import FaceClip, Tasks
from facerestore.training.data import Drawing, clean_clip
from facerestore.training.degrade import degrade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerestore.frames import Bytes
    from facerestore.models.restorer import Restorer
    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Sample

SEED = 7
SHEET_CLIPS = 3  # on the picture of samples, one row a mix
HIGHEST = 60.0  # dB; equal frames would count as infinitely good


@dataclass(frozen=True)
class Score:
    """Means over the clips of one mix: (as given, as restored), PSNR in dB, SSIM, codes."""

    psnr: tuple[float, float]
    ssim: tuple[float, float]
    temporal: tuple[float, float]


def held_out(
    samples: Sequence[Sample], tasks: Tasks, config: TrainConfig
) -> list[tuple[FaceClip, Bytes]]:
    """The same degraded clips and targets at every call, spread over the samples."""
    size, clips, frames = config.model.size, config.saving.clips, config.saving.frames
    drawing = Drawing(size, frames, 0.0, {str(tasks): 1.0}, 1.0, False, config.data.points)
    found = []
    for number in range(clips):
        rng = np.random.default_rng([SEED, number])
        sample = samples[number * len(samples) // clips]
        clean, _ = clean_clip(sample, frames, drawing, rng, full=size)
        bad = degrade(clean, tasks, rng)
        found.append((FaceClip(bad.bad, 0, holes=bad.holes), bad.target))
    return found


def validate(
    restorer: Restorer,
    samples: Sequence[Sample],
    config: TrainConfig,
) -> tuple[dict[str, Score], Bytes]:
    """Scores per trained mix, and a sheet uint8 RGB: degraded, restored, clean of some clips.

    Without a reference, so that every frame stands on what the clip shows.
    """
    scores, rows = {}, []
    for mix in (mix for mix, weight in config.data.mixes.items() if weight):
        tasks, measured, row = Tasks.parse(mix), [], []
        for number, (clip, target) in enumerate(held_out(samples, tasks, config)):
            out = restorer.restore(clip, tasks, None, seed=number)
            measured.append([_measured(frames, target) for frames in (clip.frames, out)])
            if number < SHEET_CLIPS:
                row += [clip.frames[-1], out[-1], target[-1]]
        rows.append(np.concatenate(row, axis=1))
        means = np.mean(measured, axis=0)  # [given or restored, measure]
        scores[mix] = Score(*((float(a), float(b)) for a, b in means.T))
    return scores, np.concatenate(rows)


def _measured(frames: Bytes, target: Bytes) -> tuple[float, float, float]:
    moves = temporal_error(frames, target).mean() if len(frames) > 1 else 0.0
    decibels = np.minimum(psnr(frames, target), HIGHEST)
    return float(decibels.mean()), float(ssim(frames, target).mean()), float(moves)
