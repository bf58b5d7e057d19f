"""Several cards: one process a card, each with the whole model; clips go to whichever is free."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import TYPE_CHECKING, Any

from facerestore.errors import ResourceError
from facerestore.models.sampling import crop_size, film_forwards

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue

    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks
    from facerestore.models.checkpoint import ModelConfig
    from facerestore.models.svfr import SVFR

_model: SVFR | None = None  # of this worker process


class Cards:
    """A restorer that spreads clips over devices; with a reference given they are independent.

    Each clip is computed by one device from the same seed, so the result does not depend on which.
    load: makes the model on a device, in a process of its own (it must be picklable)
    """

    def __init__(
        self,
        config: ModelConfig,
        devices: list[str],
        load: Callable[[str], SVFR],
        *,
        mode: str,
        steps: int | None,
    ) -> None:
        self.config, self.mode, self.steps = config, mode, steps
        self.window, self.chunk = config.window, config.chunk
        self.lanes, self.cost = len(devices), 0
        self.notes: list[str] = []
        self.has_identity = self.config.codec == "vae"
        self.self_reference = self.config.self_reference
        context = get_context("spawn")
        queue = context.Queue()
        for device in devices:
            queue.put(device)
        self.pool = ProcessPoolExecutor(
            len(devices), mp_context=context, initializer=_start, initargs=(load, queue)
        )

    def close(self) -> None:
        """End the workers, also in the middle of a clip."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():
            worker.terminate()

    def side(self, tasks: Tasks, face: float) -> int:
        """As the models do."""
        return crop_size(self.config, tasks, face=face)

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """As the models do."""
        return film_forwards(self.config, n_frames, tasks, mode=self.mode, steps=self.steps)

    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3]; call it from as many threads as there are cards.

        Raises ResourceError where a worker died.
        """
        restored, cost, notes = self._asked(_restore, clip, tasks, reference, seed)
        self.cost += cost
        self.notes += notes
        on_step()
        return restored

    def vectors(self, pictures: Bytes, landmarks: Floats) -> Floats | None:
        """As the models do."""
        return self._asked(_vectors, pictures, landmarks) if self.has_identity else None

    def _asked(self, job: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.pool.submit(job, *arguments).result()
        except BrokenProcessPool:
            raise ResourceError(
                "a worker could not be started or was killed; is there enough memory for one model "
                "on each device? Try one --device"
            ) from None


def _start(load: Callable[[str], SVFR], devices: Queue[str]) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    global _model
    _model = load(devices.get())


def _restore(
    clip: FaceClip, tasks: Tasks, reference: Reference | None, seed: int
) -> tuple[Bytes, int, list[str]]:
    assert _model is not None
    cost, told = _model.cost, len(_model.notes)
    restored = _model.restore(clip, tasks, reference, seed=seed)
    return restored, _model.cost - cost, _model.notes[told:]


def _vectors(pictures: Bytes, landmarks: Floats) -> Floats | None:
    assert _model is not None
    return _model.vectors(pictures, landmarks)
