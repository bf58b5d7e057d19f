"""Each loss against its formula written out in loops, its gradient, and its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facerestore.training.losses import (
    HUBER,
    LandmarkHead,
    LatentTransformer,
    consistency_loss,
    detail_loss,
    latent_loss,
    noise_loss,
    pixel_loss,
    prior_loss,
    structure_loss,
    wing,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(count, seed):
    return torch.nn.functional.normalize(drawn(count, 6, seed=seed), dim=-1)


def test_noise_loss_is_the_weighted_error_of_the_denoised():
    answer, target, noise = (drawn(2, 3, 4, 2, 2, seed=s) for s in range(3))
    sigma = torch.tensor([0.3, 7.0], dtype=torch.float64)
    x = target + sigma[:, None, None, None, None] * noise
    found = noise_loss(answer, target, x, sigma[:, None, None, None, None])
    for clip, level in enumerate(sigma.tolist()):
        total = 0.0
        triples = zip(*(t[clip].flatten().tolist() for t in (answer, target, x)), strict=True)
        for a, clean, noisy in triples:
            denoised = noisy / (level**2 + 1) - a * level / math.sqrt(level**2 + 1)
            total += (denoised - clean) ** 2 * (level**2 + 1) / level**2
        assert float(found[clip]) == pytest.approx(total / answer[clip].numel())


def test_noise_loss_of_the_right_answer_is_zero():
    target, noise = drawn(1, 2, 4, 2, 2), drawn(1, 2, 4, 2, 2, seed=1)
    sigma = torch.full((1, 1, 1, 1, 1), 2.0, dtype=torch.float64)
    x = target + sigma * noise
    velocity = (noise - sigma * target) / (sigma**2 + 1).sqrt()  # Salimans & Ho 2022
    assert float(noise_loss(velocity, target, x, sigma)) == pytest.approx(0, abs=1e-20)


def test_pixel_loss_counts_edges_and_flicker():
    error = drawn(1, 3, 3, 4, 5)
    edges, steady = pixel_loss(error)
    e = error[0].tolist()
    across = [abs(c[y][x + 1] - c[y][x]) for f in e for c in f for y in range(4) for x in range(4)]
    down = [abs(c[y + 1][x] - c[y][x]) for f in e for c in f for y in range(3) for x in range(5)]
    moves = [
        abs(e[f + 1][c][y][x] - e[f][c][y][x])
        for f in range(2)
        for c in range(3)
        for y in range(4)
        for x in range(5)
    ]
    expected = sum(across) / len(across) + sum(down) / len(down)
    assert float(edges) == pytest.approx(expected)
    assert float(steady) == pytest.approx(sum(moves) / len(moves))


def test_pixel_loss_forgives_a_constant_error_and_single_frames():
    edges, steady = pixel_loss(torch.full((2, 3, 3, 4, 4), 0.7))
    assert edges.tolist() == steady.tolist() == [0, 0]
    assert pixel_loss(drawn(2, 1, 3, 4, 4))[1].tolist() == [0, 0]


def slow_info_nce(first, second, temperature):
    total = 0.0
    for one, other in ((first, second), (second, first)):
        for i in range(len(one)):
            scores = [math.exp(float(one[i] @ other[j]) / temperature) for j in range(len(one))]
            total -= math.log(scores[i] / sum(scores))
    return total / (2 * len(first))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_latent_loss_is_info_nce_both_ways(count, temperature):
    first, second = units(count, 0), units(count, 1)
    found = float(latent_loss(first, second, temperature=temperature))
    assert found == pytest.approx(slow_info_nce(first, second, temperature))


def test_structure_loss_is_what_ssim_leaves_to_one():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 3, 3, 24, 20, generator=generator) * 2 - 1
    restored = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    found = structure_loss(restored, clean)
    for number in range(2):
        frames = (clip[number].flatten(0, 1).numpy() for clip in (restored, clean))
        likeness = [
            structural_similarity(*pair, win_size=7, data_range=2, use_sample_covariance=False)
            for pair in zip(*frames, strict=True)
        ]
        assert float(found[number]) == pytest.approx(1 - np.mean(likeness), abs=1e-5)
    assert structure_loss(clean, clean).abs().max() < 1e-6


def slow_detail(picture, fine, coarse):
    """Strength of detail of one channel [H, W], every second place."""
    band, rim = np.zeros([side - coarse + 1 for side in picture.shape]), (coarse - fine) // 2
    for y, x in np.ndindex(band.shape):
        around = picture[y : y + coarse, x : x + coarse]
        band[y, x] = around[rim : rim + fine, rim : rim + fine].mean() - around.mean()
    rows, columns = (range(0, n - 8, 2) for n in band.shape)
    squares = [[(band[y : y + 9, x : x + 9] ** 2).mean() for x in columns] for y in rows]
    return np.sqrt(np.array(squares) + 1e-6)


def test_detail_loss_compares_the_strength_of_detail():
    clean, restored = 0.3 * drawn(1, 1, 3, 26, 24), 0.2 * drawn(1, 1, 3, 26, 24, seed=1)
    away = []
    for band in ((1, 3), (3, 7), (5, 13)):
        for pair in zip(restored.flatten(0, 2).numpy(), clean.flatten(0, 2).numpy(), strict=True):
            found, wanted = (slow_detail(picture, *band) for picture in pair)
            away.append((np.abs(found - wanted) / (wanted + 0.02)).mean())
    assert float(detail_loss(restored, clean)) == pytest.approx(np.mean(away))


def test_detail_may_lie_elsewhere_but_may_not_be_missing():
    clean = 0.3 * drawn(1, 1, 3, 40, 40)
    elsewhere, blurred = clean.roll(3, -1), torch.nn.functional.avg_pool2d(clean[0], 5, 1, 2)[None]
    assert float(detail_loss(clean, clean)) == 0
    assert detail_loss(elsewhere, clean) < 0.2 * detail_loss(blurred, clean)


def test_latent_loss_of_one_clip_is_zero_and_falls_as_pairs_agree():
    assert float(latent_loss(units(1, 0), units(1, 1))) == 0
    first = units(4, 0)
    assert latent_loss(first, first) < latent_loss(first, units(4, 1))
    assert latent_loss(first, first) < latent_loss(first, first.roll(1, 0))


def slow_wing(x, width=10.0, curve=2.0):
    if abs(x) < width:
        return width * math.log(1 + abs(x) / curve)
    return abs(x) - (width - width * math.log(1 + width / curve))


@given(st.floats(-300, 300))
def test_wing_is_the_formula(x):
    assert float(wing(torch.tensor(x, dtype=torch.float64))) == pytest.approx(slow_wing(x))


def test_wing_is_continuous_where_its_parts_meet():
    below, above = wing(torch.tensor([10 - 1e-9, 10 + 1e-9], dtype=torch.float64)).tolist()
    assert above - below == pytest.approx(0, abs=1e-7)
    assert float(wing(torch.tensor(0.0))) == 0


def test_prior_loss_is_the_mean_wing_in_pixels_of_256_and_skips_the_unknown():
    points, truth = drawn(2, 3, 5, 2) * 0.1 + 0.5, drawn(2, 3, 5, 2, seed=1) * 0.1 + 0.5
    truth[0, 1] = float("nan")
    truth[1, 2, 4, 0] = float("nan")
    pairs = zip(points.flatten().tolist(), truth.flatten().tolist(), strict=True)
    known = [slow_wing((p - t) * 256) for p, t in pairs if not math.isnan(t)]
    assert len(known) == 60 - 11
    assert float(prior_loss(points, truth)) == pytest.approx(sum(known) / len(known))


def test_prior_loss_without_a_known_landmark_is_zero_with_a_zero_gradient():
    points = drawn(1, 2, 5, 2).requires_grad_(True)
    loss = prior_loss(points, torch.full_like(points, float("nan")).detach())
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert (points.grad == 0).all()


def test_consistency_loss_is_pseudo_huber():
    one, other = drawn(2, 3, 4, 2, 2), drawn(2, 3, 4, 2, 2, seed=1)
    count = one[0].numel()
    constant = HUBER * math.sqrt(count)
    total = 0.0
    for clip in range(2):
        pairs = zip(one[clip].flatten().tolist(), other[clip].flatten().tolist(), strict=True)
        square = sum((a - b) ** 2 for a, b in pairs)
        total += math.sqrt(square + constant**2) - constant
    assert float(consistency_loss(one, other)) == pytest.approx(total / 2 / math.sqrt(count))
    assert float(consistency_loss(one, one)) == pytest.approx(0, abs=1e-12)


def gradients(function, *tensors):
    return torch.autograd.gradcheck(function, [t.clone().requires_grad_(True) for t in tensors])


def test_gradients():
    shape = (2, 2, 3, 3, 3)
    sigma = torch.full((2, 1, 1, 1, 1), 1.5, dtype=torch.float64)
    answer, target, x = (drawn(*shape, seed=s) for s in range(3))
    assert gradients(lambda a: noise_loss(a, target, x, sigma), answer)
    assert gradients(lambda e: sum(t.sum() for t in pixel_loss(e)), answer)
    assert gradients(
        lambda p: detail_loss(p, drawn(1, 1, 1, 22, 22)), drawn(1, 1, 1, 22, 22, seed=7)
    )
    assert gradients(latent_loss, units(3, 0), units(3, 1))
    assert gradients(consistency_loss, answer, target)
    truth = drawn(1, 2, 5, 2, seed=4)
    truth[0, 0, 0] = float("nan")
    assert gradients(lambda p: prior_loss(p, truth), drawn(1, 2, 5, 2, seed=5))


@pytest.mark.parametrize("channels", [32, 48, 6])
def test_the_latent_transformer_gives_one_unit_vector_a_clip(channels):
    features = torch.randn(2, 3, channels, 4, 4)
    network = LatentTransformer(channels)
    vectors = network(features)
    assert vectors.shape == (2, channels)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))
    assert sum(isinstance(m, torch.nn.LayerNorm) for m in network.modules()) == 1
    assert len(network.blocks) == 2
    swapped = network(features.flip(1))  # no order of frames, any number of them
    torch.testing.assert_close(swapped, vectors)
    assert network(features[:, :1]).shape == vectors.shape


def test_the_landmark_head_has_five_layers_and_begins_in_the_middle():
    head = LandmarkHead(32, 68)
    points = head(torch.randn(2, 3, 32, 4, 4))
    assert points.shape == (2, 3, 68, 2)
    assert sum(isinstance(m, torch.nn.Linear) for m in head.modules()) == 5
    assert (points - 0.5).abs().max() < 0.3
    features = torch.randn(1, 1, 32, 4, 4)
    mixed = features.flatten(-2)[..., torch.randperm(16)].unflatten(-1, (4, 4))
    torch.testing.assert_close(head(mixed), head(features))  # it is pooled over places
