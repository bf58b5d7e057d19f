"""Colours that flicker are steadied, follow what moves, and leave brightness alone."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.frames import LUMA_601
from facerestore.models.colours import Colours, coloured, steadied, steady_clip

SIDE = 64


def grey_picture(shift=0, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)
    return np.roll(cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), shift, axis=1)


def random_ab(seed):
    return np.random.default_rng(seed).uniform(-90, 90, (SIDE, SIDE, 2)).astype(np.float32)


def flat(a, b=0.0):
    return np.full((SIDE, SIDE, 2), (a, b), np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(0, 8), st.booleans(), st.floats(-1, 3))
def test_every_colour_lies_between_those_it_was_mixed_of(seed, shift, other, passed):
    before = Colours(grey_picture(), random_ab(seed), 5.0)
    now = Colours(grey_picture(shift, seed if other else 0), random_ab(seed + 1), 5.0 + passed)
    mixed = steadied(now, before).ab
    for i in range(2):
        # wherever it was fetched from, an old colour is one of the old ones
        least = np.minimum(now.ab[..., i], before.ab[..., i].min())
        most = np.maximum(now.ab[..., i], before.ab[..., i].max())
        assert (mixed[..., i] >= least - 1e-3).all()
        assert (mixed[..., i] <= most + 1e-3).all()


def test_after_a_cut_nothing_is_mixed():
    now = Colours(grey_picture(), random_ab(0), 1.0)
    assert steadied(now, None) is now


def test_other_brightness_is_another_thing():
    before = Colours(np.zeros((SIDE, SIDE), np.uint8), flat(80), 0.0)
    now = Colours(np.full((SIDE, SIDE), 200, np.uint8), flat(-80), 0.04)
    assert np.abs(steadied(now, before).ab - now.ab).max() < 1e-3


def test_flicker_becomes_less_and_long_ago_does_not_matter():
    rng = np.random.default_rng(0)
    drawn, shown, state = [], [], None
    for number in range(200):
        a = float(rng.normal(20, 10))
        state = steadied(Colours(grey_picture(), flat(a), number / 25), state)
        drawn.append(a)
        shown.append(float(state.ab[..., 0].mean()))
    assert np.std(shown[50:]) < 0.35 * np.std(drawn)
    assert np.mean(shown[50:]) == pytest.approx(np.mean(drawn), abs=3)
    later = steadied(Colours(grey_picture(), flat(-50), 60.0), state)
    assert later.ab[..., 0] == pytest.approx(-50, abs=1e-3)


def test_colours_follow_what_moves():
    ab = flat(0)
    ab[20:40, 20:40] = 60
    state = Colours(grey_picture(), ab, 0.0)
    for step in range(1, 9):  # the network forgets the colour, the film still shows the thing
        state = steadied(Colours(grey_picture(step), flat(0), 0.001 * step), state)
    columns = state.ab[28:32, :, 0].mean(axis=0)
    assert columns[30:46].min() > 40  # moved from 20..40 to 28..48
    assert columns[20:26].max() < 20


def test_the_same_inputs_give_the_same_bits():
    pair = [Colours(grey_picture(n), random_ab(n), n / 25) for n in range(2)]
    assert (steadied(pair[1], pair[0]).ab == steadied(pair[1], pair[0]).ab).all()


def test_colours_change_no_lightness():
    grey = np.linspace(0.2, 0.8, 40 * 30, dtype=np.float32).reshape(30, 40)
    picture = coloured(grey, flat(15, -10))
    assert picture.shape == (30, 40, 3)
    lightness = cv2.cvtColor(picture, cv2.COLOR_RGB2Lab)[..., 0]
    before = cv2.cvtColor(np.repeat(grey[..., None], 3, -1), cv2.COLOR_RGB2Lab)[..., 0]
    assert np.abs(lightness - before).max() < 0.5
    assert np.abs(coloured(grey, flat(0)) - grey[..., None]).max() < 2e-3


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected grey \[S, S\]"):
        Colours(np.zeros((4, 4), np.uint8), np.zeros((5, 5, 2), np.float32), 0.0)


def coloured_clip(count, *, moved=0, flicker=0.0):
    """Frames of one moving picture, its colours disturbed in each; and the clean ones."""
    rng, clean, bad = np.random.default_rng(3), [], []
    ab = cv2.resize(rng.uniform(-30, 30, (4, 4, 2)).astype(np.float32), (SIDE, SIDE))
    for number in range(count):
        grey = grey_picture(moved * number).astype(np.float32) / 400 + 0.25
        here = np.roll(ab, moved * number, axis=1)
        noise = cv2.resize(rng.normal(0, 1, (8, 8, 2)).astype(np.float32), (SIDE, SIDE))
        for frames, colours in ((clean, here), (bad, here + flicker * noise)):
            frames.append(np.rint(coloured(grey, colours) * 255).astype(np.uint8))
    return np.stack(clean), np.stack(bad)


def lab(frames):
    return np.stack([cv2.cvtColor(f.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for f in frames])


def whole(clip):
    """Weights: all of the colours."""
    return np.full(clip.shape[:3], 255, np.uint8)


@pytest.mark.parametrize("moved", [0, 1])
def test_the_colours_of_a_clip_flicker_less_and_come_closer_to_the_truth(moved):
    clean, bad = coloured_clip(20, moved=moved, flicker=8.0)
    steady, _ = steady_clip(bad, whole(bad))
    truth, before, after = (lab(frames)[..., 1:] for frames in (clean, bad, steady))
    assert np.abs(after - truth).mean() < 0.6 * np.abs(before - truth).mean()
    moves = [np.abs(np.diff(ab - truth, axis=0)).mean() for ab in (before, after)]
    assert moves[1] < 0.3 * moves[0]


def test_a_clip_keeps_its_brightness_and_has_no_direction_in_time():
    _, bad = coloured_clip(9, moved=1, flicker=8.0)
    steady, _ = steady_clip(bad, whole(bad))
    assert np.abs(steady @ LUMA_601 - bad @ LUMA_601).mean() < 0.5  # of 255
    backwards = steady_clip(bad[::-1].copy(), whole(bad))[0][::-1]
    assert np.abs(steady.astype(int) - backwards).mean() < 0.5
    alone, _ = steady_clip(bad[:1], whole(bad[:1]))
    assert np.abs(alone.astype(int) - bad[:1]).max() <= 2  # whole codes of YCbCr, then of RGB


def test_colours_that_hardly_change_keep_their_codes():
    """A colour that drifts by a code: rounded each for itself, pixels would change one by one."""
    grey = np.random.default_rng(0).integers(60, 190, (10, SIDE, SIDE, 1), np.uint8)
    clip = np.repeat(grey, 3, axis=-1).astype(float)
    clip += np.array([14.0, 0.0, -12.0]) + np.linspace(0, 1.4, 10)[:, None, None, None] * (1, 0, 0)
    steady, skins = steady_clip(np.rint(clip).astype(np.uint8), whole(clip) // 2)
    apart = steady.astype(int) - steady[..., 1:2]  # R - G and B - G: luma falls out
    assert (np.diff(apart[:, 8:-8, 8:-8], axis=0) != 0).mean() < 0.02
    assert (skins == 127).all()


def test_weights_are_averaged_in_time_and_stay_in_range():
    clean, _ = coloured_clip(8, moved=0, flicker=0.0)
    flashing = whole(clean)
    flashing[::2] = 55
    _, skins = steady_clip(clean, flashing)
    assert skins.min() >= 55
    assert np.abs(np.diff(skins.astype(int), axis=0)).max() < 100
