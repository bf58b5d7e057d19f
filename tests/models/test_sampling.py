"""Schedules: what they cost, and steps against closed forms."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import UsageError
from facerestore.frames import LUMA_601, Tasks
from facerestore.models.convert import RELEASED
from facerestore.models.sampling import (
    ALIGNED,
    aligned_sigmas,
    crop_size,
    doubted,
    film_forwards,
    multistep,
    schedule_for,
    started,
)
from facerestore.models.windows import released_windows

BFR = Tasks(bfr=True)


def released_forwards(n_frames):
    """The released code's own count: two branches always, in both passes."""
    first = sum(
        len(w) for s in range(50) for w in released_windows(16, window=16, overlap=3, step=s)
    )
    rest = sum(
        len(w) for s in range(30) for w in released_windows(n_frames, window=16, overlap=3, step=s)
    )
    return 2 * (first + rest)


@pytest.mark.parametrize(("n_frames", "expected"), [(64, 88.0), (256, 68.125)])
def test_the_released_code_costs_this_much(n_frames, expected):
    assert released_forwards(n_frames) / n_frames == expected


@pytest.mark.parametrize(
    ("n_frames", "mode", "most"),
    [(64, "exact", 74.8), (256, "exact", 64.8), (64, "fast", 18.0), (256, "fast", 15.6)],
)
def test_frame_forwards_for_each_frame(n_frames, mode, most):
    assert film_forwards(RELEASED, n_frames, BFR, mode=mode, steps=None) / n_frames <= most


def test_exact_is_the_formula():
    """Pass 1: 50 steps on one window. Pass 2: two branches of 30 steps over all frames, and where
    windows overlap, at each inner border of the first three steps, three frames twice."""
    schedule = schedule_for(RELEASED, mode="exact", steps=None, reference=True)
    borders = sum(len(schedule.windows(64, step)) - 1 for step in range(3))
    assert film_forwards(RELEASED, 64, BFR, mode="exact", steps=None) == 16 * 50 + 2 * (
        30 * 64 + 3 * borders
    )


def test_fast_guides_only_middle_noise():
    schedule = schedule_for(RELEASED, mode="fast", steps=None, reference=True)
    guided = [s for s, g in zip(schedule.sigmas.tolist(), schedule.guidance, strict=False) if g > 1]
    assert guided == pytest.approx([4.248, 1.789, 0.981, 0.403])


@given(st.integers(2, 40))
def test_aligned_levels_fall_from_first_to_last(steps):
    sigmas = aligned_sigmas(steps)
    assert len(sigmas) == steps + 1
    assert (sigmas.diff() < 0).all()
    assert sigmas[0] == pytest.approx(ALIGNED[0])
    assert sigmas[-2] == pytest.approx(ALIGNED[-1])


def test_unknown_modes_and_the_wrong_model_are_refused():
    with pytest.raises(UsageError, match="slow"):
        schedule_for(RELEASED, mode="slow", steps=None, reference=True)


@pytest.mark.parametrize(
    ("large", "face", "tasks", "expected"),
    [
        (128, 127.0, "bfr", 64),
        (128, 128.0, "bfr", 128),
        (128, 240.0, "bfr", 128),
        (128, 250.0, "bfr", 64),
        (None, 200.0, "bfr", 64),
        (128, 200.0, "bfr,color", 64),
        (128, 200.0, "bfr,inpaint", 64),
        (128, 200.0, "color", 64),
    ],
)
def test_only_blind_restoration_of_large_faces_takes_large_crops(large, face, tasks, expected):
    config = replace(RELEASED, size=64, large=large)
    assert crop_size(config, Tasks.parse(tasks), face=face) == expected


def test_a_started_schedule_is_the_end_of_the_whole():
    whole = schedule_for(RELEASED, mode="exact", steps=8, reference=True)
    part = started(whole, strength=0.6)
    assert len(part) == 4
    torch.testing.assert_close(part.sigmas, whole.sigmas[4:])


def test_multistep_solves_a_gaussian_better_than_first_order():
    """Data of variance 1: denoised(x, s) = x / (1 + s^2), and the ODE has the solution
    x(s) = x(s0) * sqrt((1 + s^2) / (1 + s0^2))."""
    sigmas = torch.cat([torch.logspace(1, -2, 20, dtype=torch.float64), torch.zeros(1)])
    ends = {}
    for order in (1, 2):
        x, before = torch.tensor(1.0, dtype=torch.float64), None
        for step in range(19):
            denoised = x / (1 + sigmas[step] ** 2)
            x = multistep(x, denoised, before if order == 2 else None, sigmas, step)
            before = denoised
        ends[order] = x
    truth = ((1 + sigmas[19] ** 2) / (1 + sigmas[0] ** 2)).sqrt()
    assert abs(ends[2] - truth) < abs(ends[1] - truth) / 5
    assert abs(ends[2] - truth) / truth < 0.01


@given(st.floats(0.01, 20.0), st.integers(0, 9))
def test_small_answers_are_doubted(size, seed):
    """Of the way 1 - 1 / rms^4 in luma and 1 - (0.7 / rms)^2 in colours, or nothing."""
    draw = torch.Generator().manual_seed(seed)
    degraded = torch.rand(2, 6, 4, 4, generator=draw) * 2 - 1
    luma = torch.randn(2, 1, 2, 4, 4, generator=draw).expand(-1, 3, -1, -1, -1)
    colour = torch.randn(2, 3, 2, 4, 4, generator=draw)
    colour = colour - torch.einsum("c,fcnhw->fnhw", torch.tensor(LUMA_601), colour).unsqueeze(1)
    for which in ((1, 0), (0, 1), (1, 9)):  # luma alone, colours alone, both, not alike large
        parts = [
            part * rms * size / 127.5 / part.square().mean().sqrt()
            for part, rms in zip((luma, colour), which, strict=True)
        ]
        way = sum(parts).flatten(1, 2)
        expected = sum(
            part * max(0.0, 1 - (least / (size * rms)) ** power) if rms else part
            for part, rms, least, power in zip(parts, which, (1, 0.7), (4, 2), strict=True)
        )
        found = doubted(degraded + way, degraded, 1.0) - degraded
        assert torch.allclose(found, expected.flatten(1, 2), atol=2e-3 * size / 127.5 + 1e-5)


def test_no_answer_is_no_way():
    degraded = torch.rand(1, 3, 4, 4)
    assert torch.equal(doubted(degraded, degraded, 1.0), degraded)


def test_what_fills_a_hole_is_not_doubted():
    degraded, latents = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5 / 127.5)
    holes = torch.zeros(1, 2, 4, 4)
    holes[0, 1, 2, 3] = 1
    found = doubted(latents, degraded, 1.0, holes) / latents
    assert found[0, :, 2, 3].min() == 1
    assert found.sum() == 3
