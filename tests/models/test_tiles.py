"""Tiles cover a picture, weigh one together, and give what the whole picture would have given."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.models.tiles import ALIGN, OVERLAP, TRIM, count_tiles, fade, tile_ranges, tiled

LENGTHS, TILES = st.integers(1, 700), st.integers(2 * OVERLAP, 300)


@given(LENGTHS, TILES)
def test_tiles_cover_a_side_and_overlap(length, tile):
    ranges = tile_ranges(length, tile)
    assert ranges[0].start == 0
    assert ranges[-1].stop == length
    for one, two in pairwise(ranges):
        assert one.start < two.start
        assert one.stop - two.start >= OVERLAP
    assert all(r.start % ALIGN == 0 and len(r) < tile + ALIGN for r in ranges)


@given(LENGTHS, TILES)
def test_every_pixel_counts_and_what_a_tile_cannot_know_does_not(length, tile):
    total = np.zeros(length)
    for span in tile_ranges(length, tile):
        weight = fade(span, length)
        total[span.start : span.stop] += weight
        assert (weight[:TRIM] == 0).all() == (span.start > 0)
        assert (weight[-TRIM:] == 0).all() == (span.stop < length)
    assert (total > 0).all()


def blurred(picture):
    """A network of radius TRIM with an edge of its own kind."""
    side = 2 * TRIM + 1
    return np.float32(cv2.blur(picture, (side, side), borderType=cv2.BORDER_REFLECT_101))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 260), st.integers(1, 260), st.integers(2 * OVERLAP, 130), st.integers(0, 99))
def test_a_local_network_gives_the_same_in_tiles(height, width, tile, seed):
    picture = np.random.default_rng(seed).random((height, width, 3), np.float32)
    whole, parts = blurred(picture), tiled(picture, blurred, tile=tile)
    assert np.abs(whole - parts).max() < 1e-5


def test_networks_that_disagree_meet_without_a_step():
    calls = iter(range(99))
    picture = np.zeros((100, 400, 1), np.float32)
    joined = tiled(picture, lambda part: np.full_like(part, next(calls) % 2), tile=128)
    assert joined.min() == 0
    assert joined.max() == 1
    assert np.abs(np.diff(joined[50, :, 0])).max() < 1.5 / (OVERLAP - 2 * TRIM)


def test_a_picture_that_fits_is_one_tile():
    assert count_tiles(100, 128, 128) == 1
    assert count_tiles(100, 128 + ALIGN, 128) == 2
    with pytest.raises(ValueError, match="expected a tile of 96 px or more"):
        tile_ranges(100, OVERLAP)
