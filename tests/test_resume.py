"""An interrupted film goes on where it stopped, and comes out as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from facerestore.doctor import cleaned
from facerestore.errors import BadInputError, BusyError, DoneError, UsageError
from facerestore.frames import Tasks
from facerestore.options import RestoreOptions
from facerestore.places import sidecar_path, work_folder
from facerestore.restore import restore
from facerestore.video.layout import plane_views

sys.path.insert(0, str(Path(__file__).parent))
from cheap import cheap_tools

HERE = Path(__file__).parent
FRAMES = 150


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three shots with variable frame times and sound; in the second there are two people."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    rng = np.random.default_rng(3)
    shots = [cv2.resize(rng.integers(60, 200, (6, 8, 3), np.uint8), (192, 144)) for _ in range(3)]
    shots[0][:, 96:] |= 128
    shots[1][:, 96:] //= 4
    shots[2][:, 96:] |= 128
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"g": "20"})
        video.width, video.height, video.pix_fmt = 192, 144, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=16000, layout="mono")
        packets = []
        for i in range(FRAMES):
            shot = shots[(i >= 70) + (i >= 110)]
            picture = np.roll(shot, i % 5, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i * 40 + (i % 3) * 7, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        wave = (np.sin(np.arange(16000 * 6) / 20) / 3).astype(np.float32)[None]
        tone = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        tone.sample_rate, tone.pts = 16000, 0
        packets += [*sound.encode(tone), *sound.encode(None)]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return path


def run(source, output, *, say=None, profile="archive", **how):
    stop = {name: how.pop(name) for name in ("stop_at", "error") if name in how}
    tools = cheap_tools(**stop)
    options = RestoreOptions(profile=profile, identity_guard="blend", **how)
    said = [] if say is None else say
    return restore(source, output, options, tools=lambda: tools, say=said.append), tools.restorer


def contents(path):
    """Times and planes of all frames, and all packets of all streams."""
    with av.open(str(path)) as container:
        planes = [
            (f.pts * f.time_base, [v.copy() for v in plane_views(f)])
            for f in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        packets = [
            (p.stream.index, p.pts, p.dts, p.duration, p.is_keyframe, bytes(p))
            for p in container.demux()
            if p.size
        ]
    return planes, packets


def same(one, two):
    (frames, packets), (others, other_packets) = contents(one), contents(two)
    assert len(frames) == len(others) == FRAMES
    for (t, a), (u, b) in zip(frames, others, strict=True):
        assert t == u
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert packets == other_packets


def told(path):
    record = json.loads(sidecar_path(path).read_text())
    for name in ("seconds", "output", "input"):
        del record[name]
    return record


PROFILES = {"archive": ".mkv", "lossless": ".mp4", "share": ".mp4", "small": ".mp4", "edit": ".mov"}


@pytest.fixture(scope="module")
def whole(film, tmp_path_factory):
    """profile -> the film restored in one go."""
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def get(profile):
        if profile not in made:
            made[profile] = run(film, folder / f"o{PROFILES[profile]}", profile=profile,
                                overwrite=True)[0].output  # fmt: skip
            made[profile] = made[profile].rename(folder / f"{profile}{PROFILES[profile]}")
            side = folder / f"o{PROFILES[profile]}.facerestore.json"
            side.rename(sidecar_path(made[profile]))
        return made[profile]

    return get


@pytest.mark.parametrize("profile", PROFILES)
def test_three_interruptions_leave_no_trace_in_the_film(film, whole, tmp_path, profile):
    output, said = tmp_path / f"o{PROFILES[profile]}", []
    for stop_at in (12, 16, 8):
        with pytest.raises(KeyboardInterrupt):
            run(film, output, profile=profile, stop_at=stop_at)
        assert os.listdir(tmp_path) == [work_folder(output).name]
    run(film, output, profile=profile, say=said)
    same(output, whole(profile))
    assert told(output) == told(whole(profile))
    assert sorted(os.listdir(tmp_path)) == [output.name, sidecar_path(output).name]
    (text,) = said
    assert "going on" in text
    assert int(text.split()[-1]) >= 96


def test_new_colours_and_where_they_go_fade_over_from_what_is_kept(film, tmp_path):
    coloured, said = {"tasks": Tasks(color=True)}, []
    with pytest.raises(KeyboardInterrupt):
        run(film, tmp_path / "o.mkv", stop_at=12, **coloured)
    run(film, tmp_path / "o.mkv", say=said, **coloured)
    assert "going on" in said[0]
    run(film, tmp_path / "whole.mkv", **coloured)
    same(tmp_path / "o.mkv", tmp_path / "whole.mkv")


def test_no_chunk_is_restored_twice(film, tmp_path):
    output = tmp_path / "o.mkv"
    once, whole = run(film, tmp_path / "whole.mkv")
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=whole.calls - 1)
    result, rest = run(film, output)
    assert rest.calls <= 8  # a segment of 48 frames is five chunks of 12 that share 4
    assert result.cost == once.cost


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"strength": 0.5}, {"profile": "lossless"}, {"end_seconds": 4.0}]
)
def test_other_options_start_over_and_say_so(film, tmp_path, change):
    output, said = tmp_path / "o.mkv", []
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=12)
    run(film, output, say=said, **change)
    (name,) = change
    assert len(said) == 1
    assert f"options ({name})" in said[0]
    assert "starting over" in said[0]
    run(film, tmp_path / "p.mkv", **change)
    assert contents(output)[1] == contents(tmp_path / "p.mkv")[1]


def test_another_input_starts_over_and_says_so(film, tmp_path):
    source, output, said = tmp_path / "in.mp4", tmp_path / "o.mkv", []
    source.write_bytes(film.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        run(source, output, stop_at=12)
    source.write_bytes(film.read_bytes() + b"\0\0\0\x10free        ")
    run(source, output, say=said)
    assert said == ["o.mkv: input changed since; starting over"]


@pytest.mark.parametrize("part", ["000000.packets", "000000.json", "people.000000.npz"])
def test_damaged_work_is_not_used(film, whole, tmp_path, part):
    output = tmp_path / "o.mkv"
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=10)
    path = work_folder(output) / part
    if part.startswith("people"):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    run(film, output)
    same(output, whole("archive"))


def test_without_resume_nothing_is_left_and_nothing_is_used(film, whole, tmp_path):
    output, said = tmp_path / "o.mkv", []
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=12, resume=False)
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=12)
    _, restorer = run(film, output, resume=False, say=said)
    assert restorer.calls > 12
    assert said == []
    same(output, whole("archive"))


def test_kept_work_is_joined_again_without_the_model(film, whole, tmp_path):
    output = tmp_path / "o.mkv"
    run(film, output, keep_work=True)
    assert work_folder(output).is_dir()
    output.unlink()
    _, restorer = run(film, output)
    assert restorer.calls <= 3  # the last, short segment was closed without being told of
    same(output, whole("archive"))
    assert not work_folder(output).exists()


def test_a_film_that_is_done_is_not_done_again(film, tmp_path):
    output = tmp_path / "o.mkv"
    run(film, output)
    before = output.stat()
    with pytest.raises(DoneError, match="done already"):
        run(film, output)
    with pytest.raises(UsageError, match="exists already"):
        run(film, output, seed=2)
    assert output.stat().st_mtime_ns == before.st_mtime_ns
    run(film, output, seed=2, overwrite=True)
    assert json.loads(sidecar_path(output).read_text())["options"]["seed"] == 2


def test_what_is_done_leaves_begun_work_of_other_options_alone(film, tmp_path):
    output, said = tmp_path / "o.mkv", []
    run(film, output)
    with pytest.raises(KeyboardInterrupt):
        run(film, output, seed=2, overwrite=True, stop_at=12)
    with pytest.raises(DoneError):
        run(film, output, say=said)
    assert said == []
    _, restorer = run(film, output, seed=2, overwrite=True, say=said)
    assert said[0].startswith("o.mkv: going on with work from before")
    assert restorer.calls < 30


def test_an_input_that_changes_while_it_is_read(film, tmp_path):
    source, output = tmp_path / "in.mp4", tmp_path / "o.mkv"
    source.write_bytes(film.read_bytes())

    def touch(step):
        os.utime(source, (1, 1))

    tools = cheap_tools()
    with pytest.raises(BadInputError, match="changed while"):
        restore(source, output, RestoreOptions(), tools=lambda: tools, listen=touch)
    assert os.listdir(tmp_path) == ["in.mp4"]


def killed(arguments, after):
    """Start the cheap restorer and kill -9 it `after` so many segments have been finished."""
    output = Path(arguments[1])
    process = subprocess.Popen([sys.executable, str(HERE / "cheap.py"), *map(str, arguments)])
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if len(list(work_folder(output).glob("0*.json"))) >= after:
            process.kill()
        time.sleep(0.005)
    return process.wait(5)


@pytest.mark.parametrize("profile", ["archive", "share"])
def test_kill_9_for_real(film, whole, tmp_path, profile):
    output = tmp_path / f"o{PROFILES[profile]}"
    for after in (1, 2):
        assert killed([film, output, profile, 0.02], after) == -signal.SIGKILL
        assert os.listdir(tmp_path) == [work_folder(output).name]
    said = []
    run(film, output, profile=profile, say=said)
    assert int(said[0].split()[-1]) >= 96
    same(output, whole(profile))
    assert sorted(os.listdir(tmp_path)) == [output.name, sidecar_path(output).name]


def test_two_processes_do_not_work_on_one_film(film, tmp_path):
    output = tmp_path / "o.mkv"
    command = [sys.executable, str(HERE / "cheap.py"), str(film), str(output), "archive", "0.2"]
    with subprocess.Popen(command) as process:
        while not list(work_folder(output).glob("survey.npz")) and process.poll() is None:
            time.sleep(0.01)
        with pytest.raises(BusyError, match=str(process.pid)):
            run(film, output)
        assert cleaned(tmp_path)["work_folders_removed"] == []
        assert process.wait(60) == 0
    with pytest.raises(DoneError):
        run(film, output)


def test_doctor_removes_what_was_left(film, tmp_path):
    output = tmp_path / "below" / "o.mkv"
    with pytest.raises(KeyboardInterrupt):
        run(film, output, stop_at=12)
    mine = tmp_path / ".mine.facerestore"
    mine.mkdir()
    parts = [tmp_path / "below" / f".film.{number}.part.mp4" for number in (12, 13)]
    parts.append(tmp_path / ".film.part.mp4")  # not a name of ours
    for path in parts:
        path.write_bytes(b"half")
    for path in parts[1:]:
        os.utime(path, (1, 1))  # long ago
    (tmp_path / "below" / "loop").symlink_to(tmp_path)
    done = cleaned(tmp_path)
    assert done["work_folders_removed"] == [str(work_folder(output))]
    assert done["part_files_removed"] == [str(parts[1])]
    assert [path.exists() for path in parts] == [True, False, True]
    assert not work_folder(output).exists()
    assert mine.is_dir()
