"""Laws of the window arithmetic."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.models.windows import cover, film_windows, released_windows, triangle

lengths = st.integers(1, 600)
shapes = st.integers(2, 20).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, w - 1)))


@given(lengths, shapes)
def test_windows_cover_every_frame_in_order_and_stay_inside(n, shape):
    window, overlap = shape
    windows = cover(n, window=window, overlap=overlap)
    assert {i for frames in windows for i in frames} == set(range(n))
    assert windows[0].start == 0
    assert windows[-1].stop == n
    assert all(len(frames) == min(n, window) for frames in windows)


@given(lengths, shapes)
def test_neighbours_share_at_least_the_overlap(n, shape):
    window, overlap = shape
    windows = cover(n, window=window, overlap=overlap)
    for left, right in itertools.pairwise(windows):
        assert left.start < right.start
        assert left.stop - right.start >= overlap


def test_no_more_windows_than_needed():
    assert len(cover(64, window=16, overlap=0)) == 4
    assert len(cover(65, window=16, overlap=0)) == 5


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        cover(10, window=4, overlap=4)


def test_triangle_is_the_released_one():
    assert triangle(5) == [1, 2, 3, 2, 1]
    assert triangle(4) == [1, 2, 2, 1]


def test_released_windows_are_the_recorded_ones(recorded):
    for name, case in json.loads((recorded / "cases.json").read_text()).items():
        sizes = {"window": case["frames_per_batch"], "overlap": case["overlap"]}
        own = [
            released_windows(case["frames"], step=step, **sizes)
            for step in range(case["steps_run"])
        ]
        assert own == case["windows_per_step"], name


@given(st.integers(1, 300), st.integers(2, 20), st.data())
def test_film_windows_cover_every_frame_and_never_wrap(n_frames, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    step = data.draw(st.integers(0, 60))
    windows = film_windows(n_frames, window=window, overlap=overlap, step=step)
    assert {i for frames in windows for i in frames} == set(range(n_frames))
    assert all(1 <= len(frames) <= window for frames in windows)
    starts, stops = [w.start for w in windows], [w.stop for w in windows]
    assert starts == sorted(set(starts))
    assert stops == sorted(set(stops))
