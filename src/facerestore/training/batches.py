"""Batches of a training run, made by worker processes: the same ones whoever makes them."""

from __future__ import annotations

from multiprocessing import get_context
from threading import Thread
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from facerestore.errors import BadInputError, FaceRestoreError
from facerestore.sandbox import end_with_parent
from facerestore.training.data import Drawing, draw_example
from facerestore.training.objective import Batch, collate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import BaseContext
    from pathlib import Path

    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Sample

PREFETCHED = 6  # batches a worker


class Batches(Dataset["Batch | FaceRestoreError"]):
    """Batch number n, the same at every call; `a_step` of them would make a step of the optimizer
    if each were used once.

    An error is returned, not raised: PyTorch would make a page of a worker's one sentence.
    """

    def __init__(self, config: TrainConfig, samples: Sequence[Sample], a_step: int) -> None:
        self.config, self.samples, self.a_step = config, samples, a_step

    def __getitem__(self, number: int) -> Batch | FaceRestoreError:
        try:
            return self._batch(number)
        except FaceRestoreError as error:
            return error

    def _batch(self, number: int) -> Batch:
        config = self.config
        stage = config.stage(number * config.data.echoes // self.a_step)
        drawing = Drawing(
            size=stage.size,
            frames=stage.frames,
            zoomed=stage.zoomed,
            mixes=config.data.mixes,
            reference_dropout=config.data.reference_dropout,
            pairs=config.losses.ulr > 0,
            points=config.data.points,
            filled=config.model.fills_holes,
            film=config.data.film,
            own_references=config.data.own_references,
        )
        draws = [np.random.default_rng([config.seed, number, i]) for i in range(stage.batch)]
        examples = [
            draw_example(self.samples, drawing, rng, full=config.model.size) for rng in draws
        ]
        return collate(examples, faces=config.model.codec == "vae")


def batches_from(
    step: int,
    config: TrainConfig,
    samples: Sequence[Sample],
    *,
    process: int,
    processes: int,
    device: torch.device,
) -> Iterator[Batch]:
    """The batches of one of some processes from a step on, to the end, with their echoes.

    Raises BadInputError for a sample that is no picture, when it is its turn.
    """
    accumulate, echoes = config.optimizer.accumulate, config.data.echoes
    first, end = (
        step * accumulate,
        config.steps * accumulate,
    )
    numbers = range(first // echoes, -(-end // echoes))
    workers = config.data.workers
    loader = DataLoader(
        Batches(config, samples, accumulate * processes),
        batch_size=None,
        sampler=[number * processes + process for number in numbers],
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        worker_init_fn=_one_thread,
        multiprocessing_context=_forkserver() if workers else None,
    )
    for number, batch in zip(numbers, loader, strict=True):
        if isinstance(batch, FaceRestoreError):
            raise batch
        batch = batch.to(device)  # once for all of its echoes
        for use in range(max(first, number * echoes), min(end, (number + 1) * echoes)):
            yield batch.mirrored() if (use - number * echoes) % 2 else batch


def _forkserver() -> BaseContext:
    """Workers are forks of a process that has imported all of this and done nothing else.

    A fork of this process would inherit the locks of threads it does not have, and might wait for
    ever; many processes that import for themselves take most of a minute.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _one_thread(worker: int) -> None:
    Thread(target=end_with_parent, daemon=True).start()  # PyTorch watches the fork server instead
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def find(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of a folder by name or pattern; raises BadInputError for one that is not there."""
    found = []
    for name in names:
        matches = sorted(folder.glob(name))
        if not matches:
            raise BadInputError(f"{folder / name}: no such file; is --data the right folder?")
        found += matches
    return found
