"""The command as a user meets it: exit codes, one sentence on stderr, no file left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from facerestore.errors import UsageError
from facerestore.places import sidecar_path
from facerestore.running import seconds_from


def run(*arguments, **how):
    command = [sys.executable, "-m", "facerestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **how)


@pytest.fixture(scope="module")
def restored(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    done = run("restore", example, "-o", folder / "o.mp4", "--end", "0.6", "--json")
    return done, folder


def test_a_film_is_restored_with_the_bundled_model(restored):
    done, folder = restored
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "done"
    assert events[-1]["people"] == 1
    assert {e["stage"] for e in events if e["event"] == "progress"} == {"looking", "restoring"}
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["o.mp4", "o.mp4.facerestore.json"]


def test_help_needs_no_torch():
    code = "import sys, facerestore.cli; sys.exit(any(m in sys.modules for m in "
    code += "('torch', 'numpy', 'av', 'cv2', 'diffusers')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    done = run("--help")
    assert done.returncode == 0
    assert "restore" in done.stdout


def bad(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def sound_only(tmp_path):
    import av
    import numpy as np

    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


INPUTS = {
    "missing": (lambda t: t / "nothing.mp4", "no such file"),
    "empty": (lambda t: bad(t, "empty.mp4", b""), "empty"),
    "text": (lambda t: bad(t, "text.mp4", b"hello " * 99), "not a readable video"),
    "sound": (sound_only, "no video stream"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_bad_input_is_one_sentence_and_code_3(tmp_path, kind):
    make, words = INPUTS[kind]
    source = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = run("restore", source, "-o", tmp_path / "o.mp4")
    assert done.returncode == 3
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--task", "sharpen"], 2, "sharpen"),
        (["--task", "inpaint"], 2, "--mask"),
        (["--profile", "archive", "-o", "o.mp4"], 2, ".mkv"),
        (["-o", "o.xyz"], 2, ".xyz"),
        (["--start", "soon"], 2, "soon"),
        (["--model", "nothing"], 4, "nothing"),
        (["--device", "cuda:7"], 5, "cuda:7"),
        (["--device", "banana"], 2, "banana"),
        (["--profile", "nope"], 2, "'--profile': 'nope' is not one of"),
    ],
)
def test_impossible_wishes_are_explained(example, tmp_path, options, code, words):
    done = run("restore", example, *options, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["frobnicate"], ["restore", "a.mp4", "--strength", "3"], ["restore", "--strenght", "1"]],
)
def test_typing_errors_are_one_sentence(words):
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(" --help\n")
    assert len(done.stderr.splitlines()) == 1


def test_one_bad_film_does_not_stop_the_others(example, tmp_path):
    out = tmp_path / "out"
    wrong = bad(tmp_path, "wrong.mp4", b"no film")
    done = run("restore", wrong, example, "-o", out, "--end", "0.3")
    assert done.returncode == 1
    assert "wrong.mp4" in done.stderr
    assert (out / "old_clip.mp4").is_file()


def test_names_that_cannot_be_printed(tmp_path):
    for name in (b"caf\xe9.mp4", b"z.mp4"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"no film")
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "COLUMNS": "400"}
    done = run("restore", tmp_path, "-o", tmp_path / "out", env=strict)
    assert done.returncode == 1
    assert "caf\\udce9.mp4: is not a readable" in done.stdout
    assert json.loads((tmp_path / "out" / "facerestore-report.json").read_text())["failed"] == 2


def test_large_faces_are_restored_in_larger_squares(make_film, tmp_path):
    widths = {}
    for name, size in (("small", (640, 360)), ("large", (1280, 720))):
        film, out = make_film(f"{name}.mkv", size=size, count=4), tmp_path / f"{name}.mp4"
        assert run("restore", film, "-o", out, "-m", "mini", "--crop-only").returncode == 0
        with av.open(str(out)) as made:
            widths[name] = made.streams.video[0].width
    assert widths == {"small": 256, "large": 384}


def test_several_steps_show_more_of_the_face(make_film, tmp_path):
    film, detail = make_film(size=(1280, 720), count=4), []
    for steps in ("1", "4"):
        out = tmp_path / f"{steps}.mp4"
        how = ("--steps", steps, "-m", "mini", "--profile", "lossless")
        assert run("restore", film, "-o", out, *how).returncode == 0
        with av.open(str(out)) as made:
            picture = next(made.decode(video=0)).to_ndarray(format="gray").astype(np.float64)
        left, top, side = json.loads(sidecar_path(out).read_text())["faces"][0]["squares"][0]
        face = picture[int(top) :, int(left) :][: int(side), : int(side)]
        detail.append(np.abs(cv2.Laplacian(face, cv2.CV_64F)).mean())
    assert detail[1] > detail[0] * 1.03, detail


def test_ctrl_c_leaves_nothing_but_the_work(example, tmp_path, hearing_ctrl_c):
    command = [sys.executable, "-m", "facerestore", "restore", str(example), "--json"]
    job = subprocess.Popen(
        [*command, "-o", str(tmp_path / "o.mp4")],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hearing_ctrl_c,
    )
    assert job.stdout is not None
    for line in job.stdout:
        if '"restoring"' in line:
            break
    job.send_signal(signal.SIGINT)
    rest, _ = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "interrupted" in rest
    assert [path.name for path in tmp_path.iterdir()] == [".o.mp4.facerestore"]
    done = run("doctor", tmp_path, "--clean")
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_that_other_commands_keep_nothing(example, tmp_path, hearing_ctrl_c):
    out = tmp_path / "bad.mp4"
    command = [sys.executable, "-m", "facerestore", "degrade", str(example), "-o", str(out)]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=hearing_ctrl_c)
    while not list(tmp_path.iterdir()) and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "interrupted; nothing is kept, start it again" in said
    assert list(tmp_path.iterdir()) == []


def test_dry_run_and_inspect_write_nothing(example, tmp_path):
    done = run("restore", example, "-o", tmp_path / "o.mp4", "--dry-run", "--json", "--end", "0.4")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["would"] == "restore bfr"
    assert facts["face_frames"] == 10
    assert list(tmp_path.iterdir()) == []
    done = run("inspect", example, "--end", "0.4")
    assert done.returncode == 0
    assert "h264 640x360" in done.stdout
    assert "aac" in done.stdout


def test_doctor_finds_everything():
    done = run("doctor", "--json")
    assert done.returncode == 0
    checks = {c["name"]: c["found"] for c in json.loads(done.stdout)["checks"]}
    assert "whole" in checks["model mini"]
    assert "loads" in checks["face detector"]


def test_a_damaged_model_is_told(example, tmp_path):
    import shutil

    from facerestore.models.checkpoint import BUNDLED

    folder = tmp_path / "model"
    shutil.copytree(BUNDLED, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = run("restore", example, "-m", folder, "-o", tmp_path / "o.mp4")
    assert done.returncode == 4
    assert "damaged" in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), (None, None)]
)
def test_times(text, seconds):
    assert seconds_from(text) == seconds


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-3", "", "nan", "inf", "4:99", "1:60:00"])
def test_what_is_no_time(text):
    with pytest.raises(UsageError):
        seconds_from(text)


def test_quiet_says_nothing(example, tmp_path):
    done = run("restore", example, "-o", tmp_path / "o.mp4", "--end", "0.3", "-q")
    assert done.returncode == 0
    assert done.stdout == done.stderr == ""


def test_a_closed_terminal_leaves_nothing_but_the_work(example, tmp_path):
    command = [sys.executable, "-m", "facerestore", "restore", str(example)]
    command += ["-o", str(tmp_path / "o.mp4"), "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests under nohup
    )
    for line in process.stdout:
        if '"restoring"' in line:
            break
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 130
    assert [path.name for path in tmp_path.iterdir()] == [".o.mp4.facerestore"]
