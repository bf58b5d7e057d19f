"""Training from start to model folder: short runs of a tiny network on drawn faces."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from facerestore.errors import BadInputError, BusyError, ModelError, ResourceError, UsageError
from facerestore.frames import FaceClip, Reference, Tasks
from facerestore.lease import leased
from facerestore.models.load import load_model
from facerestore.training.config import Losses, Network, Saving, Stage, read_config
from facerestore.training.train import paper_draw, rate, train


def go(config, shards, work, **more):
    return train(config, data=shards, work=work, device="cpu", **more)


def lines(work):
    return [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]


def losses(work):
    """Per step what was logged, without the time."""
    return {
        line["step"]: {k: v for k, v in line.items() if k not in ("step", "minutes")}
        for line in lines(work)
        if "validation" not in line
    }


@pytest.fixture(scope="module")
def trained(toml, shards, tmp_path_factory):
    """The work folder of a whole run, and what it said."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    work, said = tmp_path_factory.mktemp("runs") / "whole", []
    go(read_config(toml), shards, work, listen=said.append)
    torch.set_num_threads(threads)
    return work, said


def test_a_run_leaves_a_log_a_state_a_model_and_samples(trained):
    work, said = trained
    names = {path.name for path in work.iterdir() if path.name != ".lease"}
    assert names == {"state.pt", "model", "log.jsonl", "tensorboard", "samples"}
    assert list(losses(work)) == [20, 40]
    for found in losses(work).values():
        assert set(found) == {"noise", "ulr", "prior", "total", "norm"}
        assert all(np.isfinite(value) for value in found.values())
    scores = next(line["validation"] for line in lines(work) if "validation" in line)
    assert set(scores) == {"bfr", "color,inpaint"}
    assert set(scores["bfr"]) == {"psnr", "ssim", "temporal"}
    assert [path.name for path in (work / "samples").iterdir()] == ["0000040.png"]
    assert "step 40: bfr" in said[-1]
    assert list((work / "tensorboard").iterdir())


def test_curves_are_in_tensorboard(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    work, _ = trained
    events = EventAccumulator(str(work / "tensorboard"))
    events.Reload()
    assert {"train/noise", "train/ulr", "psnr/bfr", "ssim/color,inpaint"} <= set(
        events.Tags()["scalars"]
    )
    assert [e.step for e in events.Scalars("train/noise")] == [20, 40]
    assert events.Tags()["images"] == ["samples"]


def test_the_model_folder_restores(trained, portrait):
    model = load_model(trained[0] / "model", device="cpu")
    assert model.config.origin.startswith("facerestore train, 40 steps")
    clip = FaceClip(np.stack([portrait(0, 64)] * 3), 0)
    restored = model.restore(clip, Tasks(bfr=True), Reference(portrait(1, 64)), seed=0)
    assert restored.shape == clip.frames.shape


def test_a_step_is_tried_on_held_out_clips_once(config, shards, tmp_path):
    saving = Saving(minutes=0.0, validation_minutes=0.0, clips=1, frames=2)
    go(config(saving=saving, stages=(Stage(3, 32, 1, 2),)), shards, tmp_path)
    assert [line["step"] for line in lines(tmp_path) if "validation" in line] == [1, 2, 3]


def test_a_killed_run_goes_on_as_if_nothing_had_been(trained, toml, shards, tmp_path):
    work = tmp_path / "killed"
    command = [sys.executable, "-m", "facerestore", "train", toml, "--data", shards]
    command += ["--work", work, "--device", "cpu"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as here: threads round differently
    helped = tmp_path / "helped.toml"
    helped.write_text(toml.read_text().replace("workers = 0", "workers = 1"))
    command[command.index(toml)] = helped
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, env=one_thread)
    try:
        end = time.monotonic() + 120
        while not (work / "model").exists() and time.monotonic() < end:
            time.sleep(0.02)
            assert process.poll() is None
        helpers = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert helpers
    assert not psutil.wait_procs(helpers, timeout=30)[1]  # none is left behind
    step = torch.load(work / "state.pt", weights_only=True)["step"]
    assert 0 < step < 40
    with (work / "log.jsonl").open("a") as file:
        file.write('{"step": 40, "noi')  # torn by the kill
    said = []
    go(read_config(toml), shards, work, listen=said.append)
    assert f"goes on at step {step}" in said[0]
    assert losses(work) == losses(trained[0])
    one, other = (
        torch.load(w / "state.pt", weights_only=True)["objective"] for w in (work, trained[0])
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_time_limit_stops_and_nothing_is_lost(trained, toml, shards, tmp_path, monkeypatch):
    from facerestore.training.log import Clock

    calls = iter(range(1000))
    monkeypatch.setattr(Clock, "over", lambda clock: next(calls) >= 27)
    work = tmp_path / "work"
    run = go(read_config(toml), shards, work, max_minutes=5)
    assert run.step == 27
    assert (work / "model").is_dir()
    assert list(losses(work)) == [20]  # the seven steps since then wait in the state
    monkeypatch.undo()
    assert go(read_config(toml), shards, work).step == 40
    assert losses(work) == losses(trained[0])


def test_a_gradient_that_is_not_finite_is_left_out(toml, shards, tmp_path):
    def draw(run, batch, generator):
        sigma, noise = paper_draw(run, batch, generator)
        return sigma, noise * (float("nan") if run.step in spoilt else 1)

    spoilt = {7}
    config = read_config(toml)
    run = go(config, shards, tmp_path / "once", draw=draw)
    assert all(torch.isfinite(p).all() for p in run.objective.parameters())
    found = losses(tmp_path / "once")
    assert found[20]["lost"] == 1
    assert np.isfinite(found[20]["total"])
    assert "lost" not in found[40]
    spoilt = set(range(9, 20))
    with pytest.raises(ModelError, match="step 20: the loss is not finite"):
        go(config, shards, tmp_path / "often", draw=draw)


def test_no_time_at_all_still_leaves_a_model(toml, shards, tmp_path):
    run = go(read_config(toml), shards, tmp_path / "w", max_minutes=0)
    assert run.step == 0
    load_model(tmp_path / "w" / "model", device="cpu")


def test_a_run_that_ended_before_it_was_saved_begins_anew_and_says_so(toml, shards, tmp_path):
    work, said = tmp_path / "run", []
    go(read_config(toml), shards, work, max_minutes=0.0)
    (work / "state.pt").unlink()
    go(read_config(toml), shards, work, max_minutes=0.0, listen=said.append)
    assert said[0] == f"{work}: begins anew, the run there ended before it was first saved"


def test_a_run_that_has_ended_trains_no_further(trained, toml, shards):
    before = losses(trained[0])
    assert go(read_config(toml), shards, trained[0]).step == 40
    assert losses(trained[0]) == before


def test_training_makes_the_loss_smaller(config, shards, tmp_path):
    plain = replace(
        config(),
        stages=(Stage(40, 32, 1, 4),),
        losses=Losses(ulr=0, prior=0),
        data=replace(config().data, mixes={"color": 1.0}),
    )
    go(plain, shards, tmp_path)
    first, last = losses(tmp_path).values()
    assert set(first) == {"noise", "total", "norm"}
    assert last["noise"] < first["noise"]


def test_batches_add_up_to_a_step(config, shards, tmp_path):
    plain = config(stages=(Stage(1, 32, 1, 1),), losses=Losses(ulr=0, prior=0))
    plain = replace(plain, data=replace(plain.data, mixes={"color": 1.0}))
    twice = replace(plain, optimizer=replace(plain.optimizer, accumulate=2))
    single = replace(plain, stages=(Stage(2, 32, 1, 1),))
    go(single, shards, tmp_path / "single")
    go(twice, shards, tmp_path / "twice")
    (one,), (other,) = (list(losses(tmp_path / n).values()) for n in ("single", "twice"))
    # the same two batches; between them the single one has made a small step
    assert other["noise"] == pytest.approx(one["noise"], rel=0.1)
    assert other["noise"] != one["noise"]


@pytest.mark.parametrize(
    "change",
    [
        {"network": Network(widths=(64, 32))},
        {"losses": Losses(ulr=0, prior=0)},
    ],
)
def test_another_networks_state_is_refused(trained, toml, shards, change):
    other = replace(read_config(toml), **change)
    with pytest.raises(ModelError, match=r"state\.pt: not a state of this configuration") as caught:
        go(other, shards, trained[0])
    assert "\n" not in str(caught.value)


def test_a_damaged_state_is_refused(toml, shards, tmp_path):
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(ModelError, match=r"state\.pt: not a state"):
        go(read_config(toml), shards, tmp_path)


def test_wrong_places_write_nothing(toml, shards, tmp_path):
    work = tmp_path / "work"
    with pytest.raises(BadInputError, match=r"train\.tar: no such file; is --data the right"):
        go(read_config(toml), tmp_path, work)
    with pytest.raises(UsageError, match="choose auto, cpu or cuda"):
        train(read_config(toml), data=shards, work=work, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="'cuda' is not available"):
            train(read_config(toml), data=shards, work=work, device="cuda")
    many = read_config(toml)
    many = replace(many, data=replace(many.data, points=68))
    with pytest.raises(BadInputError, match="no sample has 68 landmarks"):
        go(many, shards, work)
    with pytest.raises(ModelError, match="is it a Stable Video Diffusion folder"):
        go(read_config(toml), shards, work, start_folder=tmp_path)
    assert not work.exists()


def test_a_model_is_trained_on(trained, toml, shards, tmp_path):
    config = read_config(toml)
    start = trained[0] / "model"
    run = go(config, shards, tmp_path / "w", start_folder=start, max_minutes=0)
    assert run.step == 0
    one, other = (load_model(f / "model", device="cpu") for f in (trained[0], tmp_path / "w"))
    clip = FaceClip(np.full((2, 64, 64, 3), 90, np.uint8), 0)
    first, second = (
        m.restore(clip, Tasks(bfr=True), None, seed=0).astype(int) for m in (one, other)
    )
    assert np.abs(first - second).max() <= 2  # weights are kept in 16 bits
    told = replace(config, model=replace(config.model, fills_holes=True))
    go(told, shards, tmp_path / "told", start_folder=start, max_minutes=0)
    third = load_model(tmp_path / "told" / "model", device="cpu")
    same = third.restore(clip, Tasks(bfr=True), None, seed=0)
    assert np.abs(first - same.astype(int)).max() <= 2  # zero weights for where holes are
    with pytest.raises(ModelError, match="fills_holes = true"):
        go(config, shards, tmp_path / "x", start_folder=tmp_path / "told" / "model")
    wrong = replace(config, model=replace(config.model, latent_scale=1.0))
    with pytest.raises(ModelError, match="its latent_scale is"):
        go(wrong, shards, tmp_path / "x", start_folder=start)


def test_the_rate_warms_up_stays_and_falls(config):
    plain = config(stages=(Stage(1000, 64, 1, 1),))
    plain = replace(plain, optimizer=replace(plain.optimizer, warmup=100, decay_from=500))
    rates = [rate(plain, step) for step in range(1001)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[49] == pytest.approx(5e-4)
    assert rates[100] == rates[500] == 1e-3
    assert rates[750] == pytest.approx(0.51e-3, rel=0.01)
    assert rates[1000] == pytest.approx(0.02e-3)
    assert all(type(r) is float for r in rates)


def test_two_runs_do_not_share_a_work_folder(toml, shards, tmp_path):
    work = tmp_path / "run"
    with (
        leased(work / ".lease", doing="training here"),
        pytest.raises(BusyError, match=f"process {os.getpid()} .* is training here; wait for it"),
    ):
        go(read_config(toml), shards, work)
    assert not (work / "state.pt").exists()
