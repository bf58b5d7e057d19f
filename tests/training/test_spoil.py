"""`facerestore degrade` and `facerestore train` as a user meets them."""

import json
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from facerestore.cli import app
from facerestore.errors import UsageError
from facerestore.faces.detect import load_detector
from facerestore.frames import Tasks
from facerestore.training.spoil import degrade_film

ALL = ("bfr", "color", "inpaint", "bfr,color,inpaint")


@pytest.fixture(scope="module")
def detector():
    return load_detector("centerface")


def frames_of(path):
    with av.open(str(path)) as film:
        return [(f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]


def luma_of(path):
    with av.open(str(path)) as film:
        pictures = [f.to_ndarray() for f in film.decode(video=0)]  # planar: [3, H, W] or stacked
        height = film.streams.video[0].height
    return np.stack([p[0] if p.ndim == 3 else p[:height] for p in pictures])


def sound_of(path):
    with av.open(str(path)) as film:
        return [bytes(p) for p in film.demux(audio=0) if p.size]


@pytest.fixture
def short(example, tmp_path):
    """The example's first second, streams copied: with sound."""
    path = tmp_path / "short.mp4"
    with av.open(str(example)) as film, av.open(str(path), "w") as out:
        streams = {
            s.index: out.add_stream_from_template(s)
            for s in film.streams
            if s.type in ("video", "audio")
        }
        for packet in film.demux(*[film.streams[i] for i in streams]):
            if packet.dts is not None and packet.pts * packet.time_base < Fraction(12, 25):
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


@pytest.mark.parametrize("task", ALL)
def test_frames_times_and_sound_stay(short, tmp_path, detector, task):
    out = tmp_path / "bad.mp4"
    spoilt = degrade_film(short, out, Tasks.parse(task), detector=detector, seed=3)
    good, bad = frames_of(short), frames_of(out)
    assert spoilt.frames == len(good) == len(bad)
    assert [time for time, _ in bad] == [time for time, _ in good]
    assert sound_of(out) == sound_of(short)
    assert all(
        np.abs(a.astype(int) - b).mean() > 0.3 for (_, a), (_, b) in zip(good, bad, strict=True)
    )
    if task == "color":
        assert max(np.ptp(picture, axis=-1).max() for _, picture in bad) <= 3
    assert spoilt.face_side > 100
    assert ("blind" in spoilt.draw) == ("bfr" in task)
    assert (spoilt.mask is not None) == ("inpaint" in task)
    assert spoilt.mask is None or spoilt.mask == tmp_path / "bad.mask.png"


def test_the_mask_is_white_exactly_where_the_film_is(
    make_film, tmp_path, detector, example_pictures
):
    dim = [np.minimum(picture, 200) for picture in example_pictures[:3]]
    film = make_film(pix_fmt="yuv444p", pictures=dim)
    out, tasks = tmp_path / "bad.mkv", Tasks.parse("inpaint")
    spoilt = degrade_film(film, out, tasks, detector=detector, seed=1)
    mask = cv2.imread(str(spoilt.mask), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (360, 640)
    assert set(np.unique(mask)) == {0, 255}
    for luma in luma_of(out):
        assert np.array_equal(luma == 235, mask == 255)


def test_the_same_seed_makes_the_same_film(make_film, tmp_path, detector):
    film = make_film(count=4)
    made = {}
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        degrade_film(
            film, tmp_path / f"{name}.mkv", Tasks.parse("bfr"), detector=detector, seed=seed
        )
        made[name] = luma_of(tmp_path / f"{name}.mkv")
    assert np.array_equal(made["a"], made["b"])
    assert not np.array_equal(made["a"], made["c"])


@pytest.mark.parametrize("size", [(321, 241), (640, 361), (162, 90)])
def test_odd_and_small_pictures_and_films_without_a_face(make_film, tmp_path, detector, size):
    flat = [np.full((90, 160, 3), 90, np.uint8)] * 3
    film = make_film(size=size, pix_fmt="yuv444p", pictures=flat, count=3)
    for seed in range(6):
        out = tmp_path / f"bad{seed}.mkv"
        spoilt = degrade_film(film, out, Tasks.parse("bfr,inpaint"), detector=detector, seed=seed)
        assert frames_of(out)[0][1].shape == (size[1], size[0], 3)
        assert spoilt.face_side == min(size)


def test_a_heavier_severity_is_worse(make_film, tmp_path, detector):
    film = make_film(count=3)
    good = luma_of(film).astype(int)
    errors = []
    for severity in ("light", "heavy"):
        total = 0.0
        for seed in range(4):
            out = tmp_path / f"{severity}{seed}.mkv"
            how = {"severity": severity, "seed": seed}
            degrade_film(film, out, Tasks.parse("bfr"), detector=detector, **how)
            total += float(np.square(luma_of(out) - good).mean())
        errors.append(total)
    assert errors[1] > 1.5 * errors[0]


def test_a_refused_film_leaves_no_mask(make_film, tmp_path, detector):
    film = make_film(count=2)
    out = tmp_path / "bad.mkv"
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        degrade_film(film, out, Tasks.parse("inpaint"), detector=detector)
    assert {p.name for p in tmp_path.iterdir()} == {"film.mkv", "bad.mkv"}
    out.unlink()
    (tmp_path / "bad.mask.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"bad\.mask\.png: exists already"):
        degrade_film(film, out, Tasks.parse("inpaint"), detector=detector)
    assert not out.exists()
    degrade_film(film, out, Tasks.parse("inpaint"), detector=detector, overwrite=True)
    assert cv2.imread(str(tmp_path / "bad.mask.png")) is not None


# --- commands ---


def run(*arguments, cwd=None):
    command = [sys.executable, "-m", "facerestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def within(*arguments):
    """The command in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_degrade_tells_what_it_made(make_film, tmp_path):
    film = make_film(count=3)
    done = run("degrade", film, "-o", tmp_path / "bad.mkv", "-t", "bfr,inpaint", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "start"
    facts = events[-1]
    assert facts["frames"] == 3
    assert facts["mask"] == str(tmp_path / "bad.mask.png")
    assert set(facts["draw"]) == {"blind"}
    assert {e["stage"] for e in events if e["event"] == "progress"} == {"looking", "degrading"}


def test_a_part_of_a_film_is_spoilt(make_film, tmp_path):
    film = make_film(count=12)
    times = [float(time) for time, _ in frames_of(film)]
    bad = tmp_path / "bad.mkv"
    limits = "--start", str(times[4]), "--end", str(times[9])
    done = within("degrade", film, "-o", bad, "-t", "color", *limits, "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["frames"] == len(frames_of(bad)) == 5
    assert set(facts["draw"]) == {"stock"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.mkv", "-o", "bad.mkv"], 3, "none.mkv: no such file"),
        (["film.mkv", "-o", "bad.mkv", "-t", "blur"], 2, "unknown task 'blur'"),
        (["film.mkv", "-o", "bad.mkv", "-t", ""], 2, "no task given"),
        (["film.mkv", "-o", "film.mkv"], 2, "is the input itself"),
        (["film.mkv", "-o", "text.txt/bad.mkv"], 5, "text.txt"),
        (["text.txt", "-o", "bad.mkv"], 3, "text.txt"),
    ],
)
def test_bad_input_is_one_sentence(make_film, tmp_path, monkeypatch, arguments, code, words):
    make_film(count=2)
    (tmp_path / "text.txt").write_text("no film")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = within("degrade", "-q", *arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_help_of_train_names_its_commands():
    done = within("train", "--help")
    assert done.exit_code == 0
    for word in ("run", "distill", "prepare", "CONFIG.toml"):
        assert word in done.stdout
    assert "--max-minutes" in within("train", "run", "--help").stdout
    assert "--severity" in within("degrade", "--help").stdout


@pytest.mark.parametrize("short_form", [True, False])
def test_a_configuration_is_run_with_or_without_the_word(tmp_path, monkeypatch, short_form):
    monkeypatch.chdir(tmp_path)
    words = ["train"] if short_form else ["train", "run"]
    done = within(*words, "c.toml")
    assert done.exit_code == 3
    assert "c.toml: no such file; configs/mini.toml is one to begin with" in done.stderr
    done = within(*words, "--data", ".", "c.toml")  # options may come first
    assert "c.toml: no such file" in done.stderr


def test_a_run_by_command_ends_with_what_to_do_next(toml, shards, tmp_path, monkeypatch):
    (tmp_path / "tiny.toml").write_text(toml.read_text())
    monkeypatch.chdir(tmp_path)
    done = within("train", "tiny.toml", "--data", shards, "--max-minutes", "0", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "runs/tiny/model: try it with: restore FILM -m runs/tiny/model" in done.stdout
    assert (tmp_path / "runs" / "tiny" / "model" / "facerestore.json").is_file()


def test_distilling_needs_a_teacher_and_two_steps(toml, tmp_path, monkeypatch):
    (tmp_path / "tiny.toml").write_text(toml.read_text())
    monkeypatch.chdir(tmp_path)
    done = within("train", "distill", "tiny.toml")
    assert done.exit_code == 2
    assert "tiny.toml: network.start has to name the teacher's folder" in done.stderr
    assert within("train", "distill", "tiny.toml", "--steps", "1").exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_prepare_by_command(tmp_path, example):
    picture = frames_of(example)[0][1]
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    (tmp_path / "b.png").write_bytes(b"broken")
    out = tmp_path / "shards"
    done = within("train", "prepare", tmp_path / "a.png", "-o", out, "--validation", "0", "--json")
    assert done.exit_code == 0, done.output
    assert (out / "train-000000.tar").is_file()
    both = within("train", "prepare", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "t")
    assert both.exit_code == 1  # some failed
    none = within("train", "prepare", tmp_path / "b.png", "-o", tmp_path / "u")
    assert none.exit_code == 3
    assert "no face clip" in none.stderr
