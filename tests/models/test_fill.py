"""Holes filled with a smooth surface."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.models.fill import fill_holes


def draw(seed, size):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (2, *size, 3), np.uint8)
    return frames, rng.random((2, *size)) < rng.uniform(0, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_nothing_outside_changes_and_nothing_new_is_brighter(seed, size):
    frames, holes = draw(seed, size)
    filled = fill_holes(frames, holes)
    np.testing.assert_array_equal(filled[~holes], frames[~holes])
    known = frames[~holes].astype(int)
    if holes.all(axis=(1, 2)).any():  # such a frame is grey
        known = np.append(known, [[128] * 3], axis=0)
    assert (filled >= known.min(axis=0) - 1).all()
    assert (filled <= known.max(axis=0) + 1).all()


def test_a_frame_that_is_all_hole_is_grey():
    frames, holes = np.zeros((1, 8, 8, 3), np.uint8), np.ones((1, 8, 8), bool)
    assert (fill_holes(frames, holes) == 128).all()


def test_a_moving_hole_gets_what_the_frames_around_show():
    frames = np.full((5, 32, 32, 3), 100, np.uint8)
    frames[:, 12:20, 12:20] = 200
    holes = np.zeros((5, 32, 32), bool)
    holes[2, 8:24, 8:24] = True
    alone = fill_holes(frames[2:3], holes[2:3])[0, 16, 16, 0]
    assert alone < 110
    assert fill_holes(frames, holes)[2, 16, 16, 0] > 150


def test_filling_steadies_what_flickers_around_a_hole():
    frames = np.full((9, 32, 32, 3), 100, np.uint8)
    frames[::2] = 110
    holes = np.zeros((9, 32, 32), bool)
    holes[:, 10:20, 10:20] = True
    filled = fill_holes(frames, holes).astype(int)
    assert np.abs(np.diff(filled[:, 15, 15, 0])).max() <= 5


def test_what_was_in_the_hole_does_not_matter():
    frames, holes = draw(3, (31, 33))
    other = np.where(holes[..., None], np.uint8(7), frames)
    np.testing.assert_array_equal(fill_holes(frames, holes), fill_holes(other, holes))


def test_a_slope_goes_on_through_the_hole():
    slope = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 1, 64, 3))
    hole = np.zeros((1, 64, 64), bool)
    hole[:, 20:44, 20:44] = True
    assert np.abs(fill_holes(slope, hole).astype(int) - slope).max() <= 12
