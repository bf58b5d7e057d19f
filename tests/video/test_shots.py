"""Cuts are found where they are; flashes and movement are none."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.video.shots import LATE_FRAMES, ShotFinder, shots_from_cuts


def scene(number, shift=0):
    """uint8 BGR [90, 160, 3]: coarse blocks, moved sideways by `shift` pixels."""
    blocks = np.random.default_rng(number).integers(0, 255, (9, 24, 3), np.uint8)
    return blocks.repeat(10, 0).repeat(10, 1)[:, shift : shift + 160].copy()


def cuts_of(pictures):
    finder = ShotFinder(rate=Fraction(25))
    return [cut for picture in pictures for cut in finder.push(picture)] + finder.finish()


def noisy(picture, seed, spread=4):
    noise = np.random.default_rng(seed).normal(0, spread, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_hard_cuts_are_found_where_they_are():
    film = [noisy(scene(i // 20), i) for i in range(100)]
    assert cuts_of(film) == [20, 40, 60, 80]


def test_cuts_are_reported_two_frames_late():
    finder = ShotFinder(rate=Fraction(25))
    reported = [(i, finder.push(noisy(scene(i // 20), i))) for i in range(30)]
    assert [(i, cuts) for i, cuts in reported if cuts] == [(20 + LATE_FRAMES, [20])]


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length):
    film = [noisy(scene(1), i) for i in range(60)]
    for i in range(length):
        film[30 + i][:] = 250
    assert cuts_of(film) == []


def test_quick_cuts_are_found():
    film = [noisy(scene(i // 8), i) for i in range(40)]
    assert cuts_of(film) == [8, 16, 24, 32]


@pytest.mark.parametrize("cut", [38, 39])
def test_a_cut_just_before_the_end_is_found_at_the_end(cut):
    film = [noisy(scene(0 if i < cut else 1), i) for i in range(40)]
    assert cuts_of(film) == [cut]


def test_movement_that_starts_or_goes_on_to_the_end_is_no_cut():
    film = [noisy(scene(1, shift=max(0, 2 * (i - 25))), i) for i in range(45)]
    assert cuts_of(film) == []


def test_short_films():
    assert cuts_of([]) == []
    assert cuts_of([scene(1)]) == []
    assert cuts_of([scene(1), scene(1)]) == []


def test_pictures_of_another_type_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        ShotFinder().push(np.zeros((9, 16, 3), np.float32))


@given(cuts=st.lists(st.integers(-5, 60)), n=st.integers(1, 50))
def test_shots_cover_the_film_without_overlap(cuts, n):
    shots = shots_from_cuts(cuts, n)
    frames = [frame for shot in shots for frame in range(shot.first, shot.last + 1)]
    assert frames == list(range(n))
    assert [shot.index for shot in shots] == list(range(len(shots)))
    assert {shot.first for shot in shots} == {0, *(c for c in cuts if 0 < c < n)}


def test_a_film_without_frames_has_no_shots():
    assert shots_from_cuts([], 0) == []


def test_real_shots_stay_whole(shared_clips):
    from facerestore.video.planes import detector_picture
    from facerestore.video.reader import open_video

    film = open_video(shared_clips / "lq1.mp4")  # it ends in a quick movement
    small = (detector_picture(f, film.info, long_side=160)[0] for f in film.frames())
    assert cuts_of(small) == []
