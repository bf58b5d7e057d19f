"""The workers of a Ray cluster: where there is room for them, and asking whichever is free.

One worker for each card or, in a cluster without cards, one a node. Ray starts a worker that was
lost again; what it was at is asked of another.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.errors import FaceRestoreError, ModelError, ResourceError, UsageError
from facerestore.sandbox import GIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.ray_workers import Node

CONNECT_SECONDS = 10.0
NODELESS_SECONDS = 300.0  # that no node is able to hold a worker, until it is given up
LOOK_SECONDS = 5.0  # between two looks at the nodes
TRIES = 3  # workers lost at one thing until it is given up: it may be what kills them


class Workers:
    """The workers of a cluster; `close` them.

    count: of those that there are when all nodes are up
    """

    def __init__(self, address: str, kind: type[Node], *arguments: Any, memory_gib: float) -> None:
        ray, options = _connected(address), arguments[0]
        self.count, needs = places(_alive(ray), device=options.device, memory_gib=memory_gib)
        self.needs: dict[str, float] = {
            "GPU": needs["num_gpus"],
            "CPU": needs["num_cpus"],
            "memory": needs["memory"],
        }
        actor: Any = ray.remote(kind)
        actor = actor.options(
            **needs, max_restarts=-1, max_concurrency=2, scheduling_strategy="SPREAD"
        )
        self.all = [actor.remote(*arguments) for _ in range(self.count)]
        self.like: Any = None  # what the first of them said of itself
        self.free: LifoQueue[Any] = LifoQueue()  # workers, or on top the reason why to stop
        for worker in self.all:
            self._expect(worker)

    def ask(self, question: Callable[[Any, int], Any]) -> Any:
        """The answer of a free worker; call it from as many threads as there are workers.

        question: gets a worker and how many were lost at this; may be asked again
        Raises what the worker raised, or ResourceError where one after the other was lost.
        """
        from ray.exceptions import RayError, RayTaskError

        for lost in range(TRIES):
            worker = self._next()
            if isinstance(worker, Exception):
                self.free.put(worker)
                raise worker
            try:
                answer = question(worker, lost)
            except RayTaskError as error:
                self.free.put(worker)
                raise error.cause from None
            except RayError:  # the worker, its node, or an answer that lay there
                self._expect(worker)
                continue
            self.free.put(worker)
            return answer
        raise ResourceError(
            f"{TRIES} Ray workers were lost at it; is there enough memory on their nodes?"
        )

    def _next(self) -> Any:
        """A free worker, or the reason why to stop; waits as long as there is a node for one."""
        import ray

        end = time.monotonic() + NODELESS_SECONDS
        while True:
            with suppress(Empty):
                return self.free.get(timeout=LOOK_SECONDS)
            if any(_holds(node, self.needs) for node in _alive(ray)):
                end = time.monotonic() + NODELESS_SECONDS
            if time.monotonic() > end:
                return ResourceError(
                    f"for {NODELESS_SECONDS:.0f} s no node of the Ray cluster was there that could "
                    "hold a worker; start nodes and run the command again"
                )

    def _expect(self, worker: Any) -> None:
        """Let a worker join once Ray has found a place for it and started it."""
        Thread(target=self._join, args=(worker,), daemon=True).start()

    def _join(self, worker: Any) -> None:
        import ray

        try:
            about: Any = ray.get(worker.about.options(max_task_retries=-1).remote())
            self.like = self.like or about
            wrong = [name for name, fact in about[1].items() if fact != self.like[1][name]]
            if not wrong:
                self.free.put(worker)
                return
            reason: Exception = ModelError(
                f"Ray nodes {self.like[0]} and {about[0]} differ in {' and '.join(wrong)}; install "
                "the same facerestore on both, and the same model in their models folders"
            )
        except (Exception, SystemExit) as error:  # the latter where Ray is being left
            cause = getattr(error, "cause", None)
            reason = ResourceError(
                f"a Ray worker does not start ({str(error).strip().splitlines()[-1]}); is "
                f"facerestore {facerestore.__version__} installed on all nodes?"
            )
            if isinstance(cause, FaceRestoreError):
                reason = cause
        self.free.put(reason)

    def close(self) -> None:
        """End the workers, also in the middle of something; finished segments are kept."""
        import ray

        self.free.put(ResourceError("the Ray workers were ended"))
        for worker in self.all:
            ray.kill(worker)
        ray.shutdown()


def _alive(ray: Any) -> list[dict[str, float]]:
    """The resources of the nodes that are there now."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _holds(node: dict[str, float], needs: dict[str, float]) -> bool:
    return all(node.get(name, 0) >= least for name, least in needs.items())


def places(
    nodes: list[dict[str, float]], *, device: str, memory_gib: float
) -> tuple[int, dict[str, float]]:
    """How many workers there are, and what each of them asks Ray for.

    nodes: their resources as Ray counts them;  memory_gib: main memory for each worker
    One worker a card; without cards, or for "cpu", one a node. They share the cores evenly.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: Ray chooses the cards; write auto, cpu or cuda")
    cards = device != "cpu" and any(node.get("GPU", 0) >= 1 for node in nodes)
    if device == "cuda" and not cards:
        raise ResourceError("--device cuda: no node of the Ray cluster has a card")
    name, memory = "GPU" if cards else "CPU", memory_gib * GIB
    able = [
        (node, workers)
        for node in nodes
        if (workers := int(node.get(name, 0)) if cards else int(node.get(name, 0) >= 1))
        and node.get("memory", 0) >= workers * memory
    ]
    if not able:
        raise ResourceError(
            f"no node of the Ray cluster has a {name} and {memory_gib:g} GiB of memory for each "
            "worker; add one, or lower --memory-limit"
        )
    cores = min(int(node.get("CPU", 0)) // workers for node, workers in able)
    needs = {"num_gpus": int(cards), "num_cpus": cores, "memory": memory}
    return sum(workers for _, workers in able), needs


def _connected(address: str) -> Any:
    """Ray, connected to a cluster."""
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # else a late question would start a new cluster
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "."  # else it tells of lost workers on stdout
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray; pip install 'facerestore[ray]'") from None
    before = signal.getsignal(signal.SIGTERM)
    host, _, port = (_latest() if address == "auto" else address).rpartition(":")
    try:
        if host and port.isdecimal() and "//" not in host:  # Ray itself would try for ten minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, ValueError, RuntimeError, OverflowError):
        raise ResourceError(
            f"--ray {address}: no Ray cluster answers; start one with 'ray start --head'"
        ) from None
    signal.signal(signal.SIGTERM, before)  # Ray ends the process at once
    return ray


def _latest() -> str:
    """Where Ray looks for "auto", as its `ray.init` documents; "" where nothing is named."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    latest = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    try:
        return latest.read_text().strip()
    except OSError:
        return ""
