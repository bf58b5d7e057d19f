"""Drawn faces, tar files of them, tiny configurations and networks."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from facerestore.models.checkpoint import ModelConfig
from facerestore.training.config import Data, Losses, Network, Noise, Optimizer, Saving, Stage
from facerestore.training.config import TrainConfig as Config
from facerestore.training.data import MIXES

MINI = ModelConfig(
    name="tiny",
    version="0",
    tasks=("bfr", "color", "inpaint"),
    size=64,
    window=2,
    overlap=1,
    codec="patch4",
    residual=True,
    latent_scale=2.5,
    sigma_min=2.0,
    sigma_max=100.0,
    steps=1,
    tokens=(1, 32),
    licence="none",
    origin="test",
)


TOML = """
[data]
train = ["train.tar"]
validation = ["val.tar"]
workers = 0
mixes = { bfr = 1, "color,inpaint" = 1 }
[network]
widths = [32, 32]
[model]
name = "tiny"
version = "0"
tasks = ["bfr", "color", "inpaint"]
size = 64
window = 2
overlap = 1
codec = "patch4"
residual = true
latent_scale = 2.5
sigma_min = 2.0
sigma_max = 100.0
steps = 1
tokens = [1, 32]
licence = "none"
[optimizer]
rate = 1e-3
warmup = 5
[saving]
minutes = 0
validation_minutes = 1000
clips = 1
frames = 2
[[stages]]
until = 15
size = 32
frames = 1
batch = 2
[[stages]]
until = 40
size = 32
frames = 2
batch = 2
"""


@pytest.fixture(scope="session")
def toml(tmp_path_factory):
    """A configuration file that trains in seconds on `shards`."""
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _portrait(seed, size=256):
    """A drawn face, RGB: enough for code that does not look for one."""
    rng = np.random.default_rng(seed)
    picture = np.full((256, 256, 3), rng.integers(60, 200, 3), np.uint8)
    cv2.ellipse(picture, (128, 136), (70, 90), 0, 0, 360, (220, 170, 150), -1)
    for x in (97, 159):
        cv2.circle(picture, (x, 120), 8, (30, 30, 30), -1)
    cv2.ellipse(picture, (128, 186), (24, 8), 0, 0, 360, (170, 60, 60), -1)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _pack(path, members):
    """A tar file of named contents: pictures RGB become PNG, other things JSON, bytes stay."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content
            if isinstance(content, np.ndarray):
                data = cv2.imencode(".png", content[..., ::-1])[1].tobytes()
            elif not isinstance(content, bytes):
                data = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def _config(**changes):
    values = {
        "model": MINI,
        "data": Data(("train.tar",), ("val.tar",), dict.fromkeys(MIXES, 1.0), workers=0),
        "stages": (Stage(40, 64, 2, 2),),
        "optimizer": Optimizer(1e-3, warmup=5),
        "network": Network(widths=(32, 32)),
        "noise": Noise(),
        "losses": Losses(),
        "saving": Saving(minutes=0.0, validation_minutes=1000.0, clips=1, frames=2),
    }
    return Config(**(values | changes))


@pytest.fixture(scope="session")
def portrait():
    return _portrait


@pytest.fixture(scope="session")
def pack():
    return _pack


@pytest.fixture(scope="session")
def config():
    """Function (changes) -> a configuration that trains in seconds."""
    return _config


@pytest.fixture(scope="session")
def mini():
    return MINI


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """A folder with train.tar (four stills, a clip of five frames) and val.tar."""
    folder = tmp_path_factory.mktemp("shards")
    clip = {f"k.{i:04d}.png": np.roll(_portrait(9), 2 * i, axis=1) for i in range(5)}
    landmarks = [[[0.3, 0.5], [0.7, 0.5], [0.5, 0.6], [0.4, 0.7], [0.6, 0.7]]] * 5
    stills = {f"{seed}.png": _portrait(seed) for seed in range(4)}
    _pack(folder / "train.tar", stills | clip | {"k.json": {"landmarks": landmarks}})
    _pack(folder / "val.tar", {f"{seed}.png": _portrait(seed) for seed in (5, 6)})
    return folder


@pytest.fixture(scope="session")
def svd_networks():
    """Tiny random networks of the released layout."""
    from facerestore.models.convert import random_networks

    return random_networks(64, dtype=torch.float32)


@pytest.fixture(scope="session")
def svd_model():
    from facerestore.models.convert import RELEASED

    return replace(RELEASED, name="tiny", size=64, window=2, overlap=1, steps=1, first_steps=1)
