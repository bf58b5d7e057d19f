"""Networks for whole pictures: loading, refusing, tiles, colours; no published weights needed."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel import MaskedImageModelDescriptor
from spandrel.architectures.Compact import Compact
from spandrel.architectures.RestoreFormer import RestoreFormer

from facerestore.errors import ModelError, ResourceError
from facerestore.models import background
from facerestore.models.background import LEAST_TILE, Background, half_of, load_background
from facerestore.models.files import FILES, how_to_get

sys.path.insert(0, str(Path(__file__).parent))
from standins import BRIGHTER, brightening, colouring, local


def picture(width, height, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_file_sharpens_whole_pictures(tmp_path, scale):
    path = brightening(tmp_path / "net.safetensors", scale=scale)
    loaded = load_background(str(path), device="cpu")
    assert not loaded.colours
    assert loaded.facts["kind"] == "sharpens"
    assert loaded.facts["licence"] == "not known to this program"
    assert list(loaded.facts["sha256"]) == ["net.safetensors"]
    for size in ((300, 270), (33, 47), (1, 1)):
        given = picture(*size) * 0.8
        assert np.abs(loaded.sharpened(given) - given - BRIGHTER).max() < 1e-5
    assert loaded.cost == loaded.passes(270, 300) + 2
    assert loaded.passes(270, 300) == 4


@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_leave_no_trace(tmp_path, scale):
    loaded = load_background(str(local(tmp_path / "n.safetensors", scale=scale)), device="cpu")
    given = picture(263, 205)
    loaded.tile = 512
    whole = loaded.sharpened(given)
    loaded.tile = 128
    assert loaded.passes(205, 263) > 4
    assert np.abs(loaded.sharpened(given) - whole).max() < 1e-5


def test_the_picture_has_no_rim(tmp_path):
    """Convolutions pad with black, which must not show."""
    loaded = load_background(str(local(tmp_path / "n.safetensors")), device="cpu")
    flat = loaded.sharpened(np.full((40, 50, 3), 0.6, np.float32))
    assert np.abs(flat - flat[20, 20]).max() < 1e-5


def test_ddcolor_gives_colours_to_brightness(tmp_path):
    path = colouring(tmp_path / "dd.pth")
    loaded = load_background(str(path), device="cpu")
    assert loaded.colours
    assert loaded.facts["kind"] == "colours"
    for grey in (0.0, 0.5):
        ab = loaded.colours_of(np.full((64, 64), grey, np.float32))
        assert ab.shape == (64, 64, 2)
        assert ab[..., 0] == pytest.approx(25 + 8 * grey, abs=1e-3)
        assert ab[..., 1] == pytest.approx(-10, abs=1e-3)
    assert (loaded.cost, loaded.passes(2160, 3840)) == (2, 1)


def test_names_know_licence_and_sum(tmp_path, monkeypatch):
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path))
    for name, licence in (("realesrgan", "BSD-3-Clause"), ("ddcolor", "Apache-2.0")):
        assert FILES[name].licence.startswith(licence)
        assert len(FILES[name].sha256) == 64
        with pytest.raises(ModelError, match=rf"{name} is not here; .* models pull {name}"):
            load_background(name, device="cpu")
        assert f"models pull {name}" in how_to_get(FILES[name])


def refused(path, what):
    with pytest.raises(ModelError, match=what) as caught:
        load_background(str(path), device="cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_what_cannot_serve_is_refused_in_one_sentence(tmp_path, monkeypatch):
    refused(tmp_path / "none.pth", r"none\.pth: no such file; name .* realesrgan, ddcolor")
    (tmp_path / "net.pt").write_bytes(b"anything")
    refused(tmp_path / "net.pt", r"net\.pt: is no file of weights; give one of \.pth")
    (tmp_path / "text.pth").write_text("hello")
    refused(tmp_path / "text.pth", r"text\.pth: not the weights of a network")
    grey = Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=1)
    save_file(grey.state_dict(), tmp_path / "grey.safetensors")
    refused(tmp_path / "grey.safetensors", "turns 1 to 1 channels; --background needs")
    monkeypatch.setattr("facerestore.models.baselines.find_spec", lambda name: None)
    refused("realesrgan", r"--background realesrgan needs spandrel; pip install 'facerestore\[bas")
    refused("realesrgn", r"realesrgn: no such file; name .* realesrgan, ddcolor")  # not: spandrel


def test_a_network_for_faces_is_refused(tmp_path):
    how = {"ch": 32, "ch_mult": (1, 1, 1, 1, 1, 1), "num_res_blocks": 1, "attn_resolutions": (16,)}
    how |= {"resolution": 512, "z_channels": 32, "n_embed": 16, "embed_dim": 32, "head_size": 8}
    network = RestoreFormer(in_channels=3, out_ch=3, double_z=False, enable_mid=True, **how)
    torch.save(network.state_dict(), tmp_path / "face.pth")
    refused(tmp_path / "face.pth", r"face\.pth: is made for faces; use it by -m")


def test_a_network_that_needs_a_mask_is_refused(tmp_path, monkeypatch):
    filler = SimpleNamespace(
        purpose="Inpainting", architecture=SimpleNamespace(id="LaMa"), input_channels=4
    )
    assert MaskedImageModelDescriptor.purpose.fget  # spandrel's own has the purpose, too
    monkeypatch.setattr(background, "load_descriptor", lambda path: filler)
    path = brightening(tmp_path / "net.safetensors")
    refused(path, r"net\.safetensors: fills holes and needs a mask")


def test_a_colouring_network_of_another_kind_is_refused(tmp_path, monkeypatch):
    model = SimpleNamespace(num_output_channels=3)
    other = SimpleNamespace(architecture=SimpleNamespace(id="DDColor"), model=model)
    monkeypatch.setattr(background, "load_descriptor", lambda path: other)
    refused(brightening(tmp_path / "net.safetensors"), "gives 3 channels")


def narrow(limit):
    """A network on a card that holds tiles up to `limit` pixels."""

    def answer(x):
        if x.shape[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x

    answer.architecture = SimpleNamespace(id="none")
    return Background(answer, torch.device("cpu"), Path("net"), {}, False, 512)


def test_a_full_card_gets_smaller_tiles_and_it_is_told():
    loaded, given = narrow(200), picture(400, 300)
    assert np.abs(loaded.sharpened(given) - given).max() < 1e-6
    assert loaded.tile == LEAST_TILE
    assert [text.split()[-2] for text in loaded.notes] == ["256", "128"]
    with pytest.raises(ResourceError, match="no memory left for the background"):
        narrow(50).sharpened(given)


def test_half_precision_only_where_spandrel_says_so():
    card, cpu = torch.device("cuda"), torch.device("cpu")
    yes, no = SimpleNamespace(supports_half=True), SimpleNamespace(supports_half=False)
    assert half_of(yes, card) == torch.float16
    assert half_of(no, card) is None
    assert half_of(yes, cpu) is None


def test_an_answer_that_is_no_number_is_told(tmp_path):
    path = brightening(tmp_path / "nan.safetensors", by=float("nan"))
    loaded = load_background(str(path), device="cpu")
    with pytest.raises(ModelError, match=r"nan\.safetensors: its answer is not a number"):
        loaded.sharpened(picture(20, 20))
