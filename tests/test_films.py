"""Which films a command means, and where their results go."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import BadInputError, UsageError
from facerestore.films import Job, find_jobs, share


def tree(root, *names):
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def places(jobs, out):
    return {str(job.source): f"{job.output.relative_to(out)}/{job.name}" for job in jobs}


def test_a_tree_is_mirrored(tmp_path):
    root = tree(tmp_path / "in", "a.mp4", "b/c.MKV", "b/d/e.avi", "b/notes.txt", ".hidden/f.mp4")
    out = tmp_path / "out"
    assert places(find_jobs([root], out), out) == {
        f"{root}/a.mp4": "./a",
        f"{root}/b/c.MKV": "b/c",
        f"{root}/b/d/e.avi": "b/d/e",
    }


def test_two_trees_keep_their_names(tmp_path):
    one, two = tree(tmp_path / "one", "a.mp4"), tree(tmp_path / "two", "a.mp4")
    assert set(places(find_jobs([one, two], tmp_path / "o"), tmp_path / "o").values()) == {
        "one/a",
        "two/a",
    }


def test_films_that_differ_in_their_suffix_only_stay_apart(tmp_path):
    root = tree(tmp_path / "in", "a.mp4", "A.avi", "b.mp4")
    names = [job.name for job in find_jobs([root], tmp_path / "o")]
    assert sorted(names) == ["A.avi", "a.mp4", "b"]


def test_results_inside_the_tree_are_not_films(tmp_path):
    root = tree(tmp_path / "in", "a.mp4", "out/a.mp4")
    assert len(find_jobs([root], root / "out")) == 1


def test_links_that_run_in_circles(tmp_path):
    root = tree(tmp_path / "in", "a.mp4", "b/c.mp4")
    (root / "b" / "up").symlink_to(root)
    (root / "b" / "self").symlink_to(root / "b" / "self")
    (root / "link.mp4").symlink_to(root / "a.mp4")
    assert len(find_jobs([root], tmp_path / "o")) == 3


def test_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path, "a.mp4", "b.avi", "c/d.avi", "what?.avi"))
    jobs = find_jobs([Path("**/*.avi")], tmp_path / "o")
    assert [str(job.source) for job in jobs] == ["b.avi", "c/d.avi", "what?.avi"]
    assert find_jobs([Path("what?.avi")], None) == [Job(Path("what?.avi"))]
    with pytest.raises(BadInputError, match="matches no file"):
        find_jobs([Path("*.mkv")], tmp_path / "o")


def test_a_list_is_mirrored_from_the_common_folder(tmp_path, monkeypatch):
    names = [tmp_path / "x" / "1" / "a.mp4", tmp_path / "x" / "2" / "ü b.mp4"]
    text = "".join(f"{name}\n" for name in names) + "\n"
    (tmp_path / "list.txt").write_text(text, "utf-8")
    out = tmp_path / "o"
    expected = ["1/a", "2/ü b"]
    assert list(places(find_jobs([], out, str(tmp_path / "list.txt")), out).values()) == expected
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert list(places(find_jobs([], out, "-"), out).values()) == expected


def test_a_list_of_odd_names(tmp_path, monkeypatch):
    """As Windows writes it, a name twice, Latin-1, and what Unicode takes for the end of a line."""
    monkeypatch.chdir(tmp_path)
    names = [b"a.mp4", b"a.mp4", b"caf\xe9.mp4", "x\u2028y.mp4".encode(), b" z .mp4"]
    Path("list").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(names))
    sources = [os.fsencode(job.source) for job in find_jobs([], tmp_path / "o", "list")]
    assert sorted(sources) == sorted(set(names))
    Path("list").write_bytes(b"\x00\x00\x00\x20ftypisom\n")
    with pytest.raises(BadInputError, match="is no text"):
        find_jobs([], tmp_path / "o", "list")


def test_a_film_that_is_named_twice_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path, "in/a.mp4", "in/b.mp4"))
    jobs = find_jobs([Path("in"), Path("in/a.mp4"), Path("in/../in/b.mp4")], Path("o"))
    assert [job.name for job in jobs] == ["a", "b"]


def test_closed_folders_are_counted(tmp_path):
    root = tree(tmp_path / "in", "a.mp4", "closed/b.mp4")
    (root / "closed").chmod(0)
    code = f"""
from pathlib import Path
from facerestore.errors import BadInputError
from facerestore.films import find_jobs
from facerestore.video.reader import open_video
jobs = find_jobs([Path({str(root)!r})], Path("o"))
print([job.source.name for job in jobs])
for bad in (lambda: open_video(jobs[1].source), lambda: open_video(root / "closed" / "b.mp4"),
            lambda: find_jobs([root / "closed"], Path("o"))):
    try:
        root = jobs[0].source.parent
        bad()
    except BadInputError as error:
        print(str(error).endswith("may not be read; check its permissions"))
"""
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:  # whom no permission holds back
        if not shutil.which("setpriv"):
            pytest.skip("root needs setpriv to give up what makes it root")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        (root / "closed").chmod(0o755)
    assert done.stdout.split("\n") == ["['a.mp4', 'closed']", "True", "True", "True", ""], done


@pytest.mark.parametrize(
    ("inputs", "out", "words"),
    [
        (["a/x.mp4", "b/x.mp4"], "folder", "same name"),
        (["a/x.mp4", "b/X.mp4"], "folder", "same name"),
        (["a.mp4", "b.mp4"], "film.mp4", "is one file"),
        (["a.mp4"], "-", "stdout"),
        (["."], None, "-o"),
        (["."], "../here", "where the films are"),
        ([], None, "no film"),
    ],
)
def test_what_cannot_be_meant(tmp_path, monkeypatch, inputs, out, words):
    monkeypatch.chdir(tree(tmp_path / "here"))
    with pytest.raises(UsageError, match=words):
        find_jobs([Path(name) for name in inputs], None if out is None else Path(out))


def test_a_folder_without_films_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path / "here"))
    with pytest.raises(BadInputError, match="no film"):
        find_jobs([Path()], Path("o"))


@given(st.integers(0, 50), st.integers(1, 12))
def test_shards_are_all_films_once(count, parts):
    jobs = [Job(Path(str(i))) for i in range(count)]
    shares = [share(jobs, f"{i + 1}/{parts}") for i in range(parts)]
    assert sorted(job.source for part in shares for job in part) == sorted(j.source for j in jobs)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_shard(text):
    with pytest.raises(UsageError, match="1/4"):
        share([], text)


def test_a_hundred_thousand_names_are_found_quickly(tmp_path):
    for folder in range(100):
        (tmp_path / "in" / f"{folder:03}").mkdir(parents=True)
        for number in range(1000):
            name = tmp_path / "in" / f"{folder:03}" / f"{number:04}.{('mp4', 'jpg')[number % 2]}"
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    begin = time.process_time()
    assert len(find_jobs([tmp_path / "in"], tmp_path / "out")) == 50_000
    assert time.process_time() - begin < 10
