"""The benchmark counts what the sampler does."""

import pytest

from facerestore.bench import Bench, measure
from facerestore.bench_released import bench_released, own_calls, released_calls
from facerestore.frames import Tasks
from facerestore.models.convert import RELEASED
from facerestore.models.sampling import film_forwards, schedule_for


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_calls_add_up_to_the_formula(mode, batch):
    calls = []
    for reference, frames in ((False, 16), (True, 64)):
        schedule = schedule_for(RELEASED, mode=mode, steps=None, reference=reference)
        calls += own_calls(schedule, frames, reference, batch)
    total = sum(size * frames for size, frames, _ in calls)
    assert total == film_forwards(RELEASED, 64, Tasks(bfr=True), mode=mode, steps=None)
    assert max(size for size, _, _ in calls) <= batch


class Settings:
    window, config = 16, RELEASED


def test_the_released_codes_calls():
    calls = released_calls(Settings, 64)
    assert sum(size * frames for size, frames, _ in calls) == 88 * 64
    assert len(calls) == 352 // 2


@pytest.mark.slow
def test_the_comparison_runs():
    facts = bench_released(Bench(width=64, size=64, frames=16, device="cpu"))
    assert [row["mode"] for row in facts["modes"]] == ["released", "exact", "fast"]
    assert [row["frame_forwards_per_frame"] for row in facts["modes"]][1:] == [110.0, 24.0]
    assert set(facts["times_faster_than_released"]) == {"exact", "fast"}
    assert len(facts["exact_wins"]) == 5
    assert facts["unet_parameters"] < 100e6


def test_the_bundled_model_is_measured():
    facts = measure(None, Bench(model="mini", device="cpu"))
    assert facts["model"] == "mini"
    assert facts["model_face_frames_per_second"] > 0
    assert 0 < facts["tflops"] < facts["measured_ceiling_tflops"]
