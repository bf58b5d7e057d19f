"""Which film belongs to which, and which frame to which."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import BadInputError, UsageError
from facerestore.evaluation.pairs import film_pairs, open_pair, paired


class Times:
    """A film that is nothing but the times of its frames, in seconds."""

    def __init__(self, *times, rate=25):
        self.times, self.info = times, SimpleNamespace(rate=Fraction(rate))

    def frames(self, start_seconds=None, end_seconds=None):
        first, last = start_seconds or 0.0, end_seconds or float("inf")
        return (time for time in self.times if first <= time < last)

    def seconds(self, frame):
        return frame


def folder(path, *names):
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


def pairs_of(out, ref, *part):
    return [(pair.out, pair.ref) for pair in paired(out, ref, *part)]


def test_frames_of_the_same_time_are_pairs():
    film = Times(0.0, 0.04, 0.08)
    assert pairs_of(film, film) == [(0.0, 0.0), (0.04, 0.04), (0.08, 0.08)]


def test_a_part_begins_at_0():
    out, ref = Times(0.0, 0.04), Times(0.0, 0.04, 0.08, 0.12, 0.16)
    assert pairs_of(out, ref, 0.07, 0.15) == [(0.0, 0.08), (0.04, 0.12)]


def test_rounded_times_are_pairs():  # Matroska, 1 ms
    out, ref = (Times(*(fix(n * 1001 / 30000) for n in range(90)), rate=Fraction(30000, 1001))
                for fix in (lambda t: round(t, 3), lambda t: t))  # fmt: skip
    assert all(None not in pair for pair in pairs_of(out, ref))


def test_a_lost_frame_costs_one_pair():
    ref = Times(0.0, 0.04, 0.08, 0.12)
    assert pairs_of(Times(0.0, 0.04, 0.12), ref) == [
        (0.0, 0.0), (0.04, 0.04), (None, 0.08), (0.12, 0.12)
    ]  # fmt: skip
    assert pairs_of(Times(0.0), ref)[1:] == [(None, 0.04), (None, 0.08), (None, 0.12)]


def test_of_too_many_frames_the_nearest_are_taken():
    out = Times(*(n * 0.02 for n in range(6)), rate=50)
    assert pairs_of(out, Times(0.0, 0.04, 0.08)) == [
        (0.0, 0.0), (0.02, None), (0.04, 0.04), (0.06, None), (0.08, 0.08), (0.1, None)
    ]  # fmt: skip


INCREASING = st.lists(st.integers(0, 4000), min_size=0, max_size=30, unique=True).map(sorted)


@given(INCREASING, INCREASING)
def test_every_frame_comes_once_and_partners_are_near(out, ref):
    out, ref = ([t / 1000 for t in times] for times in (out, ref))
    found = list(paired(Times(*out), Times(*ref)))
    assert [p.out for p in found if p.out is not None] == out
    assert [(p.number, p.ref) for p in found if p.ref is not None] == list(enumerate(ref))
    both = [p for p in found if p.out is not None and p.ref is not None]
    assert all(abs(p.out - p.ref) <= 0.02 + 1e-9 for p in both)


def test_films_of_folders_are_paired_by_name(tmp_path):
    out = folder(tmp_path / "out", "b.mkv", "a.restored.mp4", "a.restored.mp4.facerestore.json")
    ref = folder(tmp_path / "ref", "a.mp4", "b.mp4", "notes.txt")
    names = [(a.name, b.name) for a, b in film_pairs(out, ref)]
    assert names == [("a.restored.mp4", "a.mp4"), ("b.mkv", "b.mp4")]


@pytest.mark.parametrize(
    ("outs", "refs", "words"),
    [
        (["a.mp4"], ["a.mp4", "b.mp4", "c.mp4"], r"b.mp4 \(and 1 others\): no film of that name"),
        (["a.mp4", "b.mp4"], ["a.mp4"], r"b.mp4: no film of that name in .*ref"),
        (["a.mp4", "a.mkv"], ["a.mp4"], "has the name of a.mkv"),
        ([], [], "holds no films"),
    ],
)
def test_folders_that_do_not_match_are_one_sentence(tmp_path, outs, refs, words):
    out, ref = folder(tmp_path / "out", *outs), folder(tmp_path / "ref", *refs)
    with pytest.raises(BadInputError, match=words):
        film_pairs(out, ref)


def test_a_folder_and_a_film_are_no_pair(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        film_pairs(tmp_path, tmp_path / "a.mp4")


def test_films_of_different_size_are_refused(make_film):
    small, large = make_film("s.mkv", size=(320, 180), count=1), make_film("l.mkv", count=1)
    with pytest.raises(BadInputError, match=r"s.mkv: its picture is 320x180.*scale=640:360"):
        open_pair(small, large)
