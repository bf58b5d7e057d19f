"""Every degradation does what it says, within its ranges, and comes again from its seed."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.errors import UsageError
from facerestore.frames import Tasks
from facerestore.training.damage import (
    LUMA_601,
    FilmDamage,
    Stock,
    comb,
    draw_damage,
    draw_stock,
    fade,
    grey_stock,
    tint,
    to_grey,
    wear,
    with_luma,
)
from facerestore.training.data import MIXES
from facerestore.training.degrade import (
    CODECS,
    SEVERITIES,
    BlindDegradation,
    degrade,
    degrade_blind,
    draw_blind,
)
from facerestore.training.holes import draw_holes

NOTHING = BlindDegradation()
seeds = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def noise_clip(frames=3, height=64, width=64, seed=0):
    return rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def grey_clip(frames=3, side=64, code=128):
    return np.full((frames, side, side, 3), code, np.uint8)


def blind(frames, seed=0, **draw):
    return degrade_blind(frames, replace(NOTHING, **draw), rng(seed))


def detail(frames):
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(frames.astype(float), axis=2)).mean())


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from(MIXES))
def test_degradation_does_what_the_tasks_say(seed, mix):
    tasks = Tasks.parse(mix)
    clean = noise_clip(2, 32, 32)
    done, again = (degrade(clean, tasks, rng(seed)) for _ in range(2))
    assert np.array_equal(done.bad, again.bad)
    assert np.array_equal(done.target, again.target)
    for frames in (done.bad, done.target):
        assert (frames.shape, frames.dtype) == (clean.shape, np.uint8)
    assert (done.holes is None) == (not tasks.inpaint)
    known = np.ones(clean.shape[:3], bool) if done.holes is None else ~done.holes
    assert (done.bad[~known] == 255).all()
    if tasks.color:
        assert np.ptp(done.bad[known], axis=-1).max() == 0
    elif not tasks.bfr:
        assert np.array_equal(done.bad[known], done.target[known])


def test_white_comes_after_grey_and_grey_after_the_rest():
    clean, stock = noise_clip(2), Stock(fade=0.2, ortho=0.5, gamma=1.2)
    tasks = Tasks(bfr=True, color=True, inpaint=True)
    done = degrade(clean, tasks, rng(3), stock=stock)
    draws = rng(3)
    faded = fade(clean, stock.fade)
    bad = grey_stock(degrade_blind(faded, draw_blind(draws), draws), stock)
    holes = draw_holes(2, (64, 64), draws)
    assert np.array_equal(done.holes, holes)
    assert np.array_equal(done.bad, np.where(holes[..., None], 255, bad))
    # the target keeps what the stock made of the light, and its colours
    assert np.array_equal(done.target, with_luma(faded, grey_stock(faded, stock)))


@pytest.mark.parametrize("severity", list(SEVERITIES))
def test_draws_stay_in_their_ranges(severity):
    draws, worst = [draw_blind(rng(n), severity=severity) for n in range(600)], SEVERITIES[severity]
    plain = [d for d in draws if d.blur == "gaussian"]
    odd = [d for d in draws if d.blur != "gaussian"]
    assert 0 <= min(d.blur_size for d in plain) <= max(d.blur_size for d in plain) <= worst.blur
    assert all(3 <= d.blur_size <= 10 for d in odd if d.blur == "motion")
    assert all(0.8 <= d.blur_size <= 3 for d in odd if d.blur == "defocus")
    assert len(odd) / 600 == pytest.approx(worst.odd_blur, abs=0.06)
    assert 1 <= min(d.shrink for d in draws) <= max(d.shrink for d in draws) <= worst.shrink
    assert min(d.noise_level for d in draws) >= 0
    assert 0.9 * worst.noise < max(d.noise_level for d in draws) <= worst.noise
    assert np.mean([d.noise_level == 0 for d in draws]) == pytest.approx(0.2, abs=0.06)
    assert {d.codec for d in draws} == {None, *CODECS}
    assert np.mean([d.codec is not None for d in draws]) == pytest.approx(worst.codec, abs=0.06)
    assert all(20 <= d.quantizer <= 35 for d in draws if d.codec == "libx264")
    assert all(2 <= d.quantizer <= 10 for d in draws if d.codec in ("mpeg4", "mpeg2video"))
    worn = [d for d in draws if d.damage != FilmDamage()]
    assert len(worn) / 600 == pytest.approx(worst.worn, abs=0.06)
    assert all(d.noise == "grain" and d.grey_noise for d in worn)
    assert np.mean([d.combed for d in draws]) == pytest.approx(worst.combed, abs=0.04)
    assert all(0 <= d.noise_memory <= 0.6 and 0 <= d.drift <= 0.3 for d in draws)


def test_severities_get_worse_and_others_are_refused():
    light, medium, heavy = (
        [draw_blind(rng(n), severity=s) for n in range(300)] for s in SEVERITIES
    )
    for name in ("shrink", "noise_level"):
        means = [np.mean([getattr(d, name) for d in draws]) for draws in (light, medium, heavy)]
        assert means == sorted(means)
    with pytest.raises(UsageError, match="'awful'; choose from light, medium, heavy"):
        draw_blind(rng(), severity="awful")


def test_damage_and_stock_stay_in_their_ranges():
    damage = [draw_damage(rng(n)) for n in range(500)]
    assert all(0 <= d.flicker <= 0.05 and 0 <= d.dirt <= 3 and d.scratches <= 3 for d in damage)
    assert np.mean([d.scratches > 0 for d in damage]) == pytest.approx(0.4, abs=0.07)
    stocks = [draw_stock(rng(n)) for n in range(1000)]
    assert np.mean([s.fade > 0 for s in stocks]) == pytest.approx(0.125, abs=0.04)
    assert all(0 <= s.fade <= 0.25 and 0 <= s.ortho <= 0.66 for s in stocks)
    assert all(0.75 <= s.gamma <= 1.3 for s in stocks)
    assert np.mean([s.gamma == 1 and s.ortho == 0 for s in stocks]) == pytest.approx(0.5, abs=0.06)


@given(st.integers(4, 40), st.integers(4, 40), seeds)
@settings(max_examples=30, deadline=None)
def test_any_size_comes_back_in_its_size(half_width, half_height, seed):
    odd = seed % 2
    clean = noise_clip(2, 2 * half_height + 12 + odd, 2 * half_width + 12 + odd)
    draws = rng(seed)
    done = degrade_blind(clean, draw_blind(draws), draws, scale=float(draws.uniform(0.2, 4)))
    assert (done.shape, done.dtype) == (clean.shape, np.uint8)


def test_nothing_drawn_changes_nothing():
    clean = noise_clip()
    assert np.array_equal(degrade_blind(clean, NOTHING, rng()), clean)


@pytest.mark.parametrize("blur", ["gaussian", "defocus", "motion"])
def test_blur_takes_detail_and_keeps_the_light(blur):
    clean = noise_clip(2)
    bad = blind(clean, blur=blur, blur_size=3.0, blur_angle=30.0)
    assert detail(bad) < 0.5 * detail(clean)
    assert bad.mean() == pytest.approx(clean.mean(), abs=1)


def test_motion_blur_goes_along_its_angle():
    point = grey_clip(1, 64, 0)
    point[0, 32, 32] = 255
    along = blind(point, blur="motion", blur_size=9.0, blur_angle=0.0)[0, ..., 0]
    assert along[32].sum() == along.sum()
    assert np.count_nonzero(along[32]) in (9, 11)
    turned = blind(point, blur="motion", blur_size=9.0, blur_angle=90.0)[0, ..., 0]
    assert np.abs(turned.T.astype(int) - along).max() <= 1


def test_shrinking_takes_detail():
    clean = noise_clip(2)
    losses = [detail(blind(clean, shrink=s)) for s in (1.0, 2.0, 4.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.5 * losses[0]


@pytest.mark.parametrize("noise", ["gaussian", "poisson", "grain"])
def test_noise_has_the_strength_that_was_drawn(noise):
    bad = blind(grey_clip(4, 128), noise=noise, noise_level=10.0).astype(float)
    assert (bad - 128).std() == pytest.approx(10, rel=0.08)
    assert (bad - 128).mean() == pytest.approx(0, abs=0.3)


def test_poisson_noise_grows_with_the_light_and_grain_sits_in_middle_tones():
    spread = {
        (kind, code): (
            blind(grey_clip(2, 128, code), noise=kind, noise_level=6.0) - float(code)
        ).std()
        for kind in ("gaussian", "poisson", "grain")
        for code in (40, 128, 215)
    }
    assert spread["poisson", 40] < spread["poisson", 128] < spread["poisson", 215]
    assert spread["grain", 128] > 1.2 * spread["grain", 40]
    assert spread["grain", 128] > 1.2 * spread["grain", 215]
    assert spread["gaussian", 40] == pytest.approx(spread["gaussian", 215], rel=0.05)


def correlation(one, other):
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_grain_is_correlated_in_space_and_other_noise_is_not():
    for kind, low, high in (("grain", 0.2, 0.9), ("gaussian", -0.05, 0.05)):
        bad = blind(grey_clip(1, 128), noise=kind, noise_level=10.0)[0].astype(float)
        assert low < correlation(bad[:, :-1], bad[:, 1:]) < high


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_noise_memory_is_the_correlation_of_neighbouring_frames(memory):
    bad = blind(grey_clip(3, 128), noise_level=10.0, noise_memory=memory).astype(float)
    assert correlation(bad[0], bad[1]) == pytest.approx(memory, abs=0.04)
    assert correlation(bad[0], bad[2]) == pytest.approx(memory**2, abs=0.04)
    assert bad[2].std() == pytest.approx(bad[0].std(), rel=0.05)


def test_grey_noise_is_the_same_in_all_channels():
    assert np.ptp(blind(grey_clip(), noise_level=9.0, grey_noise=True), axis=-1).max() == 0
    assert np.ptp(blind(grey_clip(), noise_level=9.0), axis=-1).max() > 0


def test_drift_changes_the_noise_slowly():
    bad = blind(grey_clip(75, 64), noise_level=10.0, drift=0.3).astype(float)
    spread = (bad - 128).std(axis=(1, 2, 3))
    assert spread[19] == pytest.approx(13, rel=0.06)  # a quarter of three seconds
    assert spread[56] == pytest.approx(7, rel=0.06)
    assert np.abs(np.diff(spread)).max() < 1.5
    later = degrade_blind(
        grey_clip(1), replace(NOTHING, noise_level=10.0, drift=0.3), rng(), first=56
    )
    assert (later.astype(float) - 128).std() == pytest.approx(7, rel=0.08)


@pytest.mark.parametrize(
    ("codec", "quantizer"), [("libx264", 35), ("mpeg4", 10), ("mpeg2video", 10)]
)
def test_codecs_leave_blocks(codec, quantizer):
    ramp = np.linspace(20, 235, 64).astype(np.uint8)
    clean = np.broadcast_to(ramp[None, :, None, None], (4, 64, 64, 3)).copy()
    clean = np.clip(clean + rng().normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    bad = blind(clean, codec=codec, quantizer=quantizer).astype(float)
    assert bad.shape == clean.shape
    assert 1 < np.abs(bad - clean).mean() < 25
    light = blind(clean, codec=codec, quantizer={"libx264": 20}.get(codec, 2)).astype(float)
    assert np.abs(light - clean).mean() < np.abs(bad - clean).mean()
    if codec != "libx264":  # that one smooths its blocks' edges
        steps = np.abs(np.diff(bad[0, ..., 1], axis=0)).mean(axis=1)
        at_edges = np.arange(63) % 8 == 7
        assert steps[at_edges].mean() > 1.2 * steps[~at_edges].mean()


def test_combing_takes_odd_lines_from_the_next_frame():
    clean = noise_clip(3)
    bad = comb(clean)
    assert np.array_equal(bad[:, ::2], clean[:, ::2])
    assert np.array_equal(bad[:-1, 1::2], clean[1:, 1::2])
    assert np.array_equal(bad[-1], clean[-1])
    assert np.array_equal(blind(clean, combed=True), bad)


def test_flicker_changes_the_light_of_whole_frames():
    means = wear(grey_clip(50), FilmDamage(flicker=0.05), rng()).astype(float)
    assert np.ptp(means, axis=(1, 2, 3)).max() == 0
    assert 0.02 < means.mean(axis=(1, 2, 3)).std() / 128 < 0.1


def test_dirt_comes_and_goes_and_scratches_stay():
    dirty = wear(grey_clip(20, 256), FilmDamage(dirt=3.0), rng()) != 128
    assert 0.00002 < dirty.mean() < 0.01
    assert dirty.all(axis=0).sum() == 0
    scratched = wear(grey_clip(20, 256), FilmDamage(scratches=1), rng()).astype(int)
    change = np.abs(scratched - 128).max(axis=-1)
    widths = (change > 20).sum(axis=2)  # [F, H]
    assert (widths > 0).mean() > 0.95
    assert widths.max() < 6
    places = change.argmax(axis=2)
    assert np.abs(np.diff(places, axis=0)).max() <= 4


def test_dirt_keeps_its_share_of_the_picture_at_any_scale():
    shares = [
        (wear(grey_clip(60, 128 * s), FilmDamage(dirt=4.0), rng(), scale=s) != 128).mean()
        for s in (1, 3)
    ]
    assert shares[1] == pytest.approx(shares[0], rel=0.6)


@given(st.floats(0.01, 1))
def test_fading_goes_towards_a_light_grey(amount):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    faded = fade(ramp, amount)
    assert np.ptp(faded.astype(int)) == pytest.approx(255 * (1 - amount), abs=1)
    assert abs(int(faded[0, 10, 0, 0]) - 160) <= 1
    assert np.array_equal(fade(ramp, 0.0), ramp)


def test_grey_is_luma_601_as_pillow_has_it():
    from PIL import Image

    clean = noise_clip(1)
    pillow = np.asarray(Image.fromarray(clean[0]).convert("L"))
    assert np.abs(to_grey(clean)[0, ..., 0].astype(int) - pillow).max() <= 1
    assert np.mean(to_grey(clean)[0, ..., 0] != pillow) < 0.01


def test_orthochromatic_film_makes_red_dark_and_gamma_bends():
    red, blue = (np.array([[[[*rgb]]]], np.uint8) for rgb in ((200, 30, 30), (30, 30, 200)))
    assert grey_stock(red, Stock(ortho=0.66))[0, 0, 0, 0] < 0.75 * to_grey(red)[0, 0, 0, 0]
    assert grey_stock(blue, Stock(ortho=0.66))[0, 0, 0, 0] > to_grey(blue)[0, 0, 0, 0]
    middle = grey_clip(1, 4, 100)
    assert (
        grey_stock(middle, Stock(gamma=1.3)).max()
        < 100
        < grey_stock(middle, Stock(gamma=0.75)).min()
    )
    ends = np.array([[[[0] * 3, [255] * 3]]], np.uint8)
    assert np.array_equal(grey_stock(ends, Stock(gamma=1.3)), ends)


def chroma(frames):
    """Differences of the channels, which a change of luma alone leaves."""
    wide = frames.astype(int)
    return np.stack([wide[..., 0] - wide[..., 1], wide[..., 2] - wide[..., 1]], axis=-1)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(-40, 40))
def test_with_luma_keeps_chroma_and_takes_luma(seed, change):
    colour = rng(seed).integers(80, 176, (1, 8, 8, 3), np.uint8)
    grey = (to_grey(colour).astype(int) + change).astype(np.uint8)
    mixed = with_luma(colour, grey)
    assert np.abs((mixed @ LUMA_601) - grey[..., 0]).max() <= 1
    assert np.abs(chroma(mixed) - chroma(colour)).max() <= 1


def test_a_tint_of_ones_changes_nothing():
    grey = to_grey(noise_clip(1))
    assert np.array_equal(tint(grey, (1, 1, 1)), grey)
    sepia = tint(grey, (1.0, 0.9, 0.7))
    assert (sepia[..., 0] >= sepia[..., 1]).all()
    assert (sepia[..., 1] >= sepia[..., 2]).all()


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 5))
def test_holes_are_there_leave_something_and_come_again(seed, frames):
    holes = draw_holes(frames, (64, 96), rng(seed))
    assert (holes.shape, holes.dtype) == ((frames, 64, 96), np.bool_)
    assert np.array_equal(holes, draw_holes(frames, (64, 96), rng(seed)))
    assert 0 < holes[0].mean() < 0.9


def test_half_of_the_holes_move_a_little():
    moving = []
    for seed in range(120):
        holes = draw_holes(3, (64, 64), rng(seed))
        moving.append(not np.array_equal(holes[0], holes[2]))
        if moving[-1]:
            shifts = [
                np.roll(holes[0], (dy, dx), (0, 1)) for dy in range(-4, 5) for dx in range(-4, 5)
            ]
            inner = slice(5, 59)
            same = [np.mean(s[inner, inner] == holes[2][inner, inner]) for s in shifts]
            assert max(same) > 0.98
    assert 0.3 < np.mean(moving) < 0.65


def test_noise_and_codec_work_at_the_reduced_size():
    bad = blind(
        grey_clip(1, 128), shrink=4.0, noise_level=10.0, grow_interpolation=cv2.INTER_LINEAR
    )
    assert correlation(bad[0, :, :-1].astype(float), bad[0, :, 1:].astype(float)) > 0.85
