"""Fetching from a hub that breaks off, lies, is closed or is not there."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from facerestore.models.checkpoint import verify
from facerestore.models.convert import UNET, VAE, random_networks

sys.path.insert(0, str(Path(__file__).parent))
from hub import COMMIT, Hub

UNET_PTH, IDS, FACE = "face/unet.pth", "face/id_linear.pth", "face/arcface.pth"
TINY_UNET = UNET | {"block_out_channels": [64, 128, 256, 256], "num_attention_heads": [1, 2, 4, 4]}
TINY_VAE = VAE | {"block_out_channels": [32, 64, 128, 128]}
SCRIPT = """
import json, sys
from dataclasses import replace
from facerestore.errors import FaceRestoreError
from facerestore.models.convert import RELEASED, Layout
from facerestore.models.zoo import HubFile, pull
files, unet = json.loads(sys.argv[1]), json.loads(sys.argv[2])
wanted = {key: HubFile(*value) for key, value in files.items()}
try:
    told = lambda text: print(text, file=sys.stderr)
    accept = lambda terms: told(terms) or "no" not in sys.argv
    print(pull("svfr", accept=accept, tell=told, files=wanted, layout=Layout(RELEASED, unet)))
except FaceRestoreError as error:
    sys.exit(f"error: {error}")
"""
FILES = {
    "licence": ["them/svd", "main", "LICENSE.md"],
    "vae_config": ["them/svd", "main", "vae/config.json"],
    "vae": ["them/svd", "main", "vae/diffusion_pytorch_model.fp16.safetensors"],
    "unet": ["us/svfr", "main", UNET_PTH],
    "id_linear": ["us/svfr", "main", IDS],
    "arcface": ["us/svfr", "main", FACE],
}


def pth(weights):
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content():
    networks = random_networks(64, dtype=torch.float16)
    states = {kind: network.state_dict() for kind, network in networks.items()}
    return {
        ("them/svd", "LICENSE.md"): b"Do no harm.",
        ("them/svd", "vae/config.json"): json.dumps(TINY_VAE).encode(),
        ("them/svd", "vae/diffusion_pytorch_model.fp16.safetensors"): save(states["vae"]),
        ("us/svfr", UNET_PTH): pth(states["unet"]),
        ("us/svfr", IDS): pth(states["tokens"]),
        ("us/svfr", FACE): pth(states["arcface"]),
    }


@pytest.fixture
def hub(content):
    hub = Hub(dict(content))
    yield hub
    hub.close()


def start(hub, home, *words, **environment):
    places = {"HF_HOME": str(home / "hf"), "FACERESTORE_MODELS": str(home / "models")}
    address = hub.address if hub else "http://127.0.0.1:9"
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(FILES), json.dumps(TINY_UNET), *words],
        env=os.environ | places | {"HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pull(hub, home, *words, **environment):
    process = start(hub, home, *words, **environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out.strip(), err


def test_a_broken_download_goes_on_and_then_works_offline(hub, tmp_path):
    hub.stalled = {UNET_PTH}
    process = start(hub, tmp_path)
    assert hub.begun.wait(120)
    partial, deadline = [], time.monotonic() + 60
    while not partial and time.monotonic() < deadline:
        found = (tmp_path / "models").rglob("unet.pth.part")
        partial = [path for path in found if path.stat().st_size > 1_000_000]
        time.sleep(0.1)
    process.kill()
    process.communicate()
    assert partial
    assert not (tmp_path / "models" / "svfr").exists()

    hub.stalled = set()
    code, out, err = pull(hub, tmp_path)
    assert code == 0, err
    assert [name for name, first in hub.ranges if first > 1_000_000] == [UNET_PTH]
    folder = Path(out)
    assert verify(folder).origin == f"them/svd@{COMMIT}, us/svfr@{COMMIT}"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["accepted.json", "svfr"]
    accepted = json.loads((folder.parent / "accepted.json").read_text())
    assert "Do no harm." in accepted["svfr"]["terms"]
    assert not (folder.parent / ".downloads").exists()
    code, out, err = pull(None, tmp_path, HF_HUB_OFFLINE="1")
    assert (code, out) == (0, str(folder)), err


def test_the_hubs_own_cache_is_used_offline(hub, tmp_path):
    fetch = "import sys; from huggingface_hub import hf_hub_download as get;"
    fetch += "[get(*name.split(':')) for name in sys.argv[1:]]"
    names = [f"{repository}:{name}" for repository, _, name in FILES.values()]
    places = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address}
    environment = os.environ | places | {"HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", fetch, *names], env=environment, check=True)
    code, out, err = pull(None, tmp_path, HF_HUB_OFFLINE="1")
    assert code == 0, err
    assert verify(Path(out)).origin.endswith(f"us/svfr@{COMMIT}")


def test_a_wrong_sum_is_refused_and_removed(hub, tmp_path):
    hub.lies = {IDS}
    code, _, err = pull(hub, tmp_path)
    assert code == 1
    assert f"{IDS} came with a wrong sum and was removed" in err.splitlines()[-1]
    assert not (tmp_path / "models" / "svfr").exists()
    assert list((tmp_path / "models").rglob("id_linear.pth*")) == []


def test_terms_that_are_not_accepted(hub, tmp_path):
    code, _, err = pull(hub, tmp_path, "no")
    assert code == 1
    assert "Do no harm." in err
    assert "not accepted" in err.splitlines()[-1]
    assert not (tmp_path / "models" / "accepted.json").exists()
    assert list((tmp_path / "models").rglob("unet.pth*")) == []


def test_a_closed_repository_is_explained(hub, tmp_path):
    hub.gated = {"them/svd"}
    code, _, err = pull(hub, tmp_path)
    assert code == 1
    assert "HF_TOKEN" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {}])
def test_without_network_and_cache(tmp_path, environment):
    code, _, err = pull(None, tmp_path, **environment)
    assert code == 1
    assert "cannot be reached" in err.splitlines()[-1]
    assert "Traceback" not in err
