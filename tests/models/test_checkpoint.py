"""Model folders: what their facts may say."""

import json
import shutil

import numpy as np
import pytest

from facerestore.errors import ModelError
from facerestore.frames import FaceClip, Tasks
from facerestore.models.checkpoint import BUNDLED, CONFIG_NAME, read_config, verify
from facerestore.models.load import load_model
from facerestore.models.svfr import GOOD
from facerestore.models.zoo import installed, remove


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BUNDLED, tmp_path / "models" / "copy")


def test_the_bundled_model_is_whole():
    assert verify(BUNDLED).name == "mini"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "128"),
        ("size", 100),
        ("size", -64),
        ("large", 100),
        ("large", "384"),
        ("window", 0),
        ("overlap", 8),
        ("tasks", "bfr"),
        ("tasks", ["paint"]),
        ("steps", 0),
        ("sigma_min", 200.0),
        ("sigma_min", None),
        ("tokens", [1]),
        ("codec", "jpeg"),
        ("chunk", 4),
        ("surprise", 1),
    ],
)
def test_impossible_facts_are_named(folder, name, value):
    path = folder / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ModelError, match=r"facerestore\.json: not readable"):
        read_config(folder)


@pytest.mark.parametrize("content", ["null", "{", "[]", "{}", ""])
def test_no_facts_at_all(folder, content):
    (folder / CONFIG_NAME).write_text(content)
    with pytest.raises(ModelError, match=r"facerestore\.json: not readable"):
        read_config(folder)


def test_a_broken_folder_does_not_hide_the_others(folder, monkeypatch):
    broken = shutil.copytree(folder, folder.parent / "aaa")
    (broken / CONFIG_NAME).write_text("{")
    monkeypatch.setenv("FACERESTORE_MODELS", str(folder.parent))
    found = {model.name: model for model in installed()}
    assert set(found) == {"mini", "aaa", "copy"}
    assert "not readable" in found["aaa"].trouble
    assert found["copy"].size_bytes > 30_000_000
    remove("aaa")
    assert not broken.exists()


def test_answers_that_are_doubted_change_nothing_which_is_said(folder):
    ramp = np.linspace(60, 190, 256)[None, :, None] + np.zeros((8, 256, 256, 3))
    grain = np.random.default_rng(1).normal(0, 8, ramp.shape)
    noisy = FaceClip(np.clip(ramp + grain, 0, 255).astype(np.uint8), 0)
    facts = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(facts | {"doubt": 100.0}))
    restorer = load_model(folder, device="cpu")
    assert np.array_equal(restorer.restore(noisy, Tasks(bfr=True), None, seed=0), noisy.frames)
    assert restorer.notes == [GOOD]
    trusting = load_model(BUNDLED, device="cpu")
    restored = trusting.restore(noisy, Tasks(bfr=True), None, seed=0)
    assert np.abs(restored - ramp).mean() < 0.8 * np.abs(noisy.frames - ramp).mean()
    assert trusting.notes == []
