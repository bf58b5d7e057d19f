"""What is computed once instead of many times must not change the numbers (1e-5 in float32)."""

import copy

import numpy as np
import pytest
import torch

from facerestore.frames import FaceClip, Reference, Tasks
from facerestore.models.checkpoint import read_config
from facerestore.models.device import Plan
from facerestore.models.load import load_model
from facerestore.models.network import Conditions, cross_attentions, hoisted, plain, stock

EXACT = 1e-5


@pytest.fixture(scope="module")
def restorer(tiny):
    restorer = load_model(tiny, device="cpu")
    restorer.dtype = torch.float32
    return restorer


@pytest.fixture(scope="module")
def conditions(restorer):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return Conditions(draw(9, 4, 8, 8), draw(1, 4, 8, 8), draw(1, 49, 1024), (1.0, 0.0, 1.0))


def unet_of(tiny):
    from facerestore.models.weights import load_network

    return load_network(tiny, "unet", dtype=torch.float32)


@pytest.mark.parametrize("blank", [0, 1, 2, 3])
def test_hoisted_cross_attention_and_constant_uncond(tiny, blank):
    """Both: tokens projected once, and the output bias instead of attention to zero tokens."""
    unet = unet_of(tiny)
    for name, parameter in unet.named_parameters():  # diffusers leaves no bias at zero by chance
        if name.endswith("attn2.to_out.0.bias"):
            torch.nn.init.normal_(parameter)
    slow = plain(copy.deepcopy(unet), tokens_shape=(49, 1024))
    fast = hoisted(unet)
    generator = torch.Generator().manual_seed(blank)
    sample = torch.randn(3, 4, 12, 8, 8, generator=generator)
    tokens = torch.randn(1, 49, 1024, generator=generator)
    noise, gamma = torch.tensor(0.7), torch.eye(3)
    with torch.inference_mode():
        expected = slow(sample, noise, tokens, blank, gamma)
        got = fast(sample, noise, tokens, blank, gamma)
        again = fast(sample, noise, tokens, blank, gamma)
        none = fast(sample, noise, None, 3, gamma)
        back = plain(stock(unet), tokens_shape=(49, 1024))(sample, noise, tokens, blank, gamma)
    assert (got - expected).abs().max() <= EXACT
    assert (again - got).abs().max() == 0
    assert (back - expected).abs().max() <= EXACT
    if blank == 3:
        assert (none - expected).abs().max() <= EXACT
    else:
        assert (none - expected).abs().max() > 100 * EXACT  # the tokens do matter


def test_one_branch_without_a_reference(restorer, conditions):
    """Both branches are the same then, whatever the guidance."""
    x, sigma, windows = torch.randn(9, 4, 8, 8), torch.tensor(3.0), [range(4), range(3, 9)]
    alone = Conditions(conditions.degraded, None, None, conditions.gamma)
    zeros = torch.zeros(1, 49, 1024)
    both = Conditions(conditions.degraded, torch.zeros(1, 4, 8, 8), zeros, conditions.gamma)
    with torch.inference_mode():
        cost = restorer.cost
        one = restorer.predict(x, sigma, alone, windows, 2.0)
        single = restorer.cost - cost
        two = restorer.predict(x, sigma, both, windows, 2.0)
    assert (one - two).abs().max() <= EXACT
    assert restorer.cost - cost - single == 2 * single


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_windows_in_batches(restorer, conditions, batch):
    x, sigma = (
        torch.randn(9, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
        torch.tensor(3.0),
    )
    windows = [range(4), range(3, 7), range(6, 9)]
    plan, before = Plan("test", batch, 16), restorer.plan
    with torch.inference_mode():
        restorer.plan = Plan("alone", 1, 16)
        expected = restorer.predict(x, sigma, conditions, windows, 2.0)
        restorer.plan = plan
        got = restorer.predict(x, sigma, conditions, windows, 2.0)
    restorer.plan = before
    assert (got - expected).abs().max() <= EXACT


def test_each_frame_is_encoded_once(tiny):
    """The draft of a person's first window, the whole clip and an overlapping one."""
    restorer, seen = load_model(tiny, device="cpu"), []
    encode = restorer.codec.encode

    def counted(pixels):
        seen.append(len(pixels))
        return encode(pixels)

    restorer.codec.encode = counted
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 64, 64, 3), np.uint8)
    draft = restorer.restore(FaceClip(frames[:4], 0), Tasks(bfr=True), None, seed=0)
    restorer.restore(FaceClip(frames[:6], 0), Tasks(bfr=True), Reference(draft[0]), seed=0)
    last = FaceClip(frames[4:], 4)
    got = restorer.restore(last, Tasks(bfr=True), Reference(draft[0]), seed=0)
    assert sum(seen) == 8 + 1  # every frame, and the reference
    forgets = load_model(tiny, device="cpu")
    for frame, kept in zip(frames, restorer._encoded(frames), strict=True):
        assert (forgets._encoded(frame[None])[0] - kept).abs().max() <= EXACT
    expected = forgets.restore(last, Tasks(bfr=True), Reference(draft[0]), seed=0)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_guidance_without_effect_costs_one_branch(restorer, conditions):
    x, sigma, windows = torch.randn(9, 4, 8, 8), torch.tensor(3.0), [range(9)]
    with torch.inference_mode():
        cost = restorer.cost
        restorer.predict(x, sigma, conditions, windows, 1.0)
    assert restorer.cost - cost == 9


def test_the_cost_of_a_clip_is_the_formula(tiny):
    restorer = load_model(tiny, device="cpu")
    config, _ = read_config(tiny)
    frames = np.zeros((11, 64, 64, 3), np.uint8)
    draft = restorer.restore(FaceClip(frames[:4], 0), Tasks(bfr=True), None, seed=0)
    restorer.restore(FaceClip(frames, 0), Tasks(bfr=True), Reference(draft[0]), seed=0)
    assert restorer.cost == restorer.forwards(11, Tasks(bfr=True))
    assert config.window == 4


def test_weights_in_sixteen_bits_without_autocast(tiny):
    """As on a card: the weights themselves in bfloat16, latents and steps in float32."""
    from facerestore.models.checkpoint import read_config
    from facerestore.models.load import assemble, load_networks

    config, _ = read_config(tiny)
    cpu = torch.device("cpu")
    networks = load_networks(tiny, config, cpu, torch.bfloat16)
    networks["unet"] = networks["unet"].bfloat16()
    networks["vae"] = networks["vae"].bfloat16()
    restorer = assemble(config, networks, device=cpu, dtype=torch.bfloat16)
    restorer.autocast, restorer.stored = False, torch.bfloat16
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    points = np.array([[24.0, 28], [40, 28], [32, 36], [26, 46], [38, 46]])
    reference = Reference(frames[0], points)
    got = restorer.restore(FaceClip(frames, 0), Tasks(bfr=True), reference, seed=0)
    exact = load_model(tiny, device="cpu")
    exact.dtype = torch.float32
    expected = exact.restore(FaceClip(frames, 0), Tasks(bfr=True), reference, seed=0)
    assert np.abs(got.astype(int) - expected).mean() < 8
    layer = next(iter(cross_attentions(networks["unet"])))
    assert layer.processor.keys.dtype == torch.bfloat16
