"""Batches of a training run, as tensors; worker processes make them, always the same ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from multiprocessing import get_context
from threading import Thread
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facerestore.errors import BadInputError, FaceRestoreError
from facerestore.models.identity import face_crop
from facerestore.sandbox import end_with_parent
from facerestore.training.data import Drawing, draw_example
from facerestore.training.motion import MIRRORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import BaseContext
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.frames import Bytes
    from facerestore.training.config import TrainConfig
    from facerestore.training.data import Example, Sample

PREFETCHED = 6  # batches a worker


@dataclass(frozen=True)
class Batch:
    """Examples as tensors.

    target, bad: uint8 [B, F, 3, S, S];  other: a second degradation, or None
    holes, other_holes: bool [B, F, S, S] of the two
    reference:   uint8 [B, 3, S, S], zeros where there is none;  known: [B] 1 where there is one
    faces:       float32 [B, 3, 112, 112] in [-1, 1], the reference's face for ArcFace, or None
    gamma:       [B, 3] task vectors;  landmarks: float32 [B, F, K, 2], NaN where unknown
    """

    target: Tensor
    bad: Tensor
    other: Tensor | None
    holes: Tensor
    other_holes: Tensor
    reference: Tensor
    known: Tensor
    faces: Tensor | None
    gamma: Tensor
    landmarks: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def cloned(self) -> Batch:
        """The same in memory of its own."""
        return self._each(torch.clone)

    def tensors(self) -> list[Tensor]:
        """All tensors there are, in the order of the fields."""
        return [value for value in vars(self).values() if value is not None]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            name: None if value is None else change(value) for name, value in vars(self).items()
        }
        return Batch(**changed)

    def mirrored(self) -> Batch:
        """The same, left and right exchanged."""
        turned: dict[str, Any] = {
            name: None if value is None else value.flip(-1)
            for name, value in vars(self).items()
            if name not in ("known", "gamma", "landmarks")
        }
        order = MIRRORED[self.landmarks.shape[2]]
        away = torch.stack([1 - self.landmarks[..., 0], self.landmarks[..., 1]], dim=-1)
        return replace(self, landmarks=away[:, :, order], **turned)


def collate(examples: Sequence[Example], *, faces: bool) -> Batch:
    """Examples of one size -> a batch; faces: whether ArcFace will look at the references."""
    references = [np.zeros_like(e.bad[0]) if e.reference is None else e.reference for e in examples]
    others = [e.other for e in examples if e.other is not None]
    return Batch(
        target=_pictures([e.target for e in examples]),
        bad=_pictures([e.bad for e in examples]),
        other=_pictures(others) if others else None,
        holes=_holes([e.holes for e in examples], examples),
        other_holes=_holes([e.other_holes for e in examples], examples),
        reference=_pictures(references),
        known=torch.tensor([float(e.reference is not None) for e in examples]),
        faces=torch.stack([_face(e) for e in examples]) if faces else None,
        gamma=torch.tensor([e.tasks.vector for e in examples]),
        landmarks=torch.tensor(np.stack([e.landmarks for e in examples]), dtype=torch.float32),
    )


def _pictures(arrays: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).movedim(-1, -3).contiguous()


def _holes(found: Sequence[NDArray[np.bool_] | None], examples: Sequence[Example]) -> Tensor:
    nothing = np.zeros(examples[0].bad.shape[:3], np.bool_)
    return torch.from_numpy(np.stack([nothing if holes is None else holes for holes in found]))


def _face(example: Example) -> Tensor:
    points = example.reference_landmarks
    if example.reference is None or np.isnan(points).any():
        return torch.zeros(3, 112, 112)
    crop = face_crop(example.reference, points * len(example.reference) - 0.5)
    return torch.from_numpy(crop).movedim(-1, 0) / 127.5 - 1


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
            large=config.model.large,
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
