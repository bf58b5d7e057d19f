"""Fine-tuning Stable Video Diffusion and distilling a teacher, with tiny networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facerestore.errors import ModelError, UsageError
from facerestore.frames import FaceClip, Reference, Tasks
from facerestore.models.checkpoint import SAFETENSORS, read_config
from facerestore.models.convert import UNET
from facerestore.models.load import load_model
from facerestore.models.sampling import karras_sigmas
from facerestore.models.weights import make_network, save_model
from facerestore.training.batches import Batches
from facerestore.training.config import Losses, Network, Noise, Saving, Stage
from facerestore.training.data import TEMPLATE_POINTS, read_samples
from facerestore.training.distill import aim_of, distillation, student_of
from facerestore.training.fresh import fresh_unet
from facerestore.training.networks import start
from facerestore.training.train import train

TINY = UNET | {
    "in_channels": 8,
    "block_out_channels": [64, 128, 256, 256],
    "num_attention_heads": [1, 2, 4, 4],
}


@pytest.fixture(scope="module")
def svd(tmp_path_factory, svd_networks):
    """Stable Video Diffusion as diffusers saves it, tiny; and its UNet."""
    folder = tmp_path_factory.mktemp("svd")
    torch.manual_seed(1)
    unet = make_network("unet", TINY).eval()
    for kind, network in {"unet": unet, "vae": svd_networks["vae"]}.items():
        network.save_config(folder / kind)
        save_file(network.state_dict(), folder / kind / SAFETENSORS)
    save_file(svd_networks["arcface"].state_dict(), folder / "arcface.safetensors")
    return folder, unet


@pytest.fixture
def svd_config(config, svd_model):
    def make(**changes):
        values = {
            "model": svd_model,
            "stages": (Stage(1, 64, 2, 1),),
            "network": Network(start="svd"),
            "noise": Noise(lognormal=(0.7, 1.6)),
            "saving": Saving(clips=1, frames=2),
        }
        return config(**(values | changes))

    return make


@torch.no_grad()
def test_eight_channels_become_twelve_and_answer_the_same(svd, svd_config):
    folder, unet = svd
    made, frozen = start(svd_config(), folder)
    assert set(frozen) == {"vae"}
    wide = made.unet.eval()
    assert wide.conv_in.weight.shape[1] == 12
    assert (wide.conv_in.weight[:, 8:] == 0).all()
    assert torch.equal(wide.conv_in.weight[:, :8], unet.conv_in.weight)
    sample, tokens = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 49, 1024)
    ids, reference = torch.tensor([[1.0, 0, 1]]), torch.randn(1, 2, 4, 8, 8)
    expected = unet(sample, torch.ones(1), tokens, added_time_ids=ids).sample
    both = torch.cat([sample, reference], dim=2)
    found = wide(both, torch.ones(1), tokens, added_time_ids=ids).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_only_the_networks_of_the_paper_are_trained(svd, svd_config):
    folder, _ = svd
    network = Network("svd", arcface=str(folder / "arcface.safetensors"))
    made, frozen = start(svd_config(network=network), folder)
    assert set(frozen) == {"vae", "arcface"}
    assert not any(p.requires_grad for net in frozen.values() for p in net.parameters())
    kinds = {name.partition(".")[0] for name, p in made.named_parameters() if p.requires_grad}
    assert kinds == {"unet", "projection", "latent", "head"}
    assert all(p.requires_grad for p in made.parameters())


@pytest.mark.parametrize("with_arcface", [False, True])
def test_a_step_of_fine_tuning_leaves_a_model_that_restores(
    svd, svd_config, shards, portrait, tmp_path, with_arcface
):
    folder, _ = svd
    arcface = str(folder / "arcface.safetensors") if with_arcface else None
    config = svd_config(network=Network("svd", arcface=arcface))
    config = replace(
        config,
        data=replace(config.data, reference_dropout=0.0),
        optimizer=replace(config.optimizer, warmup=0, checkpointing=True),
    )
    run = train(config, data=shards, work=tmp_path, start_folder=folder, device="cpu")
    assert run.step == 1
    first = run.objective.unet.conv_in.weight
    assert (first[:, 8:] != 0).any()  # the reference channels learn
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "facerestore.json", "unet", "vae", *(["identity"] if with_arcface else []),
    }  # fmt: skip
    model = load_model(tmp_path / "model", device="cpu")
    assert model.has_identity == with_arcface
    clip = FaceClip(np.stack([portrait(0, 64)] * 2), 0)
    given = Reference(portrait(0, 64), TEMPLATE_POINTS * 64)
    assert model.restore(clip, Tasks(bfr=True), given, seed=0).shape == clip.frames.shape
    again, kept = start(config, tmp_path / "model")
    assert set(kept) == ({"vae", "arcface"} if with_arcface else {"vae"})
    assert (again.projection is not None) == with_arcface


def test_folders_that_do_not_fit_are_one_sentence(svd, svd_config, tmp_path):
    folder, _ = svd
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no vae/"):
        start(svd_config(), tmp_path)
    with pytest.raises(ModelError, match=r"none\.pth: no such file"):
        start(svd_config(network=Network("svd", arcface="none.pth")), folder)
    odd = tmp_path / "odd"
    (odd / "unet").mkdir(parents=True)
    (odd / "vae").symlink_to(folder / "vae")
    make_network("unet", TINY).save_config(odd / "unet")
    save_file({"conv_in.weight": torch.zeros(64, 5, 3, 3)}, odd / "unet" / SAFETENSORS)
    with pytest.raises(ModelError, match="5 input channels; expected 8"):
        start(svd_config(), odd)


# --- distillation ---


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory, mini):
    torch.manual_seed(0)
    unet = fresh_unet((32, 32))
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    save_model(folder, {"unet": unet}, replace(mini, steps=4))
    return folder


@torch.no_grad()
def test_the_aim_is_an_euler_step_of_the_teacher_then_the_average(
    teacher_folder, config, shards, mini
):
    plain = config(losses=Losses(ulr=0, prior=0), model=replace(mini, guidance=1.5))
    teacher, average = (start(plain, teacher_folder)[0].eval() for _ in range(2))
    average.unet.conv_out.weight *= 0.5
    average.model = mini
    batch = Batches(plain, read_samples([shards / "train.tar"]), 1)[3]
    sigmas = karras_sigmas(3, sigma_min=2.0, sigma_max=100.0)
    at = torch.tensor([0, 2])  # the first level, and the last
    noise = torch.randn(2, 2, 48, 16, 16)
    sigma, after = (s[:, None, None, None, None] for s in (sigmas[at], sigmas[at + 1]))
    found = aim_of(teacher, average, batch, sigma, after, noise)
    base, target = teacher.latents(batch)
    for clip in range(2):
        one = collate_one(batch, clip)
        here = base[clip : clip + 1]
        s, lower = float(sigmas[at[clip]]), float(sigmas[at[clip] + 1])
        x = target[clip] + s * noise[clip]
        level = torch.full((1, 1, 1, 1, 1), s)
        said = teacher.denoise(one, x[None], level, here)[0]
        expected = said
        if lower > 0:
            x = x + (x - said) / s * (lower - s)
            expected = average.denoise(one, x[None], torch.full_like(level, lower), here)[0]
        torch.testing.assert_close(found[clip], expected, rtol=1e-3, atol=1e-3)


def collate_one(batch, number):
    parts = {k: None if v is None else v[number : number + 1] for k, v in vars(batch).items()}
    return type(batch)(**parts)


def test_a_student_takes_one_step_without_guidance(config, mini):
    student = student_of(config(model=replace(mini, guidance=2.0, steps=4, first_steps=5)))
    assert (student.model.guidance, student.model.steps, student.model.first_steps) == (1, 1, None)
    assert student.losses == Losses(ulr=0, prior=0)


def test_a_distillation_trains_and_its_model_takes_one_step(
    teacher_folder, config, shards, mini, tmp_path
):
    plain = config(model=replace(mini, steps=4), stages=(Stage(21, 32, 1, 2),))
    teacher = start(plain, teacher_folder)[0].eval().requires_grad_(False)
    before = teacher.unet.conv_in.weight.clone()
    run = train(
        student_of(plain),
        data=shards,
        work=tmp_path,
        start_folder=teacher_folder,
        device="cpu",
        draw=distillation(teacher, 4),
    )
    assert run.step == 21
    assert torch.equal(teacher.unet.conv_in.weight, before)
    lines = (tmp_path / "log.jsonl").read_text()
    assert '"consistency"' in lines
    assert '"noise"' not in lines
    assert read_config(tmp_path / "model")[0].steps == 1
    load_model(tmp_path / "model", device="cpu")


def test_a_teacher_of_one_step_has_nothing_to_teach(config, teacher_folder):
    teacher = start(config(), teacher_folder)[0]
    with pytest.raises(UsageError, match="use 2 or more"):
        distillation(teacher, 1)


def test_batches_are_as_the_paper_pairs_them(config, shards):
    samples = read_samples([shards / "train.tar"])
    assert Batches(config(), samples, 1)[0].other is not None
    assert Batches(student_of(config()), samples, 1)[0].other is None
