"""Baselines: what the classic one does, networks of others without their weights, safe loading."""

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.RestoreFormer import RestoreFormer

from facerestore.errors import ModelError, UsageError
from facerestore.frames import FaceClip, Tasks
from facerestore.models import files
from facerestore.models.baselines import answer_of, is_baseline, load_baseline
from facerestore.models.classic import classic, denoised, noise_sigma, unsharp
from facerestore.models.files import FILES, WeightFile, checked, present, pull_file
from facerestore.models.load import load_named
from facerestore.options import RestoreOptions, load_tools
from facerestore.restore import restore

sys.path.insert(0, str(Path(__file__).parent))
from hub import Hub

BFR, INPAINT = Tasks(bfr=True), Tasks(inpaint=True)
CPU = torch.device("cpu")


def error(a, b):
    return float(np.abs(a.astype(float) - b).mean())


def compact(*, scale, wide=8):
    torch.manual_seed(0)
    return Compact(num_feat=wide, num_conv=1, upscale=scale, act_type="prelu")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(scope="module")
def face(example_pictures):
    return np.ascontiguousarray(example_pictures[0][52:308, 192:448])


def test_the_noise_is_measured_and_taken_away(face):
    noise = np.random.default_rng(0).normal(0, 10, face.shape)
    noisy = np.clip(face + noise, 0, 255).astype(np.uint8)
    grey = 10 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)  # of the luma, of three channels' noise
    flat = np.clip(128 + noise, 0, 255).astype(np.uint8)
    assert noise_sigma(flat) == pytest.approx(grey, rel=0.1)
    assert error(denoised(noisy), face) < 0.8 * error(noisy, face)
    still = np.full_like(face, 90)
    assert denoised(still) is still
    assert (unsharp(still) == still).all()


def test_blur_becomes_steeper(face):
    blurred = cv2.GaussianBlur(face, (0, 0), 1.5)
    sharp = unsharp(blurred)
    assert cv2.Laplacian(sharp, cv2.CV_32F).var() > 1.3 * cv2.Laplacian(blurred, cv2.CV_32F).var()


def test_a_hole_is_filled_and_nothing_else(face):
    hole = np.zeros(face.shape[:2], bool)
    hole[100:110, 60:200] = True
    scratched = np.where(hole[..., None], np.uint8(255), face)
    filled = classic(scratched, INPAINT, hole)
    assert (filled[~hole] == face[~hole]).all()
    assert error(filled[hole], face[hole]) < 0.5 * error(scratched[hole], face[hole])
    assert (classic(face, INPAINT, None) == face).all()


def test_classic_restores_a_clip_frame_by_frame(face):
    loaded = load_named("classic", BFR, device="cpu")
    restorer, clip = loaded.restorer, FaceClip(np.stack([face, face, 255 - face]), 0)
    steps = []
    restored = restorer.restore(clip, BFR, None, seed=0, on_step=lambda: steps.append(1))
    assert (restored[0] == restored[1]).all()
    assert (restored[0] == classic(face, BFR, None)).all()
    assert (len(steps), restorer.cost, restorer.forwards(3, BFR)) == (3, 3, 3)
    assert loaded.facts["name"] == "classic"
    assert loaded.facts["version"].startswith("opencv-python ")


def test_what_classic_cannot_do_is_refused():
    with pytest.raises(UsageError, match="classic cannot colour; leave color out"):
        load_named("classic", Tasks(bfr=True, color=True), device="cpu")
    for how in ({"steps": 2}, {"mode": "fast"}, {"max_vram": 4.0}):
        with pytest.raises(UsageError, match="leave them out"):
            load_named("classic", BFR, device="cpu", **how)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("classic", True),
        ("gfpgan", True),
        ("somewhere/net.pth", True),
        ("net.SAFETENSORS", True),
        ("net.pt", False),
        ("mini", False),
        (None, False),
    ],
)
def test_what_is_a_baseline(name, answer):
    assert is_baseline(name) is answer


@pytest.mark.parametrize(("scale", "size"), [(1, 512), (2, 256), (4, 256)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_weights_restores(tmp_path, face, scale, size, suffix):
    network, path = compact(scale=scale), tmp_path / f"net{suffix}"
    weights = network.state_dict()
    if suffix == ".pth":
        torch.save({"params_ema": weights}, path)
    else:
        save_file(weights, path)
    loaded = load_baseline(str(path), BFR, device="cpu")
    assert loaded.restorer.side(Tasks(bfr=True), 300.0) == size
    assert list(loaded.facts["sha256"]) == [path.name]
    frame = cv2.resize(face, (size, size))
    restored = loaded.restorer.restore(FaceClip(frame[None], 0), BFR, None, seed=0)[0]
    with torch.inference_mode():
        x = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        y = network.eval()(x).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    expected = cv2.resize(y, (size, size), interpolation=cv2.INTER_AREA) * 255
    assert np.abs(restored - expected).max() < 1


def test_a_face_network_is_found_by_name(home, tmp_path, monkeypatch):
    torch.manual_seed(0)
    how = {"ch": 32, "ch_mult": (1, 1, 1, 1, 1, 1), "num_res_blocks": 1, "attn_resolutions": (16,)}
    how |= {"resolution": 512, "z_channels": 32, "n_embed": 16, "embed_dim": 32, "head_size": 8}
    network = RestoreFormer(in_channels=3, out_ch=3, double_z=False, enable_mid=True, **how)
    torch.save(network.state_dict(), home / "RestoreFormer.pth")
    loaded = load_baseline("restoreformer", BFR, device="cpu")
    assert loaded.restorer.side(Tasks(bfr=True), 300.0) == 512
    clip = FaceClip(np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8), 0)
    first, again = (loaded.restorer.restore(clip, BFR, None, seed=n) for n in range(2))
    assert (first == again).all()
    assert [file.name for file in present()] == ["restoreformer"]
    with pytest.raises(UsageError, match="for --task bfr only"):
        load_baseline("restoreformer", Tasks(color=True), device="cpu")


@pytest.mark.parametrize("kind", ["GFPGAN", "CodeFormer"])
def test_networks_of_signed_pictures_are_shown_such(face, kind):
    """Their weights want -1..1, and answer so."""
    seen = {}

    def model(x, **extra):
        seen.update(least=float(x.min()), extra=extra)
        return x * 0.5, None

    fake = SimpleNamespace(architecture=SimpleNamespace(id=kind), model=model)
    black = np.zeros_like(face)
    black[0, 0] = 255
    answer = answer_of(fake, np.float32(black) / 255, CPU)
    assert seen["least"] == -1
    assert answer[0, 0] == pytest.approx([0.75] * 3)
    assert answer[1, 1] == pytest.approx([0.25] * 3)
    assert seen["extra"] == ({"randomize_noise": False} if kind == "GFPGAN" else {})


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_file_with_a_program_in_it_does_not_run(tmp_path, capsys):
    plain, zipped = tmp_path / "old.pth", tmp_path / "new.ckpt"
    plain.write_bytes(pickle.dumps({"params": Evil()}))
    torch.save({"params": Evil()}, zipped)
    for path in (plain, zipped):
        with pytest.raises(ModelError, match=r"not the weights of a network that spandrel knows"):
            load_baseline(str(path), BFR, device="cpu")
    assert "this ran" not in capsys.readouterr().out


def test_wrong_files_are_one_sentence(tmp_path, home, monkeypatch):
    with pytest.raises(ModelError, match=r"none\.pth: no such file"):
        load_baseline(str(tmp_path / "none.pth"), BFR, device="cpu")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match=r"odd\.pth: not the weights"):
        load_baseline(str(tmp_path / "odd.pth"), BFR, device="cpu")
    grey = Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=1)
    save_file(grey.state_dict(), tmp_path / "grey.safetensors")
    with pytest.raises(ModelError, match="does not turn a colour picture"):
        load_baseline(str(tmp_path / "grey.safetensors"), BFR, device="cpu")
    with pytest.raises(ModelError, match=r"models pull gfpgan, or put https.*GFPGANv1\.4\.pth"):
        load_baseline("gfpgan", BFR, device="cpu")
    (home / "GFPGANv1.4.pth").write_bytes(b"something else")
    with pytest.raises(ModelError, match="its sum differs"):
        load_baseline("gfpgan", BFR, device="cpu")
    monkeypatch.setattr("facerestore.models.baselines.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'facerestore\[baselines\]'"):
        load_baseline("gfpgan", BFR, device="cpu")


def test_weights_that_are_no_numbers_are_told(tmp_path, face):
    network = compact(scale=1)
    with torch.no_grad():
        network.body[0].weight.fill_(torch.nan)
    save_file(network.state_dict(), tmp_path / "nan.safetensors")
    loaded = load_baseline(str(tmp_path / "nan.safetensors"), BFR, device="cpu")
    clip = FaceClip(np.zeros((1, 512, 512, 3), np.uint8), 0)
    with pytest.raises(ModelError, match=r"nan\.safetensors: its answer is not a number"):
        loaded.restorer.restore(clip, BFR, None, seed=0)


@pytest.fixture
def served(home, monkeypatch):
    """A server that has the file `net.pth`, known as `net`."""
    hub = Hub({("them/net", "net.pth"): b"weights" * 1000})
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    url = f"{hub.address}/them/net/resolve/main/net.pth"
    file = WeightFile("net", url, hub.sum_of("them/net", "net.pth"), "for tests")
    monkeypatch.setitem(files.FILES, "net", file)
    yield file, hub
    hub.close()


def test_a_file_is_fetched_once_its_licence_is_accepted(served, home):
    file, hub = served
    shown = []
    with pytest.raises(UsageError, match="not accepted"):
        pull_file("net", accept=lambda terms: shown.append(terms))
    assert "for tests" in shown[0]
    assert list(home.iterdir()) == []
    file.path.with_name("net.pth.part").write_bytes(b"weights" * 500)  # of a broken download
    assert pull_file("net", accept=lambda terms: True) == file.path
    assert checked(file) == file.sha256
    assert hub.ranges == [("net.pth", 3500)]
    assert sorted(path.name for path in home.iterdir()) == ["accepted.json", "net.pth"]
    assert pull_file("net", accept=lambda terms: False) == file.path


def test_a_wrong_file_is_removed(served, home, monkeypatch):
    file, _ = served
    lie = WeightFile("net", file.url, "0" * 64, "")
    monkeypatch.setitem(files.FILES, "net", lie)
    with pytest.raises(ModelError, match="wrong sum and was removed"):
        pull_file("net", accept=lambda terms: True)
    assert [path.name for path in home.iterdir()] == ["accepted.json"]


def test_a_file_without_a_known_sum_is_not_fetched(home):
    with pytest.raises(UsageError, match=r"no sum of restoreformer is published.*put https"):
        pull_file("restoreformer", accept=lambda terms: True)
    assert list(home.iterdir()) == []
    assert all(file.sha256 is None or len(file.sha256) == 64 for file in FILES.values())


def test_a_film_is_restored_with_a_baseline(example, tmp_path):
    network = tmp_path / "tiny.safetensors"
    save_file(compact(scale=2).state_dict(), network)
    for model in ("classic", str(network)):
        options = RestoreOptions(model=model, end_seconds=0.2, device="cpu")
        result = restore(example, tmp_path / f"{Path(model).stem}.mp4", options)
        record = json.loads(Path(f"{result.output}.facerestore.json").read_text())
        assert record["model"]["name"] == Path(model).stem
        assert (len(record["faces"]), record["frames"]) == (1, 5)


def test_a_reference_is_no_use():
    options = RestoreOptions(model="classic", reference=Path("photo.png"))
    with pytest.raises(UsageError, match="looks at no --reference; leave it out"):
        load_tools(options)


def test_an_impossible_wish_is_one_sentence(example, tmp_path):
    command = [sys.executable, "-m", "facerestore", "restore", str(example), "--end", "0.2"]
    command += ["-m", "classic", "-t", "color", "-o", "o.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 2
    assert "classic cannot colour" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_pickle_is_no_weights(tmp_path):
    content = io.BytesIO()
    torch.save(compact(scale=1).state_dict(), content)
    path = tmp_path / "half.pth"
    path.write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    with pytest.raises(ModelError, match=r"half\.pth: not the weights"):
        load_baseline(str(path), BFR, device="cpu")
