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
    for before, hole, after in zip(frames, holes, filled, strict=True):
        if hole.all():
            assert (after == 128).all()
            continue
        known = before[~hole].astype(int)
        assert (after >= known.min(axis=0) - 1).all()
        assert (after <= known.max(axis=0) + 1).all()


def test_what_was_in_the_hole_does_not_matter():
    frames, holes = draw(3, (31, 33))
    other = np.where(holes[..., None], np.uint8(7), frames)
    np.testing.assert_array_equal(fill_holes(frames, holes), fill_holes(other, holes))


def test_a_slope_goes_on_through_the_hole():
    slope = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 1, 64, 3))
    hole = np.zeros((1, 64, 64), bool)
    hole[:, 20:44, 20:44] = True
    assert np.abs(fill_holes(slope, hole).astype(int) - slope).max() <= 12
