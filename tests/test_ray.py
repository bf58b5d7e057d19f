"""Films on a Ray cluster come out as in one process, also where a worker is killed."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cheap import cheap, cheap_tools, film_of
from facerestore import ray_cluster
from facerestore.attempt import attempt
from facerestore.batch import run_batch
from facerestore.console import choose_reporter
from facerestore.errors import ResourceError, UsageError
from facerestore.films import find_jobs
from facerestore.lease import is_free
from facerestore.options import RestoreOptions
from facerestore.places import work_folder
from facerestore.ray_cluster import places
from facerestore.ray_runner import films_on, restorer_on
from facerestore.ray_workers import Node
from facerestore.sandbox import Limits

OPTIONS = RestoreOptions(profile="archive")
CPU, CARD = {"CPU": 8.0, "memory": 2.0**35}, {"CPU": 16.0, "GPU": 4.0, "memory": 2.0**37}


def test_a_worker_for_each_card_or_else_for_each_node():
    asked = partial(places, memory_gib=4)
    assert asked([CPU, CPU], device="auto") == (
        2, {"num_gpus": 0, "num_cpus": 8, "memory": 2.0**32}
    )  # fmt: skip
    assert asked([CARD, CPU], device="auto")[0] == 4
    assert asked([CARD, CPU], device="auto")[1]["num_cpus"] == 4
    assert asked([CARD, CPU], device="cpu")[0] == 2
    small = CPU | {"memory": 2.0**31}
    assert asked([CPU, small, {"memory": 2.0**35}], device="auto")[0] == 1
    with pytest.raises(ResourceError, match="4 GiB of memory"):
        asked([small], device="auto")
    with pytest.raises(ResourceError, match="has a card"):
        asked([CPU], device="cuda")
    with pytest.raises(UsageError, match="Ray chooses"):
        asked([CARD], device="cuda:1")


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "nowhere.invalid:6379"])
def test_a_cluster_that_is_not_there_is_named(address, monkeypatch):
    pytest.importorskip("ray", reason="needs pip install 'facerestore[ray]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ResourceError, match="no Ray cluster answers"):
        restorer_on(address, OPTIONS)


def test_a_cluster_that_has_ended_is_not_waited_for(tmp_path, monkeypatch):
    """Ray leaves the address of a cluster behind, and would wait ten minutes for it."""
    pytest.importorskip("ray", reason="needs pip install 'facerestore[ray]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")
    with pytest.raises(ResourceError, match="no Ray cluster answers"):
        restorer_on("auto", OPTIONS)


def test_without_ray_there_is_the_command_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'facerestore\[ray\]'"):
        restorer_on("auto", OPTIONS)


@pytest.mark.parametrize("model", ["mini", "classic"])
def test_a_worker_knows_what_it_would_use(model):
    pytest.importorskip("ray", reason="needs pip install 'facerestore[ray]'")
    assert Node(RestoreOptions(model=model)).about()[1]["model"] == model


@pytest.fixture
def make_cluster():
    """Makes a Ray cluster with a node for each number of cores, all on this machine.

    A cluster starts a dozen processes and may take the tests' own process with it: ask for it.
    """
    if not os.environ.get("FACERESTORE_RAY_TESTS"):
        pytest.skip("starts a Ray cluster; set FACERESTORE_RAY_TESTS=1")
    made = pytest.importorskip("ray.cluster_utils", reason="needs facerestore[ray]").Cluster()

    def make(*cores):
        room = {"memory": 8 * 2**30, "object_store_memory": 100 * 2**20}
        return made, [made.add_node(num_cpus=count, **room) for count in cores]

    yield make
    made.shutdown()


@pytest.fixture
def cluster(make_cluster):
    """Address of a cluster of two nodes with a core each."""
    return make_cluster(1, 1)[0].address


def slow(options):
    """For a worker: what is cheap, with time to be killed in."""
    return cheap_tools(seconds=0.1)


def dying(killed, options):
    """For a worker: its model ends the process half way; the first one that does, once."""
    tools = cheap_tools()
    restore, restorer = tools.restorer.restore, tools.restorer

    def at_first(clip, *arguments, **how):
        if restorer.calls == 4:
            try:
                killed.open("x").close()
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        return restore(clip, *arguments, **how)

    restorer.restore = at_first
    return restorer, tools.model, "killed once"


class Killer:
    """Kills the worker of the first film that has a finished segment."""

    def __init__(self, folders):
        self.folders, self.killed, self.notes = folders, [], []

    def step(self, step):
        for folder in self.folders:
            if not self.killed and list(folder.glob("0*.json")) and not is_free(folder):
                lease = next(path for path in folder.glob("lease.*") if path.suffix != ".free")
                worker = psutil.Process(int(lease.read_text().split()[-1])).parent()
                assert "FilmWorker" in worker.name() + " ".join(worker.cmdline())
                worker.kill()
                self.killed.append(folder)

    def note(self, text):
        self.notes.append(text)


def pictures(path):
    from facerestore.video.reader import open_video

    return [(frame.pts, frame.to_ndarray()) for frame in open_video(path).frames()]


def same(one, other):
    pairs = zip(pictures(one), pictures(other), strict=True)
    assert all(t == u and (a == b).all() for (t, a), (u, b) in pairs)


@pytest.mark.slow
def test_films_whose_worker_is_killed_go_on_elsewhere(cluster, tmp_path):
    root, here, there = tmp_path / "in", tmp_path / "here", tmp_path / "there"
    for number in range(4):
        film_of(root / f"{number}.mp4", seed=number, frames=150)
    (root / "broken.mp4").write_bytes(b"no film")
    quiet, jobs = choose_reporter(as_json=False, quiet=True), find_jobs([root], there)
    killer = Killer([work_folder(there / f"{number}.mkv") for number in range(4)])
    with films_on(cluster, jobs, OPTIONS, killer, limits=Limits(), load=slow) as wait:
        code = run_batch(jobs, wait, quiet, report=there / "report.json")
    assert code == 1
    assert len(killer.killed) == 1
    name = killer.killed[0].name[1:].removesuffix(".facerestore")
    (went_on,) = (note for note in killer.notes if note.startswith(f"{name}: going on"))
    assert int(went_on.split()[-1]) >= 48
    tools = cheap_tools()
    run_batch(
        find_jobs([root], here), lambda job: attempt(job, OPTIONS, lambda: tools, quiet), quiet
    )
    for number in range(4):
        same(here / f"{number}.mkv", there / f"{number}.mkv")


@pytest.mark.slow
def test_a_long_film_whose_worker_is_killed_comes_out_the_same(cluster, tmp_path):
    film, quiet = film_of(tmp_path / "a.mp4", frames=400), choose_reporter(
        as_json=False, quiet=True
    )  # fmt: skip
    outcomes = []
    restorer, model, why = restorer_on(cluster, OPTIONS, load=partial(dying, tmp_path / "killed"))
    try:
        assert restorer.lanes == 2
        assert "Ray workers: 2" in why
        for name, used in (("there", restorer), ("here", cheap_tools().restorer)):
            (job,) = find_jobs([film], tmp_path / f"{name}.mkv")
            tools = cheap(OPTIONS, lambda _, used=used: (used, model, why))
            outcomes.append(attempt(job, OPTIONS, lambda tools=tools: tools, quiet))
    finally:
        restorer.close()
    assert (tmp_path / "killed").exists()
    assert [outcome.message for outcome in outcomes] == ["", ""]
    there, alone = (outcome.result for outcome in outcomes)
    same(there.output, alone.output)
    assert there.faces == alone.faces
    assert there.cost == alone.cost
    assert there.warnings == alone.warnings


@pytest.mark.slow
def test_a_cluster_that_loses_its_nodes_is_given_up(make_cluster, tmp_path, monkeypatch):
    """The only node with room for workers goes in the middle of a film."""
    monkeypatch.setattr(ray_cluster, "NODELESS_SECONDS", 4.0)
    monkeypatch.setattr(ray_cluster, "LOOK_SECONDS", 0.5)
    made, (_, node) = make_cluster(0, 1)
    film_of(tmp_path / "in" / "a.mp4", frames=150)
    film_of(tmp_path / "in" / "b.mp4", frames=150)

    class Taker:
        gone = False

        def step(self, step):
            if not self.gone:
                self.gone = True
                made.remove_node(node, allow_graceful=False)

        def note(self, text):
            pass

    jobs = find_jobs([tmp_path / "in"], tmp_path / "out")
    with films_on(made.address, jobs, OPTIONS, Taker(), load=slow) as wait:
        outcomes = [wait(job) for job in jobs]
    assert [outcome.code for outcome in outcomes] == [5, 5]
    assert all("no node of the Ray cluster was there" in out.message for out in outcomes)
