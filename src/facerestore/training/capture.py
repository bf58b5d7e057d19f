"""Losses and gradients of a batch: step by step, or on a card recorded once and replayed.

A small network has thousands of small kernels, and Python starts them more slowly than a card works
them off. A CUDA graph starts all of them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from accelerate import Accelerator
    from torch import Tensor, nn

    from facerestore.training.batches import Batch
    from facerestore.training.config import TrainConfig
    from facerestore.training.objective import Objective

    # batch, noise levels, noise and perhaps the aim of `Objective.forward` -> losses by name;
    # gradients are added to those of the parameters
    Gradients = Callable[..., dict[str, Tensor]]

WARM_UPS = 3  # runs before the recording: libraries choose their algorithms in them


def gradients_of(objective: Objective, accelerator: Accelerator, config: TrainConfig) -> Gradients:
    """What takes the gradients of an objective, ready for many processes.

    One card replays small networks; their gradients are then replaced, not added to.
    """
    wrapped, share = accelerator.prepare(objective), 1 / config.optimizer.accumulate

    def plain(batch: Batch, *drawn: Tensor) -> dict[str, Tensor]:
        losses = wrapped(batch, *drawn)
        accelerator.backward(losses["total"] * share)
        return losses

    alone = accelerator.num_processes == 1 and share == 1
    if accelerator.device.type == "cuda" and alone and config.model.codec == "patch4":
        torch.backends.cudnn.benchmark = True
        return Recorded(plain, list(objective.parameters()))
    return plain


class Recorded:
    """Gradients as `plain` takes them, replayed as a CUDA graph; recorded anew for new shapes.

    parameters: those whose gradients are taken
    """

    def __init__(self, plain: Gradients, parameters: Sequence[nn.Parameter]) -> None:
        self.plain, self.parameters = plain, parameters
        self.shapes: list[torch.Size] = []
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch, *drawn: Tensor) -> dict[str, Tensor]:
        """The losses; the parameters' gradients stay valid until the next call."""
        given = [*batch.tensors(), *drawn]
        shapes = [tensor.shape for tensor in given]
        if self.graph is None or shapes != self.shapes:
            self.graph = self._record(batch, drawn)
            self.shapes = shapes
        for held, new in zip(self.held, given, strict=True):
            held.copy_(new)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.found, strict=True):
            parameter.grad = gradient
        return {name: loss.clone() for name, loss in self.losses.items()}

    def _record(self, batch: Batch, drawn: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        self.graph, self.found, self.losses = None, [], {}  # their memory is free again
        batch = batch.cloned()
        drawn = [tensor.clone() for tensor in drawn]
        self.held = [*batch.tensors(), *drawn]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # as PyTorch asks for before a recording
            for _ in range(WARM_UPS):
                self._forget()
                self.plain(batch, *drawn)
        torch.cuda.current_stream().wait_stream(beside)
        self._forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = self.plain(batch, *drawn)
        self.losses = {name: loss.detach() for name, loss in losses.items()}
        self.found = [parameter.grad for parameter in self.parameters]
        return graph

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
