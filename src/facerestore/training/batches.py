"""Batches of a training run, made by worker processes: the same ones whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from facerestore.errors import BadInputError, FaceRestoreError
from facerestore.training.data import Drawing, draw_example
from facerestore.training.objective import Batch, collate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Sample

PREFETCHED = 6  # batches a worker


class Batches(Dataset["Batch | FaceRestoreError"]):
    """Batch number n, the same at every call; `a_step` of them make a step of the optimizer.

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
        config, stage = self.config, self.config.stage(number // self.a_step)
        drawing = Drawing(
            size=stage.size,
            frames=stage.frames,
            zoomed=stage.zoomed,
            mixes=config.data.mixes,
            reference_dropout=config.data.reference_dropout,
            pairs=config.losses.ulr > 0,
            points=config.data.points,
            filled=config.model.fills_holes,
        )
        draws = [np.random.default_rng([config.seed, number, i]) for i in range(stage.batch)]
        examples = [
            draw_example(self.samples, drawing, rng, full=config.model.size) for rng in draws
        ]
        return collate(examples, faces=config.model.codec == "vae")


def batches_from(
    step: int, config: TrainConfig, samples: Sequence[Sample], *, process: int, processes: int
) -> Iterator[Batch]:
    """The batches of one of some processes from a step on, to the end.

    Raises BadInputError for a sample that is no picture, when it is its turn.
    """
    a_step = config.optimizer.accumulate * processes
    first, end = step * a_step + process, config.steps * a_step
    workers = config.data.workers
    loader = DataLoader(
        Batches(config, samples, a_step),
        batch_size=None,
        sampler=range(first, end, processes),
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        worker_init_fn=_one_thread,
        # A forked worker inherits the locks of threads it does not have, and may wait for ever.
        multiprocessing_context="spawn" if workers else None,
    )
    for batch in loader:
        if isinstance(batch, FaceRestoreError):
            raise batch
        yield batch


def _one_thread(worker: int) -> None:
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
