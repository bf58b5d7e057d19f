"""What goes wrong on real machines: full and read-only disks, inputs that change, odd names."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cheap import cheap_tools, film_of
from facerestore import lease
from facerestore.attempt import attempt
from facerestore.batch import run_batch
from facerestore.console import choose_reporter
from facerestore.errors import BadInputError, ResourceError
from facerestore.films import find_jobs
from facerestore.options import RestoreOptions
from facerestore.places import sidecar_path, work_folder
from facerestore.restore import restore
from facerestore.video.reader import open_video


def run(source, output, *, listen=lambda step: None, profile="archive", say=None, **how):
    tools, said = cheap_tools(**how), [] if say is None else say
    options = RestoreOptions(profile=profile)
    return restore(source, output, options, tools=lambda: tools, listen=listen, say=said.append)


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a disk of so many kB, or mounts it again otherwise."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
            capture_output=True,
        )
        if done.returncode:
            pytest.skip("only root may mount disks")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def pictures(path):
    return [frame.to_ndarray() for frame in open_video(path).frames()]


@pytest.mark.parametrize("kilobytes", [300, 1000, 1500, 2000, 2600])
def test_a_full_disk_keeps_the_work_until_there_is_room(tmp_path, disk, kilobytes):
    """Full before the start, in a segment, and when the segments are joined."""
    film = film_of(tmp_path / "in.mp4", frames=120)
    folder = disk(f"size={kilobytes}k")
    with pytest.raises(ResourceError, match=r"disk is full|MB are needed") as caught:
        run(film, folder / "o.mkv")
    assert caught.value.exit_code == 5
    assert [name for name in os.listdir(folder) if not name.startswith(".")] == []
    disk("remount", "size=20m")
    run(film, folder / "o.mkv")
    assert len(pictures(folder / "o.mkv")) == 120
    assert sorted(os.listdir(folder)) == ["o.mkv", "o.mkv.facerestore.json"]


def test_a_disk_without_room_for_the_holders_name(tmp_path, disk):
    """It must not look as if another process were at the film."""
    film, folder = film_of(tmp_path / "in.mp4"), disk("size=1000k")
    with suppress(OSError), (folder / "other").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    with pytest.raises(ResourceError, match="disk is full"):
        run(film, folder / "out.mkv")
    (folder / "other").unlink()
    run(film, folder / "out.mkv", profile="share")


def test_a_report_that_cannot_be_written_costs_the_report_only(tmp_path, disk, capsys):
    film_of(tmp_path / "in" / "a.mp4"), film_of(tmp_path / "in" / "b.mp4")
    folder, tools = disk("size=4k"), cheap_tools()
    (folder / "other").write_bytes(bytes(4096))
    lines, jobs = choose_reporter(as_json=True, quiet=False), find_jobs([tmp_path / "in"], tmp_path)

    def one(job):
        return attempt(job, RestoreOptions(), lambda: tools, lines)

    with pytest.raises(ResourceError, match=r"report.json: the disk is full"):
        run_batch(jobs, one, lines, report=folder / "report.json")
    assert '"event": "summary", "count": 2, "done": 2' in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(BadInputError, match="is a pipe or a device"):
        open_video(tmp_path / "a.mp4")


def test_a_disk_that_becomes_read_only(tmp_path, disk, monkeypatch):
    film, folder = film_of(tmp_path / "in.mp4"), disk("size=20m")

    def lock(step):
        if step.stage == "restoring":
            disk("remount", "ro")

    with pytest.raises(ResourceError, match="may not be written"):
        run(film, folder / "o.mkv", listen=lock)
    with pytest.raises(ResourceError, match="may not be written"):
        run(film, folder / "p.mkv")
    disk("remount", "rw")
    (held,) = work_folder(folder / "o.mkv").glob("lease.*")  # could not be given back
    os.utime(held, (1, 1))
    monkeypatch.setattr(lease, "WATCHED_SECONDS", 0.5)
    run(film, folder / "o.mkv")
    assert len(pictures(folder / "o.mkv")) == 60


def test_an_input_that_vanishes(tmp_path):
    film = film_of(tmp_path / "in.mp4")

    def vanish(step):
        if step.stage == "restoring":
            film.unlink(missing_ok=True)

    with pytest.raises(BadInputError, match=r"vanished|no such file"):
        run(film, tmp_path / "o.mkv", listen=vanish)
    assert os.listdir(tmp_path) == []


def test_an_input_that_is_still_being_copied(tmp_path):
    film = film_of(tmp_path / "in.mkv")

    def grow(step):
        with film.open("ab") as file:
            file.write(b"\0" * 100)

    with pytest.raises(BadInputError, match="changed while"):
        run(film, tmp_path / "o.mkv", listen=grow)
    assert os.listdir(tmp_path) == ["in.mkv"]


@pytest.mark.parametrize("seed", range(3))
def test_damaged_packets_give_a_whole_film_or_a_sentence(tmp_path, seed):
    film = film_of(tmp_path / "in.mkv", frames=90)
    content, rng = bytearray(film.read_bytes()), np.random.default_rng(seed)
    for place in rng.integers(2000, len(content), 12):
        content[place] ^= 255
    film.write_bytes(content)
    try:
        result = run(film, tmp_path / "o.mkv")
    except BadInputError as error:
        assert "in.mkv" in str(error)
        assert os.listdir(tmp_path) == ["in.mkv"]
    else:
        record = json.loads(sidecar_path(result.output).read_text())
        assert len(pictures(result.output)) == record["frames"]


def test_too_little_memory_keeps_the_work(tmp_path):
    film, tools = film_of(tmp_path / "in.mp4", frames=90), cheap_tools(stop_at=9, error=MemoryError)
    (job,) = find_jobs([film], tmp_path / "o.mkv")
    quiet = choose_reporter(as_json=False, quiet=True)
    outcome = attempt(job, RestoreOptions(), lambda: tools, quiet)
    assert outcome.code == 5
    assert "memory" in outcome.message
    assert work_folder(tmp_path / "o.mkv").is_dir()


def test_long_and_odd_names(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    odd = ["ü" * 105, "a b'\"$(x)", "-rf", "日本語" * 20, "line\nbreak", "%04d", "a.b.c"]
    for name in odd:
        film_of(root / f"{name}.mp4", frames=8)
    film_of(root / ("w" * 251 + ".mp4"), frames=8)
    jobs, tools = find_jobs([root], out), cheap_tools()
    quiet = choose_reporter(as_json=False, quiet=True)

    def one(job):
        return attempt(job, RestoreOptions(), lambda: tools, quiet)

    assert run_batch(jobs, one, quiet, report=out / "report.json") == 1
    report = json.loads((out / "report.json").read_text())
    (failed,) = (film for film in report["films"] if film["status"] == "failed")
    assert "name too long" in failed["message"]
    assert {path.stem for path in out.glob("*.mp4")} == set(odd)


def test_too_many_streams(tmp_path):
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(600):
            out.add_attachment(f"{number}.ttf", "font/ttf", b"x")
        frame = av.VideoFrame(96, 64, "yuv420p")
        out.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(BadInputError, match="601 streams"):
        open_video(path)
