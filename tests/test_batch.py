"""Many films: every one has its outcome, and none stops the others."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cheap import cheap, cheap_tools, film_of
from facerestore.attempt import attempt
from facerestore.batch import report_path, run_batch
from facerestore.console import choose_reporter
from facerestore.films import find_jobs, share
from facerestore.options import RestoreOptions
from facerestore.places import sidecar_path, work_folder
from facerestore.sandbox import Limits, Sandbox
from facerestore.video.reader import open_video

CHEAP = Path(__file__).parent / "cheap.py"
OPTIONS = RestoreOptions(profile="archive")


@pytest.fixture
def films(tmp_path):
    """Five films in three folders, one of which is none."""
    root = tmp_path / "in"
    for number, name in enumerate(("a.mp4", "b.mp4", "x/c.mkv", "x/y/d.mov")):
        film_of(root / name, seed=number)
    (root / "x" / "broken.mp4").write_bytes(b"no film")
    return root


def run(root, out, *, part=None, options=OPTIONS):
    """Restore a folder in this process; returns exit code, report, and calls of the model."""
    tools, reporter = cheap_tools(), choose_reporter(as_json=False, quiet=True)
    jobs = share(find_jobs([root], out), part)

    def one(job):
        return attempt(job, options, lambda: tools, reporter)

    report = report_path(out, part)
    code = run_batch(jobs, one, reporter, report=report)
    return code, json.loads(report.read_text()), tools.restorer.calls


def statuses(report):
    return {Path(film["input"]).name: film["status"] for film in report["films"]}


def test_a_folder_is_mirrored_and_one_failure_does_not_stop_the_rest(films, tmp_path):
    out = tmp_path / "out"
    code, report, _ = run(films, out)
    assert code == 1
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.mkv")) == [
        "a.mkv", "b.mkv", "x/c.mkv", "x/y/d.mkv"
    ]  # fmt: skip
    assert report["done"] == 4
    assert report["failed"] == 1
    (broken,) = (film for film in report["films"] if film["status"] == "failed")
    assert broken["exit_code"] == 3
    assert "not a readable video" in broken["message"]


def test_what_is_done_is_not_done_again(films, tmp_path):
    out = tmp_path / "out"
    run(films, out)
    film_of(films / "b.mp4", seed=77)
    (out / "x" / "c.mkv").unlink()
    os.utime(films / "a.mp4", (1, 1))  # copied anew: the sum is the same
    code, report, _ = run(films, out)
    assert code == 1
    assert statuses(report) == {
        "a.mp4": "done before", "b.mp4": "failed", "c.mkv": "done", "d.mov": "done before",
        "broken.mp4": "failed",
    }  # fmt: skip
    again = RestoreOptions(profile="archive", overwrite=True)
    assert run(films, out, options=again)[1]["done"] == 4


def test_shards_share_the_films(films, tmp_path):
    out = tmp_path / "out"
    reports = [run(films, out, part=f"{i}/2")[1] for i in (1, 2)]
    assert sum(report["done"] for report in reports) == 4
    assert sum(report["count"] for report in reports) == 5
    assert (out / "facerestore-report-2-of-2.json").is_file()


def test_two_processes_on_one_folder_restore_each_film_once(films, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, str(CHEAP), str(films), str(out), "batch", "0.05"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    for process in processes:
        process.wait(120)
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("out.*.json")]
    assert len(reports) == 2
    assert sum(report["done"] for report in reports) == 4
    for report in reports:
        assert report["done"] + report["done_before"] + report["elsewhere"] == 4
    assert len(list(out.rglob("*.mkv"))) == 4
    assert not [path for path in out.rglob("*") if path.name.endswith(".facerestore")]


WRITE_OFTEN = """
import sys
from pathlib import Path
from facerestore.batch import write_report

for number in range(300):
    write_report(Path(sys.argv[1]), {"number": number})
"""


def test_processes_that_write_one_report_at_once(tmp_path):
    command = [sys.executable, "-c", WRITE_OFTEN, str(tmp_path / "r.json")]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_film_whose_process_was_killed_is_taken_over(films, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, str(CHEAP), str(films), str(out), "batch", "0.1"]
    process = subprocess.Popen(command)
    folder = work_folder(out / "a.mkv")
    while not list(folder.glob("0*.json")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert folder.is_dir()
    assert run(films, out)[1]["done"] == 4
    assert not folder.exists()


@pytest.fixture
def sandbox():
    boxes = []

    def make(**limits):
        boxes.append(Sandbox(OPTIONS, Limits(**limits), load=cheap))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


HOSTILE = {
    "crash.mp4": ((288, 144), 1, "crashed (signal 11)"),
    "hang.mp4": ((144, 288), 1, "no progress for 12 s"),
    "greed.mp4": ((144, 192), 5, "more than 1.5 GiB"),
}


def test_hostile_films_cost_themselves_only(tmp_path, sandbox):
    """One crashes, one hangs, one takes memory without end; those between are restored."""
    root, out = tmp_path / "in", tmp_path / "out"
    for name, (size, _, _) in HOSTILE.items():
        film_of(root / name, size=size)
        film_of(root / f"good {name}")
    box, reporter = sandbox(memory_gib=1.5, stall_seconds=12), choose_reporter(
        as_json=False, quiet=True
    )  # fmt: skip
    jobs = find_jobs([root], out)
    report = out / "facerestore-report.json"
    code = run_batch(jobs, lambda job: box.attempt(job, reporter), reporter, report=report)
    assert code == 1
    told = {Path(film["input"]).name: film for film in json.loads(report.read_text())["films"]}
    for name, (_, exit_code, words) in HOSTILE.items():
        assert told[f"good {name}"]["status"] == "done"
        assert told[name]["exit_code"] == exit_code
        assert words in told[name]["message"]
        assert not (out / name).with_suffix(".mkv").exists()


def test_a_process_that_dies_between_two_films_costs_neither(tmp_path, sandbox):
    box, quiet = sandbox(), choose_reporter(as_json=False, quiet=True)
    film_of(tmp_path / "in" / "a.mp4"), film_of(tmp_path / "in" / "b.mp4")
    one, two = find_jobs([tmp_path / "in"], tmp_path / "out")
    assert box.attempt(one, quiet).status == "done"
    box.process.kill()
    box.process.join()
    assert box.attempt(two, quiet).status == "done"


def test_a_process_that_is_told_to_end_many_times_says_nothing(tmp_path, sandbox, capfd):
    """`stop` and `close` may come one upon the other, the second while it is ending already."""
    box = sandbox()
    (job,) = find_jobs([film_of(tmp_path / "a.mp4")], tmp_path / "one.mkv")

    class Teller:
        def note(self, text):
            pass

        def step(self, step):
            for _ in range(200):
                box.process.terminate()
                time.sleep(0.001)

    assert box.attempt(job, Teller()).status == "failed"
    assert capfd.readouterr().err == ""


def test_a_sandbox_says_and_does_the_same(tmp_path, sandbox):
    film = film_of(tmp_path / "a.mp4")
    (job,) = find_jobs([film], tmp_path / "one.mkv")
    here = attempt(
        job, OPTIONS, lambda: cheap(OPTIONS), choose_reporter(as_json=False, quiet=True)
    ).result
    (job,) = find_jobs([film], tmp_path / "two.mkv")
    there = sandbox().attempt(job, choose_reporter(as_json=False, quiet=True)).result
    pictures = [
        [frame.to_ndarray() for frame in open_video(result.output).frames()]
        for result in (here, there)
    ]
    assert len(pictures[0]) == 60
    assert all((a == b).all() for a, b in zip(*pictures, strict=True))
    assert here.faces == there.faces
    assert here.warnings == there.warnings


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_batch_leaves_no_process_and_goes_on_later(
    example, tmp_path, how, hearing_ctrl_c
):
    """With the real command, the bundled model and its sandbox."""
    root = tmp_path / "in"
    root.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (root / name).write_bytes(example.read_bytes())
    command = [sys.executable, "-m", "facerestore", "restore", str(root), "--json"]
    command += ["-o", str(tmp_path / "out"), "--end", "0.4", "-m", "mini"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hearing_ctrl_c,
    )
    for line in process.stdout:
        if '"looking"' in line:
            break
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children")
                .read_text().split()]  # fmt: skip
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    end = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, children))
    assert not list((tmp_path / "out").glob("*.mp4"))
    if how == signal.SIGKILL:
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "out").glob("*.mp4"))) == 2
        assert sidecar_path(tmp_path / "out" / "a.mp4").is_file()
