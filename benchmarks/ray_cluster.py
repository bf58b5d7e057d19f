"""Restore films on a Ray cluster of two nodes, kill workers half way, compare with one process.

    python benchmarks/kills.py FOLDER_OF_CLIPS --keep KEPT
    python benchmarks/ray_cluster.py FOLDER_OF_CLIPS KEPT [--long 12] [--model mini]

The films and what one process made of them are those that `kills.py` has left in KEPT (in `in` and
`calm`; what is not there of the latter is made, which another model than `mini` needs). Both nodes
are on this machine, with a core each. In each batch a worker is killed with -9 when half of the
films are there; a long film (`--long` seconds of the longest clip) goes there by clips, and a
worker is killed after its first segment. Results are compared as in `kills.py`. Prints a line
of JSON for each; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ray.cluster_utils import Cluster

from facerestore.places import work_folder
from kills import all_differences, command, cut, difference, finished, length, record_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS = 0.2
AGENTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


def agent_ports() -> dict[str, int]:
    """Free ports for a node's helpers: on a busy machine they are not ready when Ray asks them."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in AGENTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: s.getsockname()[1] for name, s in zip(AGENTS, sockets, strict=True)}


def kill_worker(kind: str) -> bool:
    """End one of our cluster's workers; whether there was one."""
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(f"ray::{kind}"):
                process.kill()
                return True
        except psutil.Error:
            continue
    return False


def run(start: list[str], log: Path, kind: str, half_way: Callable[[], bool]) -> dict[str, Any]:
    """Run a command and kill a worker half way; what came of it."""
    begin, killed = time.monotonic(), 0
    with log.open("w") as file:
        process = subprocess.Popen(start, stdout=file)
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
            if not killed and half_way() and kill_worker(kind):
                killed = 1
    seconds = round(time.monotonic() - begin, 1)
    return {"exit_code": process.returncode, "workers_killed": killed, "seconds": seconds}


def batch(profile: str, kept: Path, address: str, model: str) -> dict[str, Any]:
    """The films of a profile, as a batch."""
    source, out, calm = (kept / name / profile for name in ("in", "ray", "calm"))
    count = sum(1 for _ in source.iterdir())

    def half_way() -> bool:
        return sum(1 for _ in finished(out)) >= count // 2

    if not calm.exists():
        subprocess.run(command(profile, source, calm, model), stdout=subprocess.DEVNULL)
    start = [*command(profile, source, out, model), "--ray", address]
    out.mkdir(parents=True)
    facts = run(start, kept / f"ray-{profile}.log", "FilmWorker", half_way)
    return {"films": count, **facts, "differing": all_differences(calm, out)}


def long_film(film: Path, kept: Path, address: str, model: str) -> dict[str, Any]:
    """A film of its own, by clips."""
    alone, there, log = kept / "long-alone.mkv", kept / "long-ray.mkv", kept / "ray-long.log"
    alone_too = command("archive", film, alone, model)
    subprocess.run(alone_too, stdout=subprocess.DEVNULL, check=True)

    def half_way() -> bool:
        return any(work_folder(there).glob("0*.json"))

    start = [*command("archive", film, there, model), "--ray", address]
    facts = run(start, log, "ClipWorker", half_way)
    return {"frames": record_of(alone)["frames"], **facts, "differing": difference(alone, there)}


def _told(what: str, facts: dict[str, Any]) -> bool:
    """Print what came of a run; whether all was as it should be."""
    print(json.dumps({"what": what, **facts}), flush=True)
    return not facts["differing"] and not facts["exit_code"] and facts["workers_killed"] == 1


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("kept", type=lambda name: Path(name).absolute())
    parser.add_argument("--long", type=float, default=12.0, help="Seconds; 0: none.")
    parser.add_argument("--model", default="mini")
    wish = parser.parse_args()
    film = wish.kept / "long.mp4"
    cut(max(sorted(wish.clips.glob("*.mp4")), key=length), film, wish.long)
    cluster = Cluster()
    for _ in range(2):
        room = {"memory": 8 * 2**30, "object_store_memory": 200 * 2**20}
        cluster.add_node(num_cpus=1, **room, **agent_ports())
    try:
        fine = True
        if wish.long:
            facts = long_film(film, wish.kept, cluster.address, wish.model)
            fine = _told("one long film", facts)
        for profile in sorted(path.name for path in (wish.kept / "in").iterdir()):
            fine &= _told(profile, batch(profile, wish.kept, cluster.address, wish.model))
    finally:
        cluster.shutdown()
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
