"""What a training configuration may say, and the one sentence for everything else."""

import re
from pathlib import Path

import pytest
import torch

from facerestore.errors import BadInputError, UsageError
from facerestore.models.checkpoint import find_model
from facerestore.models.weights import load_network
from facerestore.training.config import Losses, read_config
from facerestore.training.data import MIXES
from facerestore.training.networks import start

CONFIGS = Path(__file__).parents[2] / "configs"
MINI = (CONFIGS / "mini.toml").read_text()


def test_the_bundled_models_configuration_reads():
    config = read_config(CONFIGS / "mini.toml")
    assert config.model.name == "mini"
    assert set(config.data.mixes) == set(MIXES)
    assert config.network.widths == (160, 160, 160)
    assert [config.stage(n).frames for n in (0, 6499, 6500, 8799, 9999)] == [1, 1, 2, 8, 8]
    assert config.steps == config.stages[-1].until


def test_the_papers_numbers_are_in_the_configuration_of_full_size():
    from facerestore.models.convert import RELEASED

    config = read_config(CONFIGS / "svfr.toml")
    assert config.losses == Losses(ulr=0.01, prior=0.1)
    assert config.data.reference_dropout == 0.5
    assert set(config.data.mixes) == set(MIXES)
    assert config.noise.lognormal == (0.7, 1.6)
    for name, value in vars(RELEASED).items():
        if name not in ("name", "version", "licence", "origin"):
            assert getattr(config.model, name) == value, name


def test_what_is_left_out_is_the_papers():
    assert Losses() == Losses(ulr=0.01, prior=0.1, edges=0.0, steady=0.0)


WRONG = {
    "not TOML": ('seed = "', "seed = "),
    "unknown table": ("[network]", "[netwerk]", "unknown key 'netwerk'"),
    "unknown key": ("rate = 1e-3", "speed = 1e-3", "optimizer: unknown key 'speed'"),
    "missing key": ("rate = 1e-3", "", "missing 1 required"),
    "missing stage key": ("until = 6500", "", "stages: missing"),
    "text for a number": ("rate = 1e-3", 'rate = "fast"', "optimizer: rate is 'fast', expected"),
    "truth for a number": ("warmup = 200", "warmup = true", "optimizer: warmup is True"),
    "fraction for a count": ("until = 6500", "until = 6500.5", "stages: until is 6500.5"),
    "one name for names": (
        'validation = ["portraits-val.tar"]',
        'validation = "portraits-val.tar"',
        "data: validation is",
    ),
    "unknown mix": ("color = ", "colour = 0.12", "'colour' is none of"),
    "order of a mix": ('"bfr,color" = ', '"color,bfr" = 0.14', "'color,bfr' is none of"),
    "weight below 0": ("color = ", "color = -1", "expected weights"),
    "text for a weight": ("color = ", 'color = "often"', "data: mixes is"),
    "dropout": ("reference_dropout = 0.5", "reference_dropout = 2", "reference_dropout"),
    "points": ("points = 5 ", "points = 7 ", "data: impossible value of points"),
    "noise": ("high_share = ", "high_share = 1.9", "noise: impossible value of high_share"),
    "loss": ("ulr = 0.0", "ulr = -0.01", "losses: impossible value of ulr"),
    "size": ("size = 128", "size = 100", "expected sizes that 16 divides, 256 at most"),
    "large size": ("size = 128", "size = 512", "256 at most"),
    "no frames": ("frames = 1", "frames = 0", "stages: impossible value of frames"),
    "order of stages": ("until = 8600", "until = 10", "rising"),
    "average": ("average = 0.998", "average = 1.0", "optimizer: impossible value of average"),
    "no clips": ("clips = 6", "clips = 0", "saving: impossible value of clips"),
    "codec": ('"patch4"', '"patch9"', "unknown codec 'patch9'"),
    "widths": ("widths = [160, 160, 160]", "widths = [100]", "network: fresh is for"),
    "sigma": ("sigma_min = 30.0", "sigma_min = 200.0", "impossible value of sigma_min"),
    "tokens": ("tokens = [1, 32]", "tokens = [1]", "model: tokens is (1,)"),
    "model key": ('licence = "Apache-2.0"', "", "missing 1 required"),
    "a table is none": ("seed = 0", "seed = 0\noptimizer = 3", "Cannot"),
}


@pytest.mark.parametrize("case", WRONG)
def test_everything_wrong_is_one_sentence(case, tmp_path):
    old, new, *words = WRONG[case]
    path = tmp_path / "c.toml"
    assert old in MINI or case == "not TOML"
    pattern = rf"(?m)^{re.escape(old)}\S+" if old.endswith(" = ") else re.escape(old)  # any value
    wrong = re.sub(pattern, new, MINI, count=1)
    path.write_text(wrong if old in MINI else old)
    with pytest.raises(UsageError) as caught:
        read_config(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: not a training configuration (")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_pixel_losses_need_pixels(tmp_path):
    text = (CONFIGS / "svfr.toml").read_text().replace("prior = 0.1", "prior = 0.1\nedges = 0.7")
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match="without a VAE"):
        read_config(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text(text.replace("edges = 0.7", "").replace(
        'start = "stable-video-diffusion-img2vid-xt"', 'start = "fresh"'))  # fmt: skip
    with pytest.raises(UsageError, match="fresh is for codec patch4"):
        read_config(tmp_path / "c.toml")


def test_no_file_a_folder_and_no_text(tmp_path):
    with pytest.raises(BadInputError, match=r"c\.toml: no such file; configs/mini\.toml is one"):
        read_config(tmp_path / "c.toml")
    with pytest.raises(UsageError, match="not a training configuration"):
        read_config(tmp_path)
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a training configuration"):
        read_config(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text("")
    with pytest.raises(UsageError, match="missing"):
        read_config(tmp_path / "c.toml")


def test_the_short_run_begins_with_the_bundled_model():
    short, full = (read_config(CONFIGS / f"{name}.toml") for name in ("short", "mini"))
    assert short.losses == full.losses
    assert short.noise == full.noise
    objective, _ = start(short, CONFIGS / short.network.start)
    bundled = load_network(find_model("mini"), "unet", dtype=torch.float32)
    mine, theirs = objective.unet.conv_out.weight, bundled.conv_out.weight
    assert torch.equal(mine, theirs)
