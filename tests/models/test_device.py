"""Memory plans: the largest that fits, and a step down when it does not after all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import ResourceError
from facerestore.frames import FaceClip, Tasks
from facerestore.models.device import PLANS, fitting_plans, place, plan_gib
from facerestore.models.load import load_model

FULL = {"unet_gib": 2.84, "vae_gib": 0.18, "area": 1.0, "window": 16}


def test_every_plan_needs_less_than_the_one_before():
    needs = [plan_gib(plan, **FULL) for plan in PLANS]
    assert needs == sorted(needs, reverse=True)


def test_cards_of_some_sizes():
    assert fitting_plans(80, **FULL)[0] == PLANS[0]
    assert fitting_plans(8.5, **FULL)[0].offload == "none"
    assert fitting_plans(4.0, **FULL)[0].offload != "none"
    assert fitting_plans(0.1, **FULL) == [PLANS[-1]]


@given(st.floats(0.1, 100))
def test_what_is_chosen_fits_or_is_the_smallest(limit):
    first = fitting_plans(limit, **FULL)[0]
    assert plan_gib(first, **FULL) <= limit or first == PLANS[-1]
    larger = PLANS[: PLANS.index(first)]
    assert all(plan_gib(plan, **FULL) > limit for plan in larger)


def out_of_memory(restorer, times):
    network = restorer.network

    def fails(*arguments):
        nonlocal times
        if times > 0:
            times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(*arguments)

    restorer.network = fails


def test_out_of_memory_goes_on_with_the_next_plan(tiny):
    restorer, placed = load_model(tiny, device="cpu"), []
    clip = FaceClip(np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8), 0)
    expected = restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    small = replace(restorer.plan, name="smaller", batch=1)
    restorer.smaller, restorer.place = [small], placed.append
    out_of_memory(restorer, 1)
    got = restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    assert placed == [small]
    assert restorer.plan == small
    assert any("out of memory" in note and "smaller" in note for note in restorer.notes)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_out_of_memory_with_the_smallest_plan_is_explained(tiny):
    restorer = load_model(tiny, device="cpu")
    out_of_memory(restorer, 1)
    clip = FaceClip(np.zeros((2, 64, 64, 3), np.uint8), 0)
    with pytest.raises(ResourceError, match="too small"):
        restorer.restore(clip, Tasks(bfr=True), None, seed=0)


@pytest.mark.parametrize("offload", ["none", "components", "groups"])
def test_offload_does_not_change_the_numbers(tiny, offload):
    """On the CPU there is nothing to gain, but the same hooks run."""
    restorer = load_model(tiny, device="cpu")
    clip = FaceClip(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8), 0)
    expected = restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    restorer.place(replace(restorer.plan, offload=offload))
    restorer._latents.clear()
    got = restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    np.testing.assert_array_equal(got, expected)
    restorer.place(restorer.plan)


def test_placing_twice_removes_the_hooks(tiny):
    unet, vae = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for plan in (*PLANS[-2:-1], PLANS[0]):
        place(unet, vae, torch.device("cpu"), plan)
    assert not hasattr(unet, "_hf_hook")
