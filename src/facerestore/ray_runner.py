"""Films on a Ray cluster: several are restored whole by its nodes, of a long one the clips.

A film whose worker was lost lies on storage that all nodes see, so another goes on after its last
finished segment; a clip is restored once more.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.attempt import BROKEN, Outcome
from facerestore.errors import ModelError, ResourceError
from facerestore.lease import STALE_SECONDS
from facerestore.models.background import NAMES
from facerestore.options import load_restorer, load_tools
from facerestore.ray_cluster import Workers
from facerestore.ray_workers import ClipWorker, FilmWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facerestore.attempt import Listener
    from facerestore.films import Job
    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks
    from facerestore.options import RestoreOptions, Tools
    from facerestore.ray_workers import Loaded
    from facerestore.sandbox import Limits
    from facerestore.survey import Step

MEMORY_GIB = 4.0  # main memory that a worker declares where there is no --memory-limit
LOOK_SECONDS = 0.5  # between two looks at how far a film is


class Lanes:
    """A restorer that asks workers; with a reference given clips are independent.

    Each clip is computed by one worker from the same seed, so the result does not depend on which.
    known: see `ClipWorker.model`
    """

    def __init__(self, workers: Workers, known: dict[str, Any]) -> None:
        self.workers = workers
        self.window, self.chunk = known["window"], known["chunk"]
        self.has_identity: bool = known["has_identity"]
        self.self_reference: tuple[str, ...] = known["self_reference"]
        self.lanes, self.cost = workers.count, 0
        self.cost_of = cache(partial(self._asked, "forwards"))
        self.notes: list[str] = []

    def close(self) -> None:
        """End the workers."""
        self.workers.close()

    def side(self, tasks: Tasks, face: float) -> int:
        """As the models do; `People` asks once for each track."""
        return self._asked("side", tasks, face)

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """As the models do; a worker is asked once for each length, as every chunk wants it."""
        return self.cost_of(n_frames, tasks)

    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3]; call it from as many threads as there are lanes.

        Raises ResourceError where worker after worker was lost.
        """
        restored, cost, notes = self._asked("restore", clip, tasks, reference, seed)
        self.cost += cost
        self.notes += notes
        on_step()
        return restored

    def vectors(self, pictures: Bytes, landmarks: Floats) -> Floats | None:
        """As the models do."""
        return self._asked("vectors", pictures, landmarks) if self.has_identity else None

    def _asked(self, method: str, *arguments: Any) -> Any:
        import ray

        return self.workers.ask(
            lambda worker, _: ray.get(getattr(worker, method).remote(*arguments))
        )


def restorer_on(
    address: str,
    options: RestoreOptions,
    *,
    load: Callable[[RestoreOptions], Loaded] = load_restorer,
) -> Loaded:
    """As `load_restorer`, with the model on the workers of a cluster: for one long film."""
    workers = Workers(address, ClipWorker, options, load, memory_gib=MEMORY_GIB)
    try:
        known = workers.ask(lambda worker, _: _got(worker.model.remote()))
    except BaseException:
        workers.close()
        raise
    return Lanes(workers, known), known["model"], f"{known['why']}, {_words(workers)}"


@contextmanager
def films_on(
    address: str,
    jobs: list[Job],
    options: RestoreOptions,
    listener: Listener,
    *,
    limits: Limits | None = None,
    load: Callable[[RestoreOptions], Tools] = load_tools,
    verbose: bool = False,
) -> Iterator[Callable[[Job], Outcome]]:
    """Begin to restore films on the workers of a cluster; what waits for the outcome of one.

    listener: told how far the film is that is waited for
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    there = replace(
        options,
        mask=_whole(options.mask),
        reference=_whole(options.reference),
        background=whole_background(options.background),
    )
    memory_gib = (limits and limits.memory_gib) or MEMORY_GIB
    workers = Workers(address, FilmWorker, there, limits, load, verbose, memory_gib=memory_gib)
    listener.note(_words(workers))
    awaited: Job | None = None

    def hear(job: Job, notes: list[str], step: Step | None) -> None:
        for text in notes:
            listener.note(text)
        if step is not None and job == awaited:
            listener.step(step)

    def film(job: Job) -> Outcome:
        sent = replace(job, source=_whole(job.source), output=_whole(job.output))
        try:
            return workers.ask(
                lambda worker, lost: _followed(worker, sent, lost, partial(hear, job))
            )
        except ModelError:
            raise  # it is so for every film
        except ResourceError as error:
            return Outcome(BROKEN, f"{job.source}: {error}", error.exit_code)

    with ThreadPoolExecutor(workers.count) as pool:
        begun: dict[Job, Future[Outcome]] = {job: pool.submit(film, job) for job in jobs}

        def wait(job: Job) -> Outcome:
            nonlocal awaited
            awaited = job
            return (begun.pop(job, None) or pool.submit(film, job)).result()

        try:
            yield wait
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.close()


def _followed(
    worker: Any, job: Job, lost: int, hear: Callable[[list[str], Step | None], None]
) -> Outcome:
    """The outcome of a film; until then, how far it is."""
    import ray

    patience_seconds = 2 * STALE_SECONDS if lost else 0.0
    outcome = worker.film.remote(job, patience_seconds)
    done: list[Any] = []
    while not done:
        done, _ = ray.wait([outcome], timeout=LOOK_SECONDS)
        hear(*_got(worker.news.remote()))
    return _got(outcome)


def _got(answer: Any) -> Any:
    import ray

    return ray.get(answer)


def _words(workers: Workers) -> str:
    return f"Ray workers: {workers.count}"


def whole_background(name: str | None) -> str | None:
    """A background as nodes find it: one known by name, or a file from the root on."""
    return name if name is None or name in NAMES else str(_whole(Path(name)))


def _whole(path: Any) -> Any:
    """From the root on: nodes have working folders of their own."""
    return path and path.absolute()
