"""From the authors' files to a folder that loads, and what wrong files are told."""

import json

import pytest
import torch
from safetensors.torch import save_file

from facerestore.errors import ModelError, UsageError
from facerestore.models.checkpoint import verify
from facerestore.models.convert import (
    RELEASED,
    UNET,
    VAE,
    Layout,
    convert,
    find_vae,
    random_networks,
    read_weights,
)
from facerestore.models.weights import load_network

TINY = UNET | {"block_out_channels": [64, 128, 256, 256], "num_attention_heads": [1, 2, 4, 4]}
TINY_VAE = VAE | {"block_out_channels": [32, 64, 128, 128]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authors")
    networks = random_networks(64, dtype=torch.float16)
    (folder / "svd" / "vae").mkdir(parents=True)
    (folder / "svd" / "vae" / "config.json").write_text(json.dumps(TINY_VAE))
    vae = folder / "svd" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(networks["vae"].state_dict(), vae)
    paths = {"vae": vae, "vae_config": vae.with_name("config.json")}
    for key, kind in {"unet": "unet", "id_linear": "tokens", "arcface": "arcface"}.items():
        paths[key] = folder / f"{key}.pth"
        torch.save(networks[kind].state_dict(), paths[key])
    return paths


def test_the_folder_is_whole_and_holds_the_same_numbers(files, tmp_path):
    target = tmp_path / "svfr"
    convert(**files, target=target, layout=Layout(RELEASED, TINY))
    assert verify(target) == RELEASED
    assert [path.name for path in tmp_path.iterdir()] == ["svfr"]
    for kind, key in {"unet": "unet", "arcface": "arcface", "tokens": "id_linear"}.items():
        network = load_network(target, kind, dtype=torch.float32, width=1024)
        source = read_weights(files[key])
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value.float(), source[name].float())
    with pytest.raises(UsageError, match="exists already"):
        convert(**files, target=target, layout=Layout(RELEASED, TINY))


def test_the_right_vae_file_is_found(files, tmp_path):
    assert find_vae(files["vae"].parents[1])[0] == files["vae"]
    with pytest.raises(ModelError, match="Stable Video Diffusion folder"):
        find_vae(tmp_path)


def wrong(files, tmp_path, change):
    weights = read_weights(files["id_linear"])
    change(weights)
    path = tmp_path / "id_linear.pth"
    torch.save(weights, path)
    return files | {"id_linear": path}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("final_norm.bias"), "'final_norm.bias' is missing"),
        (lambda w: w.update({"extra": torch.zeros(1)}), "'extra' does not belong"),
        (lambda w: w.update({"final_norm.bias": torch.zeros(3)}), r"has shape \(3,\), expected"),
    ],
)
def test_the_first_wrong_key_is_named(files, tmp_path, change, words):
    target = tmp_path / "out" / "svfr"
    with pytest.raises(ModelError, match=words):
        convert(**wrong(files, tmp_path, change), target=target, layout=Layout(RELEASED, TINY))
    assert not target.exists()


class Harmful:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_nothing_but_tensors_is_unpickled(tmp_path, capsys):
    path = tmp_path / "unet.pth"
    torch.save({"conv_in.weight": Harmful()}, path)
    with pytest.raises(ModelError, match="not a file of tensors alone"):
        read_weights(path)
    path.write_bytes(b"\x80\x04no pickle at all")
    with pytest.raises(ModelError, match="not a file of tensors alone"):
        read_weights(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ModelError, match="something else than named tensors"):
        read_weights(path)
    with pytest.raises(ModelError, match="no such file"):
        read_weights(tmp_path / "none.pth")
    assert "this must never run" not in capsys.readouterr().out
