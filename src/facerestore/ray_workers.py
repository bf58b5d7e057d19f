"""What runs on the nodes of a Ray cluster: each of these is an actor, a process with the model."""

from __future__ import annotations

import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.attempt import ELSEWHERE, Outcome, attempt
from facerestore.errors import ModelError
from facerestore.lease import BEAT_SECONDS
from facerestore.options import load_restorer
from facerestore.record import source_sum
from facerestore.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.films import Job
    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks
    from facerestore.models.restorer import Restorer
    from facerestore.options import RestoreOptions, Tools
    from facerestore.sandbox import Limits
    from facerestore.survey import Step

    Loaded = tuple[Restorer, dict[str, Any], str]  # see `load_restorer`


class Node:
    """What every worker can say."""

    def __init__(self, options: RestoreOptions) -> None:
        self.options = options

    def about(self) -> tuple[str, dict[str, Any]]:
        """Address of the node, and what has to be the same on all of them."""
        from ray.util import get_node_ip_address

        node = get_node_ip_address()
        try:
            name, sums = self._model()
        except ModelError as error:
            raise ModelError(f"Ray node {node}: {error}") from None
        version = (facerestore.__version__, source_sum())
        return node, {"facerestore": version, "model": name, "weights": sums}

    def _model(self) -> tuple[str, dict[str, str]]:
        """Name and sums of what will restore; a model is not loaded for that."""
        from facerestore.models.baselines import is_baseline
        from facerestore.models.checkpoint import read_config
        from facerestore.models.load import choose_model

        if is_baseline(self.options.model):
            facts = load_restorer(self.options)[1]
            return facts["name"], facts["sha256"]
        folder, _ = choose_model(self.options.model, self.options.device)
        config, sums = read_config(folder)
        return config.name, sums


class FilmWorker(Node):
    """Restores whole films, in a sandbox of its own if there are limits."""

    def __init__(
        self,
        options: RestoreOptions,
        limits: Limits | None,
        load: Callable[[RestoreOptions], Tools],
        verbose: bool,
    ) -> None:
        super().__init__(options)
        self.notes: list[str] = []
        self.latest: Step | None = None
        if limits is not None:
            self.attempt = Sandbox(options, limits, load=load, verbose=verbose).attempt
        else:
            tools = cache(partial(load, options))
            self.attempt = lambda job, to: attempt(job, options, tools, to, verbose=verbose)

    def film(self, job: Job, patience_seconds: float) -> Outcome:
        """Restore a film; wait so long for the lease of a worker that was lost."""
        end = time.monotonic() + patience_seconds
        while True:
            outcome = self.attempt(job, self)
            if outcome.status != ELSEWHERE or time.monotonic() >= end:
                return outcome
            time.sleep(BEAT_SECONDS)

    def step(self, step: Step) -> None:
        """Some frames further."""
        self.latest = step

    def note(self, text: str) -> None:
        """Something was decided."""
        self.notes.append(text)

    def news(self) -> tuple[list[str], Step | None]:
        """What was noted since the last call, and how far the film is if it got further."""
        notes, self.notes = self.notes, []
        latest, self.latest = self.latest, None
        return notes, latest


class ClipWorker(Node):
    """Restores clips of a film that is taken apart and put together elsewhere."""

    def __init__(self, options: RestoreOptions, load: Callable[[RestoreOptions], Loaded]) -> None:
        super().__init__(options)
        self.loaded = cache(partial(load, options))

    def model(self) -> dict[str, Any]:
        """What `Lanes` has to know of the model."""
        restorer, model, why = self.loaded()
        names = ("window", "chunk", "has_identity", "self_reference")
        return {name: getattr(restorer, name) for name in names} | {"model": model, "why": why}

    def side(self, tasks: Tasks, face: float) -> int:
        """As the models do."""
        return self.loaded()[0].side(tasks, face)

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """As the models do."""
        return self.loaded()[0].forwards(n_frames, tasks)

    def vectors(self, pictures: Bytes, landmarks: Floats) -> Floats | None:
        """As the models do."""
        return self.loaded()[0].vectors(pictures, landmarks)

    def restore(
        self, clip: FaceClip, tasks: Tasks, reference: Reference | None, seed: int
    ) -> tuple[Bytes, int, list[str]]:
        """As the models do, with what it cost and what there is to note."""
        restorer = self.loaded()[0]
        cost, told = restorer.cost, len(restorer.notes)
        restored = restorer.restore(clip, tasks, reference, seed=seed)
        return restored, restorer.cost - cost, restorer.notes[told:]
