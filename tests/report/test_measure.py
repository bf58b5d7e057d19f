"""What the page shows is computed by pure functions; small cases that a hand can check."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.report.measure import (
    Line,
    Stack,
    changed_share,
    difference,
    evenly,
    eye_region,
    flicker,
    mouth_region,
)
from facerestore.report.notes import runs

FACE = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])


def grey(level, size=100):
    return np.full((size, size, 3), level, np.uint8)


def test_regions_lie_around_eyes_and_mouth():
    assert eye_region(FACE, 100) == (14, 28, 86, 52)
    assert mouth_region(FACE, 100) == (25, 64, 75, 96)


def test_regions_stay_inside_the_square_also_in_profile():
    profile = np.array([[99.0, 2], [99, 2], [99, 4], [98, 99], [98, 99]])
    for region in (eye_region, mouth_region):
        left, top, right, bottom = region(profile, 100)
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 100


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((10, 10, 10), 0.0), ((10, 20, 30), 0.0), ((10, 40, 10), 30.0), ((0, 5, 20), 5.0)],
)
def test_flicker_is_the_distance_from_the_mean_of_the_neighbours(levels, expected):
    pictures = [grey(level) for level in levels]
    assert flicker(*pictures, (10, 10, 50, 40)) == pytest.approx(expected, abs=1e-4)


def test_flicker_sees_only_its_region():
    odd = grey(10)
    odd[60:] = 200
    assert flicker(grey(10), odd, grey(10), (0, 0, 100, 60)) == pytest.approx(0, abs=1e-4)


def test_changed_share_leaves_out_what_nobody_sees():
    after = grey(100)
    after[:25] = 109
    after[50:75] = 108
    assert changed_share(grey(100), after) == 0.25


def test_difference_is_four_times_as_strong_around_grey_and_clipped():
    assert difference(grey(100, 1), grey(110, 1)).tolist() == [[[168] * 3]]
    assert difference(grey(200, 1), grey(100, 1)).tolist() == [[[0] * 3]]


@given(st.integers(1, 500), st.integers(1, 20))
def test_moments_are_spread_evenly(count, wanted):
    found = evenly(count, wanted)
    assert len(found) == min(count, wanted)
    assert found == sorted(set(found))
    assert 0 <= found[0] <= found[-1] < count
    assert found[0] + found[-1] in range(count - 2, count + 1)


def test_a_line_keeps_the_worst_of_each_stretch():
    line = Line(4, worst=1)
    for frame, value in enumerate([1, 5, 2, 3]):
        line.add(frame, value)
    assert line.mean == 2.75
    assert line.thinned(10) == [1, 5, 2, 3]
    assert line.thinned(2) == [5, 3]
    low = Line(4, worst=-1)
    low.add(0, 0.25)
    low.add(0, 0.5)
    assert low.thinned(4) == [0.25, None, None, None]
    assert Line(0, worst=1).mean is None


def test_a_line_of_a_long_film_stays_short():
    line = Line(100_000, worst=1)
    for frame in range(0, 100_000, 7):
        line.add(frame, 1.0)
    line.add(77_777, 9.0)
    assert len(line.points) == Line.POINTS
    assert max(line.thinned(50)) == 9.0


def test_the_stacking_picture_is_one_column_a_frame():
    stack = Stack(first=10, count=3, size=4)
    for frame in range(9, 14):
        stack.add(frame, grey(frame, 4), grey(100 + frame, 4))
    assert stack.before[:, :, 0].tolist() == [[10, 11, 12]] * 4
    assert stack.after[0, :, 1].tolist() == [110, 111, 112]


def test_the_stacking_picture_takes_the_middle_column():
    picture = grey(0, 4)
    picture[:, 2] = 50
    stack = Stack(first=0, count=1, size=4)
    stack.add(0, picture, picture)
    assert (stack.before == 50).all()


def test_runs_of_frames():
    assert runs([]) == []
    assert runs([1, 2, 3, 7]) == [(1, 3), (7, 7)]
    assert runs([0, 5, 10, 16], gap=5) == [(0, 10), (16, 16)]
