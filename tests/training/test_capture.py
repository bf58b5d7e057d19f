"""Gradients replayed on a card are those of the plain way; without a card there is nothing else."""

import pytest
import torch

from facerestore.training.batches import Batches
from facerestore.training.capture import Recorded
from facerestore.training.config import read_config
from facerestore.training.data import read_samples
from facerestore.training.train import begin, paper_draw

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")


@pytest.fixture
def no_accelerator():
    """Accelerate keeps the device of the first run of a process for all later ones."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def batches(config, shards, count):
    made = Batches(config, read_samples(sorted(shards.glob("*.tar"))), 1)
    return [made[number] for number in range(count)]


def test_without_a_card_gradients_are_added_up(toml, shards):
    run = begin(read_config(toml), None, "cpu")
    assert not isinstance(run.gradients, Recorded)
    (batch,) = batches(run.config, shards, 1)
    drawn = paper_draw(run, batch, torch.Generator().manual_seed(0))
    weight, found = run.objective.unet.conv_out.weight, []
    for _ in range(2):
        run.gradients(batch, *drawn)
        found.append(weight.grad.clone())
    torch.testing.assert_close(found[1], 2 * found[0], rtol=1e-2, atol=1e-6)


@needs_card
@pytest.mark.usefixtures("no_accelerator")
def test_what_is_replayed_is_what_was_recorded(toml, shards):
    run = begin(read_config(toml), None, "cuda")
    torch.nn.init.normal_(run.objective.unet.conv_out.weight, std=0.05)
    assert isinstance(run.gradients, Recorded)
    generator = torch.Generator("cuda").manual_seed(0)
    for batch in batches(run.config, shards, 3):
        batch = batch.to(run.accelerator.device)
        drawn = paper_draw(run, batch, generator)
        replayed = run.gradients(batch, *drawn)
        first = [None if p.grad is None else p.grad.clone() for p in run.objective.parameters()]
        run.optimizer.zero_grad()
        plain = run.gradients.plain(batch, *drawn)
        for name in plain:
            assert float(replayed[name]) == pytest.approx(float(plain[name]), rel=1e-3)
        for one, parameter in zip(first, run.objective.parameters(), strict=True):
            if one is not None:
                torch.testing.assert_close(one, parameter.grad, rtol=0.02, atol=1e-4)
        run.optimizer.zero_grad()
