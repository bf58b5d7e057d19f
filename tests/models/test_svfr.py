"""The sampler with a network whose answer is known, and the bundled model on a real picture."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.frames import FaceClip, Reference, Tasks
from facerestore.models.checkpoint import ModelConfig
from facerestore.models.codec import PatchCodec
from facerestore.models.fill import fill_holes
from facerestore.models.network import plain
from facerestore.models.restorer import condition
from facerestore.models.sampling import karras_sigmas, scalings
from facerestore.models.svfr import SVFR


def config(**changes) -> ModelConfig:
    values = {
        "name": "test",
        "version": "0",
        "tasks": ("bfr", "color", "inpaint"),
        "size": 16,
        "window": 4,
        "overlap": 2,
        "codec": "patch4",
        "residual": True,
        "latent_scale": 2.5,
        "sigma_min": 0.05,
        "sigma_max": 20.0,
        "steps": 1,
        "tokens": (1, 8),
        "licence": "none",
        "origin": "test",
    }
    return ModelConfig(**(values | changes))


class KnowsTheAnswer(torch.nn.Module):
    """Its denoised latents are exactly `answer`; it remembers what it was given."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, sample, noise, tokens, *, added_time_ids):
        self.calls.append((sample.clone(), noise.clone(), tokens.clone(), added_time_ids.clone()))
        sigma = (noise * 4).exp()
        skip, out, into, _ = scalings(sigma)
        noisy = sample[:, :, : self.answer.shape[0]] / into

        class Output:
            pass

        output = Output()
        output.sample = (self.answer[None, None] - skip * noisy) / out
        return output


def clip(n_frames=7, size=16, holes=None):
    frames = np.random.default_rng(0).integers(0, 256, (n_frames, size, size, 3), np.uint8)
    return FaceClip(frames, 0, holes)


def model(answer, *, steps=None, **changes):
    unet, settings = KnowsTheAnswer(answer), config(**changes)
    restorer = SVFR(
        plain(unet, tokens_shape=settings.tokens),
        PatchCodec(4),
        settings,
        device=torch.device("cpu"),
        dtype=torch.float32,
        steps=steps,
    )
    restorer.unet = unet
    return restorer


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("n_frames", [1, 4, 7])
def test_residual_zero_gives_the_source_back(steps, n_frames):
    restorer = model(torch.zeros(48, 4, 4), steps=steps)
    source = clip(n_frames)
    restored = restorer.restore(source, Tasks(bfr=True), None, seed=1)
    np.testing.assert_array_equal(restored, source.frames)


def test_without_residual_the_answer_itself_comes_out():
    picture = torch.linspace(-1, 1, 48 * 16).reshape(48, 4, 4)
    restorer = model(picture * 0.5, steps=3, residual=False, latent_scale=0.5)
    restored = restorer.restore(clip(5), Tasks(bfr=True), None, seed=0)
    expected = (PatchCodec(4).decode(picture).permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(restored.astype(float) - expected).max() <= 0.51


def test_conditions_are_noisy_degraded_reference_and_gamma():
    restorer = model(torch.zeros(48, 4, 4))
    source, picture = clip(4), np.full((16, 16, 3), 255, np.uint8)
    tasks = Tasks(bfr=True, inpaint=True)
    restorer.restore(source, tasks, Reference(picture), seed=0)
    sample, noise, tokens, gamma = restorer.unet.calls[0]
    assert sample.shape == (1, 4, 144, 4, 4)
    pixels = torch.from_numpy(source.frames).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(sample[0, :, 48:96], PatchCodec(4).encode(pixels))
    assert (sample[0, :, 96:] == 1).all()
    assert (tokens == 0).all()
    assert gamma.tolist() == [[1, 0, 1]]
    torch.testing.assert_close(noise, torch.tensor(20.0).log() / 4)


def test_without_reference_its_channels_are_zero():
    restorer = model(torch.zeros(48, 4, 4))
    restorer.restore(clip(4), Tasks(bfr=True), None, seed=0)
    assert (restorer.unet.calls[0][0][0, :, 96:] == 0).all()


def test_cost_counts_frames_through_the_network():
    restorer = model(torch.zeros(48, 4, 4), steps=3)
    restorer.restore(clip(7), Tasks(bfr=True), None, seed=0)
    frames = [call[0].shape[0] * call[0].shape[1] for call in restorer.unet.calls]
    assert restorer.cost == sum(frames) == 3 * 3 * 4


def test_other_crop_sizes_are_refused():
    with pytest.raises(ValueError, match="16 px"):
        model(torch.zeros(48, 4, 4)).restore(clip(size=32), Tasks(bfr=True), None, seed=0)


def test_tasks_and_face_decide_the_size_of_crops():
    restorer = model(torch.zeros(48, 8, 8), large=32)
    blind, colours = Tasks(bfr=True), Tasks(color=True)
    assert [restorer.side(blind, face) for face in (31, 32)] == [16, 32]
    assert restorer.side(colours, 32) == 16
    assert restorer.restore(clip(size=32), blind, None, seed=0).shape == (7, 32, 32, 3)
    restorer.unet.answer = torch.zeros(48, 4, 4)
    assert restorer.restore(clip(size=16), colours, None, seed=0).shape == (7, 16, 16, 3)


def test_a_reference_of_another_size_is_brought_to_that_of_the_clip():
    restorer = model(torch.zeros(48, 4, 4), large=32)
    large = Reference(np.repeat(np.repeat(clip(1).frames[0], 2, axis=0), 2, axis=1))
    seen = restorer.conditions(clip(), Tasks(bfr=True), large).known
    same = restorer.conditions(clip(), Tasks(bfr=True), Reference(clip(1).frames[0])).known
    torch.testing.assert_close(seen, same)


def test_colorization_sees_grey_and_holes_are_white():
    holes = np.zeros((2, 16, 16), bool)
    holes[:, :4] = True
    frames = condition(clip(2, holes=holes), Tasks(color=True, inpaint=True))
    assert (frames[:, :4] == 255).all()
    assert (frames[:, 4:].min(-1) == frames[:, 4:].max(-1)).all()


def test_without_the_inpaint_task_holes_are_left_alone():
    source = clip(2, holes=np.ones((2, 16, 16), bool))
    np.testing.assert_array_equal(condition(source, Tasks(bfr=True)), source.frames)


def test_a_model_that_fills_holes_sees_them_filled_and_marked():
    holes = np.zeros((2, 16, 16), bool)
    holes[:, :4, :8] = True
    source, tasks = clip(2, holes=holes), Tasks(color=True, inpaint=True)
    restorer = model(torch.zeros(48, 4, 4), fills_holes=True)
    restorer.restore(source, tasks, None, seed=0)
    sample = restorer.unet.calls[0][0]
    assert sample.shape[2] == 3 * 48 + 16
    grey = condition(source, Tasks(color=True))
    pixels = torch.from_numpy(fill_holes(grey, holes)).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(sample[0, :, 48:96], PatchCodec(4).encode(pixels))
    marks = torch.zeros(2, 16, 4, 4)
    marks[:, :, 0, :2] = 1
    torch.testing.assert_close(sample[0, :, 144:], marks)
    restorer.restore(source, Tasks(color=True), None, seed=0)
    assert (restorer.unet.calls[-1][0][0, :, 144:] == 0).all()


def test_only_the_patch_codec_is_told_of_holes():
    with pytest.raises(ValueError, match="fills_holes"):
        config(fills_holes=True, codec="vae", size=64)


@given(st.floats(0.002, 700))
def test_scalings_bring_the_input_to_unit_variance(sigma):
    skip, out, into, _ = scalings(torch.tensor(sigma, dtype=torch.float64))
    torch.testing.assert_close(into**2 * (sigma**2 + 1), torch.ones_like(into))
    torch.testing.assert_close(skip + out**2, torch.ones_like(skip))


@settings(max_examples=30)
@given(st.integers(1, 60))
def test_noise_levels_fall_to_zero(steps):
    sigmas = karras_sigmas(steps, sigma_min=0.05, sigma_max=20)
    assert len(sigmas) == steps + 1
    assert (sigmas.diff() < 0).all()
    assert float(sigmas[0]) == pytest.approx(20, rel=1e-5)
    assert sigmas[-1] == 0
