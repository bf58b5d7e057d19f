"""A batch of clips through tiny networks and through one whose answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facerestore.frames import FaceClip, Reference, Tasks
from facerestore.models.codec import PatchCodec, VaeCodec, hole_latents
from facerestore.models.identity import Identity
from facerestore.training.batches import collate
from facerestore.training.config import Losses, Noise
from facerestore.training.data import TEMPLATE_POINTS, Example
from facerestore.training.fresh import CODEC, folded, fresh_unet, keep_amplitude, whitening
from facerestore.training.networks import finished, restorer
from facerestore.training.objective import (
    Objective,
    Shared,
    draw_sigma,
    middle_channels,
)

NO_LOSSES = Losses(ulr=0, prior=0)


class Known(torch.nn.Module):
    """A network that answers half of its noisy input and remembers what it was shown."""

    def __init__(self, channels):
        super().__init__()
        self.config = SimpleNamespace(block_out_channels=(32, 32))
        self.mid_block = torch.nn.Conv2d(channels, 32, 1)
        self.channels, self.calls = channels, []

    def forward(self, sample, noise, tokens, *, added_time_ids):
        self.calls.append((sample.detach(), noise, tokens, added_time_ids))
        noisy = sample[:, :, : self.channels]
        self.mid_block(noisy.flatten(0, 1))
        return SimpleNamespace(sample=0.5 * noisy)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def mask(frames, size, *, seed):
    return np.random.default_rng(seed).random((frames, size, size)) < 0.2


def example(seed=0, *, frames=2, size=64, reference=True, pair=False, points=TEMPLATE_POINTS):
    return Example(
        target=pictures(frames, size, size, seed=seed),
        bad=pictures(frames, size, size, seed=seed + 100),
        other=pictures(frames, size, size, seed=seed + 200) if pair else None,
        holes=mask(frames, size, seed=seed),
        other_holes=mask(frames, size, seed=seed + 1) if pair else None,
        reference=pictures(size, size, seed=seed + 300) if reference else None,
        tasks=Tasks(bfr=True, inpaint=True),
        landmarks=np.tile(points, (frames, 1, 1)),
        reference_landmarks=points,
    )


def objective(unet, model, losses=NO_LOSSES, noise=None, **more):
    shared = more.pop("shared", Shared(PatchCodec(4)))
    return Objective(unet, shared, model, losses, noise or Noise(), points=5, **more)


def noise_like(batch, channels=48, cell=4, seed=0):
    count, frames, _, size, _ = batch.bad.shape
    shape = (count, frames, channels, size // cell, size // cell)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sigmas(*values):
    return torch.tensor(values)[:, None, None, None, None]


def unit(array):
    return torch.from_numpy(np.ascontiguousarray(array)).movedim(-1, -3).float() / 127.5 - 1


@pytest.mark.parametrize("residual", [True, False])
def test_noise_loss_by_hand(mini, residual):
    model, one = replace(mini, residual=residual), example()
    batch, noise, sigma = collate([one], faces=False), None, 3.0
    noise = noise_like(batch)
    found = objective(Known(48), model)(batch, sigmas(sigma), noise)
    clean, bad = (PatchCodec(4).encode(unit(p)) for p in (one.target, one.bad))
    target = (clean - bad if residual else clean) * 2.5
    x = target + sigma * noise[0]
    answer = 0.5 * x / (sigma**2 + 1) ** 0.5
    wanted = (x / (sigma**2 + 1) - target) * (sigma**2 + 1) ** 0.5 / sigma
    assert set(found) == {"noise", "total"}
    assert float(found["noise"]) == pytest.approx(
        float((answer - wanted).square().mean()), rel=1e-4
    )
    assert float(found["total"]) == pytest.approx(float(found["noise"]))


def test_the_network_sees_noisy_degraded_and_reference(mini):
    unet, one = Known(48), example()
    batch = collate([one, example(1, reference=False)], faces=False)
    noise, model = noise_like(batch), mini
    objective(unet, model)(batch, sigmas(3.0, 4.0), noise)
    sample, told, tokens, gamma = unet.calls[0]
    bad, known = PatchCodec(4).encode(unit(one.bad)), PatchCodec(4).encode(unit(one.reference))
    torch.testing.assert_close(sample[0, :, 48:96], bad)
    torch.testing.assert_close(sample[0, :, 96:], known.expand(2, -1, -1, -1))
    assert (sample[1, :, 96:] == 0).all()  # not black: nothing
    torch.testing.assert_close(told, torch.tensor([3.0, 4.0]).log() / 4)
    assert tokens.shape == (2, 1, 32)
    assert (tokens == 0).all()
    assert gamma.tolist() == [[1, 0, 1]] * 2


def test_a_model_that_fills_holes_is_told_where_they_are(mini):
    unet, pair = Known(48), [example(seed, pair=True) for seed in range(2)]
    batch = collate([pair[0], replace(pair[1], holes=None)], faces=False)
    model = replace(mini, fills_holes=True)
    objective(unet, model)(batch, sigmas(3.0, 4.0), noise_like(batch))
    marks = unet.calls[0][0][:, :, 144:]
    nothing = np.zeros_like(pair[0].holes)
    wanted = [pair[0].holes, nothing, *(one.other_holes for one in pair)]
    torch.testing.assert_close(marks, hole_latents(torch.from_numpy(np.stack(wanted))))


def test_two_degradations_share_noise_target_and_level(mini):
    unet = Known(48)
    pair = [example(seed, pair=True) for seed in range(2)]
    batch = collate(pair, faces=False)
    noise = noise_like(batch)
    model = replace(mini, residual=False)
    found = objective(unet, model, Losses(ulr=0.01, prior=0.1))(batch, sigmas(3.0, 5.0), noise)
    sample, told, _, gamma = unet.calls[0]
    assert sample.shape[0] == 4
    torch.testing.assert_close(sample[:2, :, :48], sample[2:, :, :48])
    torch.testing.assert_close(sample[:2, :, 96:], sample[2:, :, 96:])
    torch.testing.assert_close(told[:2], told[2:])
    assert gamma.shape == (4, 3)
    for one, shown in zip(pair, sample[2:], strict=True):
        torch.testing.assert_close(shown[:, 48:96], PatchCodec(4).encode(unit(one.other)))
    assert set(found) == {"noise", "ulr", "prior", "total"}
    parts = {name: value.item() for name, value in found.items()}
    expected = parts["noise"] + 0.01 * parts["ulr"] + 0.1 * parts["prior"]
    assert parts["total"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("losses", "gone"),
    [
        (Losses(ulr=0), "latent"),
        (Losses(prior=0), "head"),
    ],
)
def test_weight_zero_removes_a_loss_and_its_parameters(mini, losses, gone):
    batch = collate([example(seed, pair=True) for seed in range(2)], faces=False)
    made = objective(Known(48), mini, losses)
    found = made(batch, sigmas(3.0, 3.0), noise_like(batch))
    left = {"latent": "ulr", "head": "prior"}
    assert left.pop(gone) not in found
    assert set(left.values()) < set(found)
    assert not [name for name, _ in made.named_parameters() if name.startswith(gone)]


def test_every_loss_reaches_the_network(mini):
    torch.manual_seed(0)
    unet = fresh_unet((32, 32)).train()
    losses = Losses(ulr=1, prior=1, edges=1, steady=1, structure=1, detail=1)
    made = objective(unet, mini, losses, shown=whitening())
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    batch = collate([example(seed, pair=True) for seed in range(2)], faces=False)
    found = made(batch, sigmas(90.0, 20.0), noise_like(batch))
    for name in ("noise", "ulr", "prior", "edges", "steady", "structure", "detail"):
        gradient = torch.autograd.grad(found[name], unet.conv_in.weight, retain_graph=True)[0]
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 0, name
    found["total"].backward()
    missing = [name for name, p in made.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_low_noise_counts_less_and_high_noise_asks_for_no_detail(mini):
    batch = collate([example()], faces=False)
    noise, names = noise_like(batch), ("edges", "steady", "structure", "detail")
    losses = replace(NO_LOSSES, **dict.fromkeys(names, 1.0))
    full, less, high = (
        objective(Known(48), mini, losses, Noise(low_weight=w))(batch, sigmas(level), noise)
        for w, level in ((1.0, 3.0), (0.25, 3.0), (0.25, 90.0))
    )
    for name in ("noise", *names[:-1]):
        assert float(less[name]) == pytest.approx(0.25 * float(full[name]), rel=1e-5)
    assert float(less["detail"]) == float(full["detail"]) > 0
    assert float(high["detail"]) == 0


def test_the_relative_floor_divides_by_how_bad_a_clip_is(mini):
    one = example()
    batch = collate([one], faces=False)
    noise = noise_like(batch)
    plain, relative = (
        objective(Known(48), mini, replace(NO_LOSSES, relative_floor=f))(batch, sigmas(3.0), noise)
        for f in (0.0, 0.5)
    )
    residual = (unit(one.target) - unit(one.bad)) * 2.5
    badness = float(residual.square().mean()) + 0.5
    assert float(relative["noise"]) == pytest.approx(float(plain["noise"]) / badness, rel=1e-4)


def test_noise_levels_keep_to_their_ranges(mini):
    draw = lambda noise: draw_sigma(noise, mini, 4000, torch.Generator().manual_seed(0)).flatten()  # noqa: E731
    whole, high = draw(Noise()), draw(Noise(high_share=0.85))
    assert 2 <= whole.min() < 2.2
    assert 95 < whole.max() <= 100
    assert float(whole.log().median()) == pytest.approx(np.log(200**0.5), abs=0.1)
    share = float((high >= 50).float().mean())
    assert share == pytest.approx(0.85 + 0.15 * np.log(2) / np.log(50), abs=0.02)
    wide = replace(mini, sigma_min=1e-4, sigma_max=1e5)
    levels = draw_sigma(Noise(lognormal=(0.7, 1.6)), wide, 4000, torch.Generator().manual_seed(0))
    assert float(levels.log().mean()) == pytest.approx(0.7, abs=0.08)
    assert float(levels.log().std()) == pytest.approx(1.6, abs=0.08)
    assert draw(Noise(lognormal=(0.7, 1.6))).min() == 2


def test_tokens_come_from_the_references_face(svd_networks, svd_model):
    unet = Known(4)
    made = objective(
        unet,
        svd_model,
        shared=Shared(VaeCodec(svd_networks["vae"]), arcface=svd_networks["arcface"]),
        projection=svd_networks["tokens"],
    )
    one, other = example(), example(1, reference=False)
    batch = collate(
        [one, other, replace(one, reference_landmarks=np.full((5, 2), np.nan))], faces=True
    )
    noise = noise_like(batch, channels=4, cell=8)
    made(batch, sigmas(3.0, 3.0, 3.0), noise)
    tokens = unet.calls[0][2]
    assert tokens.shape == (3, 49, 1024)
    identity = Identity(svd_networks["arcface"], svd_networks["tokens"])
    face = identity.look([one.reference], [TEMPLATE_POINTS * 64])
    torch.testing.assert_close(tokens[0], identity.tokens(face)[0], rtol=1e-3, atol=1e-3)
    assert (tokens[1] == 0).all()
    assert (tokens[2] == 0).all()  # nobody knows where its face is
    sample = unet.calls[0][0]
    assert (sample[1, :, 8:] == 0).all()
    assert sample[2, :, 8:].abs().max() > 0


def test_guidance_is_that_of_the_sampler(mini):
    unet = Known(48)
    made = objective(unet, replace(mini, guidance=2.0))
    batch = collate([example()], faces=False)
    base, target = made.latents(batch)
    x = target + 3 * noise_like(batch)
    found = made.denoise(batch, x, sigmas(3.0), base)
    assert len(unet.calls) == 2
    assert (unet.calls[1][0][0, :, 96:] == 0).all()
    expected = x / 10 - 3 / 10**0.5 * (0.5 * x / 10**0.5)  # both branches agree here
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_objective_can_be_copied_after_a_loss(mini):
    import copy

    made = objective(fresh_unet((32, 32)), mini, Losses())
    batch = collate([example(seed, pair=True) for seed in range(2)], faces=False)
    found = made(batch, sigmas(3.0, 3.0), noise_like(batch))
    aim = torch.zeros(4, 2, 48, 16, 16)
    assert set(made(batch, sigmas(3.0, 3.0), noise_like(batch), aim)) == {"consistency", "total"}
    twin = copy.deepcopy(made)
    assert twin.shared is made.shared
    again = twin(batch, sigmas(3.0, 3.0), noise_like(batch))
    assert again["total"].item() == found["total"].item()


def test_what_is_exported_says_what_was_trained(mini):
    torch.manual_seed(0)
    unet = fresh_unet((32, 32)).eval()
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    made = objective(unet, mini, shown=whitening())
    one = example()
    batch = collate([one], faces=False)
    base, _ = made.latents(batch)
    networks = finished(made, made.state_dict())
    model = replace(mini, window=2, overlap=1)
    tried = restorer(networks, model, torch.device("cpu"))
    tried.dtype = torch.float32  # as exact as the objective
    clip, given = FaceClip(one.bad, 0), Reference(one.reference)
    noise = tried._noise(base[0].shape, 0)
    denoised = made.denoise(batch, 100.0 * noise[None], sigmas(100.0), base)[0]
    pixels = PatchCodec(4).decode(base[0] + denoised / 2.5)
    expected = ((pixels + 1) * 127.5).round().clamp(0, 255).movedim(-3, -1).detach().numpy()
    found = tried.restore(clip, Tasks(bfr=True, inpaint=True), given, seed=0)
    assert np.abs(found.astype(float) - expected).max() <= 1
    assert np.abs(found.astype(float) - one.bad).mean() > 1
    assert middle_channels(unet) == 32


def test_examples_of_a_batch_share_their_size():
    with pytest.raises(ValueError, match="shape"):
        collate([example(size=64), example(size=48)], faces=False)


# --- the start of a fresh network ---


def answer(unet, x):
    sample = torch.cat([x * 0, x, x * 0], dim=2)
    return unet(
        sample, torch.ones(1), torch.zeros(1, 1, 32), added_time_ids=torch.ones(1, 3)
    ).sample


def test_a_fresh_network_predicts_nothing():
    assert answer(fresh_unet((32, 32)).eval(), torch.randn(1, 1, 48, 8, 8)).abs().max() == 0


def test_folding_gives_the_same_first_layer():
    unet = fresh_unet((32, 32))
    sample = torch.randn(2, 3 * CODEC.channels, 8, 8)
    noisy, bad, known = sample.split(CODEC.channels, dim=1)
    shown = [torch.einsum("ij,bjhw->bihw", whitening(), z) for z in (bad, known)]
    wanted = unet.conv_in(torch.cat([noisy, *shown], dim=1))
    unet.conv_in.weight.data = folded(unet.conv_in.weight.data, whitening())
    torch.testing.assert_close(unet.conv_in(sample), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("more", [0, 16])
def test_folding_can_be_undone(more):
    weight = torch.randn(32, 3 * CODEC.channels + more, 3, 3)
    back = folded(folded(weight, whitening()), torch.linalg.inv(whitening()))
    torch.testing.assert_close(back, weight, rtol=1e-4, atol=1e-4)


def test_whitening_splits_a_patch_into_its_mean_and_its_detail():
    flat = whitening() @ torch.full((48,), 0.5)
    assert flat[[0, 16, 32]] == pytest.approx([0.5] * 3, abs=1e-5)
    assert flat[[i for i in range(48) if i % 16]].abs().max() < 1e-4


@torch.no_grad()
def test_the_last_norm_keeps_strength_after_the_offsets():
    unet = fresh_unet((64, 64))
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


def test_a_mirrored_batch_is_the_mirror_of_everything():
    batch = collate([example(0, pair=True), example(1, pair=True)], faces=True)
    turned = batch.mirrored()
    for name in ("target", "bad", "other", "holes", "other_holes", "reference", "faces"):
        assert torch.equal(getattr(turned, name), getattr(batch, name).flip(-1)), name
    for name in ("known", "gamma"):
        assert torch.equal(getattr(turned, name), getattr(batch, name)), name
    left_eye, right_eye = batch.landmarks[..., 0, :], turned.landmarks[..., 1, :]
    assert torch.allclose(right_eye, torch.stack([1 - left_eye[..., 0], left_eye[..., 1]], -1))
    assert torch.allclose(turned.mirrored().landmarks, batch.landmarks)
    alone = collate([example(0)], faces=False).mirrored()
    assert alone.other is None
    assert alone.faces is None
