"""`facerestore evaluate` as a user meets it: tables, JSON, CSV, exit codes, one sentence."""

import csv
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from facerestore.evaluation.scores import MEASURES, Scores, mean_scores, write_csv


def run(*arguments, folder):
    """The command, with no weights anywhere."""
    command = [sys.executable, "-m", "facerestore", "evaluate", *map(str, arguments)]
    bare = {"TORCH_HOME": str(folder / "torch"), "FACERESTORE_MODELS": str(folder / "models")}
    environment = {**os.environ, **bare}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture
def films(make_film, example_pictures, tmp_path):
    """Folders `out` (brighter by 10) and `ref` with films a and b, b without a face."""
    for name in ("out", "ref"):
        (tmp_path / name).mkdir()
    dim = [np.minimum(picture, 235) for picture in example_pictures[:5]]
    flat = [np.full_like(dim[0], 90)] * 2
    for name, pictures in (("a.mkv", dim), ("b.mkv", flat)):
        brighter = [picture + np.uint8(10) for picture in pictures]
        make_film(f"ref/{name}", pix_fmt="bgr0", pictures=pictures)
        make_film(f"out/{name}", pix_fmt="bgr0", pictures=brighter)
    return tmp_path


def test_folders_give_a_row_each_and_the_mean(films):
    table = films / "t.csv"
    how = ["--region", "frame", "--csv", table, "--json"]
    done = run(films / "out", films / "ref", *how, folder=films)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    first, second = (e for e in events if e["event"] == "scores")
    assert (first["film"], second["film"]) == ("a.mkv", "b.mkv")
    expected = 20 * np.log10(255 / 10)
    assert first["psnr"] == pytest.approx(expected)
    assert first["frames"] == first["landmark_views"] == 5
    assert second["eyes_distance"] is None
    assert first["lpips"] is first["ids"] is None
    assert any("alexnet" in text for text in first["missing"])
    assert events[-1]["event"] == "mean"
    assert events[-1]["films"] == 2
    assert events[-1]["psnr"] == pytest.approx(expected)
    assert events[-1]["eyes_distance"] == first["eyes_distance"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["psnr"] for row in rows] == [str(first["psnr"]), str(second["psnr"])]
    assert rows[1]["eyes_distance"] == rows[0]["lpips"] == ""
    assert sorted(p.name for p in films.iterdir()) == ["out", "ref", "t.csv"]


def test_a_film_without_the_true_one(films):
    done = run(films / "out" / "a.mkv", "--json", folder=films)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    scores = next(event for event in events if event["event"] == "scores")
    assert scores["ref"] is scores["psnr"] is None
    assert scores["warp_error"] >= 0
    assert scores["sharpness"] > 0
    notes = [event["message"] for event in events if event["event"] == "note"]
    assert len(notes) == 1
    assert "identity drift" in notes[0]


def test_one_bad_pair_does_not_stop_the_others(films):
    done = run(films / "out", films / "ref", folder=films)
    assert done.returncode == 1
    assert "b.mkv: no face found" in done.stderr
    assert "not measured: IDS, VIDD and identity drift, LPIPS, AKD" in done.stderr
    assert "PSNR" in done.stdout
    assert "28.1" in done.stdout
    assert "LPIPS" not in done.stdout


def test_a_mask_adds_columns(films):
    mask = np.zeros((360, 640), np.uint8)
    mask[120:240, 240:400] = 255
    cv2.imwrite(str(films / "mask.png"), mask)
    pair = films / "out" / "a.mkv", films / "ref" / "a.mkv"
    done = run(*pair, "--mask", films / "mask.png", "-q", folder=films)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "in the hole" in done.stdout
    assert "28.1" in done.stdout.split("in the hole")[1]
    assert "…" not in done.stdout


@pytest.mark.parametrize(
    ("out", "ref", "options", "code", "words"),
    [
        ("out/a.mkv", "ref/c.mkv", [], 3, "c.mkv: no such file"),
        ("out", "ref/a.mkv", [], 2, "is a folder"),
        ("out", "empty", [], 3, "no film of that name"),
        ("out/a.mkv", "ref/a.mkv", ["--mask", "none.png"], 3, "none.png"),
        ("out/a.mkv", "ref/a.mkv", ["--csv", "out"], 2, "is a folder"),
        ("out/a.mkv", "ref/a.mkv", ["--csv", "out/b.mkv"], 2, "--overwrite"),
        ("out/a.mkv", "ref/a.mkv", ["--device", "cuda:7"], 5, "cuda:7"),
        ("small.mkv", "ref/a.mkv", [], 3, "scale=640:360"),
    ],
)
def test_bad_input_is_one_sentence(films, make_film, out, ref, options, code, words):
    (films / "empty").mkdir()
    make_film("small.mkv", size=(320, 180), count=1)
    options = [films / o if not o.startswith("-") and "cuda" not in o else o for o in options]
    before = sorted(films.rglob("*"))
    done = run(films / out, films / ref, *options, "-q", folder=films)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert sorted(films.rglob("*")) == before


def test_means_count_each_film_once_and_leave_out_what_is_missing(tmp_path):
    many, few = (
        Scores(tmp_path, tmp_path, "face", n, 0, 0, views=n, psnr=p, ids=i)
        for n, p, i in ((900, 30.0, None), (10, 20.0, 0.5))
    )
    means = mean_scores([many, few])
    assert (means["films"], means["psnr"], means["ids"], means["lpips"]) == (2, 25.0, 0.5, None)
    assert {"ssim", "hole_ssim", "ref_vidd"} < set(MEASURES)
    assert not {"frames", "equal", "warnings"} & set(MEASURES)


def test_a_csv_file_that_cannot_be_finished_is_not_there(tmp_path):
    class Broken(Scores):
        def as_dict(self):
            raise RuntimeError("interrupted")

    broken = Broken(tmp_path, tmp_path, "face", 1, 0, 0)
    with pytest.raises(RuntimeError):
        write_csv(tmp_path / "t.csv", [broken], overwrite=False)
    assert list(tmp_path.iterdir()) == []
