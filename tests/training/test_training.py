"""Clips, degradations, the network's start, and a short training that is killed and exported."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.frames import FaceClip, Tasks
from facerestore.models.load import load_model
from facerestore.training import train as training
from facerestore.training.data import example, load_portraits, moving_clip
from facerestore.training.degrade import degrade, draw_blind, draw_holes, to_grey
from facerestore.training.fresh import CODEC, folded, fresh_unet, keep_amplitude, whitening


def portrait(seed, size=256):
    """A drawn face: enough for code that does not look for one."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), rng.integers(60, 200, 3), np.uint8)
    cv2.ellipse(picture, (128, 136), (70, 90), 0, 0, 360, (150, 170, 220), -1)
    for x in (97, 159):
        cv2.circle(picture, (x, 120), 8, (30, 30, 30), -1)
    cv2.ellipse(picture, (128, 186), (24, 8), 0, 0, 360, (60, 60, 170), -1)
    return picture


@pytest.fixture
def folder(tmp_path):
    """A folder of portraits as the trainer wants it."""
    for name, seeds in (("portraits-g", range(4)), ("portraits-val", range(4, 7))):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for seed in seeds:
                data = cv2.imencode(".png", portrait(seed))[1].tobytes()
                entry = tarfile.TarInfo(f"{seed}.png")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return tmp_path


def test_portraits_come_in_name_order_as_rgb(folder):
    portraits = load_portraits([folder / "portraits-g.tar"])
    assert portraits.shape == (4, 256, 256, 3)
    for seed, found in enumerate(portraits):
        assert np.array_equal(found, portrait(seed)[..., ::-1])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0]))
def test_a_clip_moves_smoothly_and_comes_again_from_its_seed(seed, zoom):
    draws = [
        moving_clip(
            portrait(0), n_frames=4, size=64, rng=np.random.default_rng(seed), zoom=zoom
        ).astype(int)
        for _ in range(2)
    ]
    assert draws[0].shape == (4, 64, 64, 3)
    assert np.array_equal(*draws)
    steps = np.abs(np.diff(draws[0], axis=0)).mean(axis=(1, 2, 3))
    assert 0 < steps.max() < 40


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["bfr", "color", "inpaint", "bfr,color,inpaint"]))
def test_degradation_does_what_the_tasks_say(seed, mix):
    tasks = Tasks.parse(mix)
    clean = np.stack([portrait(1)[::4, ::4]] * 2)
    bad, holes = degrade(clean, tasks, np.random.default_rng(seed))
    again, _ = degrade(clean, tasks, np.random.default_rng(seed))
    assert np.array_equal(bad, again)
    assert (bad.shape, bad.dtype) == (clean.shape, np.uint8)
    known = np.ones(clean.shape[:3], bool) if holes is None else ~holes
    assert (holes is None) == (not tasks.inpaint)
    assert (bad[~known] == 255).all()
    if tasks.color:
        assert np.ptp(bad, axis=-1).max() == 0
    if not tasks.bfr:
        expected = to_grey(clean) if tasks.color else clean
        assert np.array_equal(bad[known], expected[known])


def test_draws_stay_in_their_ranges():
    rng = np.random.default_rng(0)
    draws = [draw_blind(rng) for _ in range(500)]
    assert max(d.blur_sigma for d in draws) <= 3
    assert 1 <= min(d.shrink for d in draws) <= max(d.shrink for d in draws) <= 6
    assert 0.05 < np.mean([d.shrink == 1 for d in draws]) < 0.3
    assert {d.codec for d in draws} == {None, "libx264", "mpeg4", "mpeg2video"}
    assert 0 < draw_holes(3, 64, rng).mean() < 0.9


def test_a_reference_is_there_half_of_the_time():
    portraits, rng = np.stack([portrait(0)]), np.random.default_rng(0)
    draws = [example(portraits, n_frames=1, size=32, rng=rng, zoomed=0.5) for _ in range(200)]
    assert 0.35 < np.mean([d.reference is None for d in draws]) < 0.65


def latents(seed, strength=1.0):
    return torch.randn(1, 1, 48, 16, 16, generator=torch.Generator().manual_seed(seed)) * strength


def answer(unet, x):
    tokens = torch.zeros(1, training.TOKENS, training.TOKEN_DIM)
    sample = torch.cat([x * 0, x, x * 0], dim=2)
    return unet(sample, torch.ones(1), tokens, added_time_ids=torch.ones(1, 3)).sample


def test_a_fresh_network_predicts_nothing():
    assert answer(fresh_unet().eval(), latents(0)).abs().max() == 0


def test_folding_gives_the_same_first_layer():
    unet = fresh_unet()
    sample = torch.randn(2, 3 * CODEC.channels, 8, 8)
    noisy, bad, known = sample.split(CODEC.channels, dim=1)
    shown = [torch.einsum("ij,bjhw->bihw", whitening(), z) for z in (bad, known)]
    wanted = unet.conv_in(torch.cat([noisy, *shown], dim=1))
    unet.conv_in.weight.data = folded(unet.conv_in.weight.data, whitening())
    torch.testing.assert_close(unet.conv_in(sample), wanted, rtol=1e-3, atol=1e-3)


def test_whitening_splits_a_patch_into_its_mean_and_its_detail():
    flat = whitening() @ torch.full((48,), 0.5)
    assert flat[[0, 16, 32]] == pytest.approx([0.5] * 3, abs=1e-5)
    assert flat[[i for i in range(48) if i % 16]].abs().max() < 1e-4


@torch.no_grad()
def test_the_last_norm_keeps_strength_after_the_offsets():
    unet = fresh_unet()
    norm, spread = unet.conv_norm_out, torch.full((64,), 2.0)
    torch.nn.init.ones_(norm.weight)
    torch.nn.init.zeros_(norm.bias)
    features = torch.randn(1, 64, 32, 32) * spread[:, None, None]
    features -= features.mean((2, 3), keepdim=True)
    plain = norm(features)
    block = unet.up_blocks[-1].resnets[-1]
    before = block.temporal_res_block.conv2.bias.clone()
    keep_amplitude(unet, spread)
    share = 1 - torch.sigmoid(block.time_mixer.mix_factor)
    moved = ((block.temporal_res_block.conv2.bias - before) * share)[None, :, None, None]
    torch.testing.assert_close(norm(features + moved), plain, rtol=0.05, atol=0.05)
    weak = norm(0.25 * features + moved)  # a plain norm would bring it to full strength again
    ratio = weak.std((2, 3)) / plain.std((2, 3))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.25), rtol=0.1, atol=0)


def test_training_goes_on_after_a_kill_and_its_export_restores(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)
    monkeypatch.setattr(training, "STAGES", (training.Stage(1.0, 64, 1, 2, 0.5),))
    work, model = tmp_path / "work", tmp_path / "model"
    training.train(folder, work, minutes=0.005)
    first = torch.load(work / "state.pt", weights_only=True)
    training.train(folder, work, minutes=first["seconds"] / 60 + 0.005)
    second = torch.load(work / "state.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert second["seconds"] > first["seconds"]
    lines = [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in lines)
    training.export(work, model)
    restorer = load_model(model, device="cpu")
    clip = FaceClip(np.stack([portrait(0)] * 2), 0)
    restored = restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    assert restored.shape == clip.frames.shape
