"""Many methods in one table: what is found, what is left out, and how it is written."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from facerestore.errors import BadInputError, UsageError
from facerestore.evaluation.dataset import Entry, Line, find_entries, line_of, table_of
from facerestore.evaluation.published import MEASURES, NUMBERS
from facerestore.evaluation.scores import Scores
from facerestore.evaluation.tables import as_csv, as_latex, as_markdown, writer_for

LINE = Line("bfr", "our_net & co", dict.fromkeys(MEASURES, 0.5) | {"lpips": None}, 2, 90, 4)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_methods_and_tasks_are_found(tmp_path):
    touch(tmp_path, "truth/a.mp4", "mini/bfr/a.mkv", "mini/inpaint,bfr/a.restored.mp4")
    touch(tmp_path, "classic/bfr/a.mp4", ".hidden/bfr/a.mp4", "notes.txt")
    found = [(entry.task, entry.method) for entry in find_entries(tmp_path)]
    assert found == [("bfr", "classic"), ("bfr", "mini"), ("bfr,inpaint", "mini")]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["mini/bfr/a.mp4"], "no folder 'truth'"),
        (["truth/a.mp4"], "no outputs; put films into METHOD/TASK"),
        (["truth/a.mp4", "mini/sharp/a.mp4"], "sharp: not the name of a task"),
        (["truth/a.mp4", "truth/b.mp4", "mini/bfr/a.mp4"], "b.mp4: no film of that name"),
    ],
)
def test_folders_of_another_shape_are_one_sentence(tmp_path, names, words):
    touch(tmp_path, *names)
    with pytest.raises(BadInputError, match=words):
        find_entries(tmp_path)


def test_a_line_is_the_mean_of_films_and_the_fvd_of_all_clips(tmp_path):
    one, two = (np.full((1, 3), value) for value in (1.0, 3.0))
    zero = np.zeros((1, 3))
    films = [
        Scores(tmp_path, tmp_path, "face", 40, psnr=30.0, fvd_clips=1, features=(one, zero)),
        Scores(tmp_path, tmp_path, "face", 50, psnr=20.0, fvd_clips=1, features=(two, zero)),
    ]
    line = line_of(Entry("mini", "bfr", []), films)
    assert (line.films, line.frames, line.fvd_clips) == (2, 90, 2)
    assert line.numbers["psnr"] == 25
    assert line.numbers["fvd"] == pytest.approx(3 * 2**2 + 3 * 2)  # mean 2, variance 2, thrice
    assert line.numbers["lpips"] is None


def test_published_numbers_stand_above_those_of_the_same_task():
    table = table_of([LINE], region="face", size=256, hardware="a test")
    methods = [line.method for line in table.lines]
    assert methods == [*(f"{name} (published)" for name in NUMBERS["bfr"]), "our_net & co"]
    assert "squares of 256 px" in table.words[0]
    assert "a test" in table.words[0]
    assert "2501.01235" in table.words[1]
    other = table_of([Line("bfr,color", "x", LINE.numbers, 1, 1, 0)], region="frame", size=256,
                     hardware="a test")  # fmt: skip
    assert [line.method for line in other.lines] == ["x"]
    assert not any("2501" in text for text in other.words)
    assert all(len(v) == len(MEASURES) for task in NUMBERS.values() for v in task.values())


def test_the_table_as_markdown_csv_and_latex():
    table = table_of([LINE], region="face", size=256, hardware="a test")
    drawn = as_markdown(table).splitlines()
    row = next(line for line in drawn if "our_net" in line)
    assert row == "| bfr | our_net & co | 0.500 | 0.500 | - | 0.500 | 0.500 | 0.50 | 2 | 90 | 4 |"
    assert (
        "| bfr | SVFR (published) | 29.563 | 0.862 | 0.223 | 0.902 | 0.479 | 89.32 | - | - | - |"
        in drawn
    )
    content = as_csv(table)
    rows = list(csv.DictReader(line for line in content.splitlines() if line[0] != "#"))
    assert (rows[-1]["method"], rows[-1]["LPIPS"], rows[-1]["frames"]) == ("our_net & co", "", "90")
    assert content.splitlines()[-1].startswith("# ")
    latex = as_latex(table)
    assert r"bfr & our\_net \& co & 0.500 & 0.500 & -- &" in latex
    assert latex.count(r"\\") == 1 + len(table.lines)
    assert all(
        line.count("&") - line.count(r"\&") == 10 for line in latex.splitlines() if r"\\" in line
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.md, \.csv, \.tex"):
        writer_for(tmp_path / "table.html")


@pytest.fixture
def dataset(make_film, example_pictures, tmp_path):
    """Two methods: one brighter by 10, one by 20 whose other film is broken."""
    pictures = [np.minimum(picture, 230) for picture in example_pictures[:3]]
    folder = tmp_path / "data"
    places = (("truth", 0), ("ten/bfr", 10), ("twenty/bfr", 20))
    for place, more in places:
        (folder / place).mkdir(parents=True)
        made = [picture + np.uint8(more) for picture in pictures]
        make_film(f"data/{place}/a.mkv", pix_fmt="bgr0", pictures=made)
    return folder


def run(*arguments, folder):
    command = [sys.executable, "-m", "facerestore", "evaluate", *map(str, arguments)]
    bare = {"TORCH_HOME": str(folder / "torch"), "FACERESTORE_MODELS": str(folder / "models")}
    return subprocess.run(command, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **bare})  # fmt: skip


def test_the_table_of_a_folder(dataset, tmp_path):
    shutil.copy(dataset / "truth" / "a.mkv", dataset / "truth" / "b.mkv")
    shutil.copy(dataset / "ten" / "bfr" / "a.mkv", dataset / "ten" / "bfr" / "b.mkv")
    (dataset / "twenty" / "bfr" / "b.mkv").write_bytes(b"broken")
    how = ["--dataset", dataset, "--region", "frame", "--csv", tmp_path / "films.csv"]
    done = run(*how, "--table", tmp_path / "t.md", "--json", folder=tmp_path)
    assert done.returncode == 1  # one film is broken, so its method has no line
    rows = [json.loads(line) for line in done.stdout.splitlines() if '"event": "row"' in line]
    measured = [row for row in rows if row["films"]]
    assert [(row["method"], row["films"], row["frames"]) for row in measured] == [("ten", 2, 6)]
    assert measured[0]["numbers"]["psnr"] == pytest.approx(20 * np.log10(25.5))
    drawn = (tmp_path / "t.md").read_text()
    assert re.search(r"\| bfr \| ten \| 28\.131 \|", drawn)
    assert "whole pictures" in drawn
    assert "twenty" not in drawn
    assert (tmp_path / "films.csv").read_text().count(".mkv") == 2 * 3
    assert "broken" not in done.stdout
    assert "b.mkv" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name a restored film OUT, or --dataset FOLDER"),
        (["out.mkv", "--dataset", "data"], 2, "one of them"),
        (["out.mkv", "--table", "t.md"], 2, "--table is for --dataset"),
        (["--dataset", "data", "--table", "t.html"], 2, ".tex"),
        (["--dataset", "data", "--mask", "m.png"], 2, "leave it out with --dataset"),
        (["--dataset", "none"], 3, "none: no folder 'truth'"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path, arguments, code, words):
    from typer.testing import CliRunner

    from facerestore.cli import app

    (tmp_path / "data").mkdir()
    places = [tmp_path / a if a in ("none", "data", "t.html") else a for a in arguments]
    done = CliRunner().invoke(app, ["evaluate", *map(str, places), "-q"])
    assert done.exit_code == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
