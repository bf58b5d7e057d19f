"""Numbers recorded from the released code, and what happens to folders that are broken."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from facerestore.errors import ModelError
from facerestore.models.parity import Check, selfcheck


@pytest.mark.slow
def test_every_recorded_number_is_reproduced(recorded):
    checks = list(selfcheck(recorded))
    assert [check for check in checks if not check.passed] == []
    names = {check.case.split()[0] for check in checks}
    assert names >= {"scheduler", "geometry", "frames", "identity", "vae", "unet", "two_pass_all"}
    assert len(checks) > 120


def test_a_number_that_is_none_does_not_pass():
    assert not Check("case", float("nan"), 1.0).passed
    assert not Check("case", float("inf"), 1.0).passed
    assert Check("case", 0.0, 0.0).passed


def spoil(folder, change):
    path = folder / "unet.safetensors"
    weights = load_file(path)
    change(weights)
    path.unlink()
    save_file(weights, path)


def missing_key(weights):
    del weights["conv_in.bias"]


def wrong_shape(weights):
    weights["conv_in.bias"] = weights["conv_in.bias"][:-1].clone()


def foreign_key(weights):
    weights["conv_inn.bias"] = weights["conv_in.bias"].clone()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (missing_key, r"unet\.safetensors: 'conv_in\.bias' is missing"),
        (wrong_shape, r"'conv_in\.bias' has shape \(63,\), expected \(64,\)"),
        (foreign_key, r"'conv_inn\.bias' does not belong"),
    ],
)
def test_a_wrong_layout_is_named(recorded, tmp_path, change, words):
    folder = shutil.copytree(recorded, tmp_path / "copy", copy_function=shutil.copyfile)
    spoil(folder, change)
    with pytest.raises(ModelError, match=words):
        list(selfcheck(folder))


def test_damaged_and_absent_files_are_named(recorded, tmp_path):
    folder = shutil.copytree(recorded, tmp_path / "copy", copy_function=shutil.copyfile)
    (folder / "vae.safetensors").write_bytes(b"\x08" * 40)
    with pytest.raises(ModelError, match=r"vae\.safetensors: not readable"):
        list(selfcheck(folder))
    (folder / "identity.json").unlink()
    with pytest.raises(ModelError, match=r"identity\.json: missing"):
        list(selfcheck(folder))


def test_one_corrupted_weight_fails_the_checks(recorded, tmp_path):
    from facerestore.models import parity

    folder = shutil.copytree(recorded, tmp_path / "copy", copy_function=shutil.copyfile)

    def change(weights):
        weights["conv_out.bias"][0] += 1

    spoil(folder, change)
    (folder / "cases.json").write_text(json.dumps({}))
    failed = {check.case for check in parity.selfcheck(folder) if not check.passed}
    assert failed
    assert all(name.startswith("unet ") for name in failed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cases", []),
        ("identity", {}),
        ("geometry", [1, 2]),
        ("released_layout", None),
        ("frame_prep", {"x": 3}),
        ("arcface_r100_shapes", {"conv1.weight": "abc"}),
    ],
)
def test_contents_of_another_kind_are_named(recorded, tmp_path, name, content):
    folder = shutil.copytree(recorded, tmp_path / "copy", copy_function=shutil.copyfile)
    (folder / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"{name}\.json: "):
        list(selfcheck(folder))


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        list(selfcheck(tmp_path / "nothing"))


def test_an_absent_case_is_told_before_anything_is_computed(recorded, tmp_path):
    folder = shutil.copytree(recorded, tmp_path / "copy", copy_function=shutil.copyfile)
    (folder / "short_clip.safetensors").unlink()
    with pytest.raises(ModelError, match=r"short_clip\.safetensors: missing"):
        next(selfcheck(folder))
