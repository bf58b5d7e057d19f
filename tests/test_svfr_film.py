"""A tiny model of the released layout restores whole films: references, people, cuts, identity."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from facerestore.bench import Unchanged
from facerestore.errors import UsageError
from facerestore.faces.detect import load_detector
from facerestore.frames import Tasks
from facerestore.models.convert import RELEASED, random_networks
from facerestore.models.load import restorer_for
from facerestore.models.weights import save_model
from facerestore.options import RestoreOptions, Tools
from facerestore.places import sidecar_path
from facerestore.restore import restore
from facerestore.video.reader import open_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = replace(RELEASED, name="tiny", size=64, window=4, overlap=1, steps=2, first_steps=3)
    save_model(folder, random_networks(64, dtype=torch.float32), config)
    return folder


@pytest.fixture(scope="module")
def detector():
    return load_detector("centerface")


def tools_of(folder, detector, *, device="cpu", mode="exact"):
    restorer = restorer_for(folder, device=device, mode=mode, steps=None, max_vram=None)
    return Tools(restorer, detector, None, {"name": "tiny"})


def two_people_and_a_cut(make_film, pictures):
    """Somebody on the left, another (mirrored, darker) on the right; then the first one alone."""
    side = [np.concatenate([p, p[:, ::-1] // 2 + 20], axis=1) for p in pictures]
    alone = [np.concatenate([p, np.full_like(p, 90)], axis=1) for p in pictures]
    height, width = side[0].shape[:2]
    return make_film(size=(width, height), count=32, pictures=side + alone)


def real_pictures(path, size=360):
    """The first 16 frames of a real clip, its middle, uint8 RGB [360, 360, 3]."""
    pictures = []
    for frame in islice(open_video(path).frames(), 16):
        picture = frame.to_ndarray(format="rgb24")
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = np.ascontiguousarray(picture[top : top + side, left : left + side])
        pictures.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    return pictures


def test_two_real_people_and_a_cut(folder, detector, make_film, clips, tmp_path):
    """Side by side, then one of them alone: known again by the identity network or counted anew."""
    one, two = real_pictures(clips / "clean_d10.mp4"), real_pictures(clips / "clean_d3.mp4")
    beside = [np.concatenate(pair, axis=1) for pair in zip(one, two, strict=True)]
    alone = [np.concatenate([np.full_like(p, 60), p], axis=1) for p in two]
    source = make_film(size=(720, 360), count=32, pictures=beside + alone)
    tools = tools_of(folder, detector)
    result = restore(source, tmp_path / "o.mkv", RestoreOptions(), tools=lambda: tools)
    assert [len(shot) for shot in result.survey.shots] == [16, 16]
    first = {face["person"] for face in result.faces if face["shot"] == 0}
    (again,) = {face["person"] for face in result.faces if face["shot"] == 1}
    assert len(first) == 2
    assert again in first
    assert all(face["identity"] is not None for face in result.faces)


@pytest.mark.parametrize("guard", ["warn", "blend"])
def test_two_people_a_cut_and_the_guard(
    folder, detector, make_film, example_pictures, tmp_path, guard
):
    source = two_people_and_a_cut(make_film, example_pictures)
    options = RestoreOptions(profile="archive", identity_guard=guard)
    tools = tools_of(folder, detector)
    result = restore(source, tmp_path / "o.mkv", options, tools=lambda: tools)
    record = json.loads(sidecar_path(result.output).read_text())
    assert len(record["shots"]) == 2
    faces = record["faces"]
    assert {face["shot"] for face in faces} == {0, 1}
    assert len({face["person"] for face in faces if face["shot"] == 0}) == 2
    assert record["frame_forwards"] == tools.restorer.cost > 0
    # random weights make nobody: the guard must notice
    for face in faces:
        assert -1 <= face["identity"]["least"] <= face["identity"]["mean"] <= 1
        assert face["identity"]["strength_lowered"] == (guard == "blend")
    unlike = [face["identity"]["unlike"] for face in faces]
    assert any("unlike the source" in text for text in record["warnings"]) == any(unlike)
    assert sum(1 for _ in open_video(result.output).frames()) == 32


class Stranger(Unchanged):
    """Returns its input, but says that from frame 12 on it is somebody else."""

    def __init__(self):
        super().__init__(64, 8)
        self.has_identity, self.looks = True, 0

    def restore(self, clip, tasks, reference, **how):
        return 255 - clip.frames

    def vectors(self, pictures, landmarks):
        vectors = np.zeros((len(pictures), 2))
        vectors[:, 0] = 1
        if pictures.mean() > 127:  # this is not how to tell, but here the two differ so
            return vectors
        vectors[12:] = [0, 1]
        return vectors


def test_the_guard_lowers_the_strength_smoothly(detector, make_film, tmp_path):
    source = make_film(count=16)
    sizes = {}
    for guard in ("warn", "blend"):
        options = RestoreOptions(profile="archive", identity_guard=guard)
        tools = Tools(Stranger(), detector, None, {"name": "x"})
        result = restore(source, tmp_path / f"{guard}.mkv", options, tools=lambda t=tools: t)
        pairs = zip(open_video(source).frames(), open_video(result.output).frames(), strict=True)
        sizes[guard] = np.array(
            [np.abs(a.to_ndarray().astype(int) - b.to_ndarray()).mean() for a, b in pairs]
        )
        assert any("unlike the source" in text for text in result.warnings)
    assert sizes["warn"][12:].min() > 1
    assert sizes["blend"][12:].max() < 0.05
    shares = sizes["blend"] / sizes["warn"]
    assert shares[0] > 0.9
    assert (np.diff(shares) < 0.02).all()  # falls
    assert np.diff(shares).min() > -0.25  # and does not pop


def test_a_guard_without_an_identity_network_is_refused(detector, make_film, tmp_path):
    options = RestoreOptions(identity_guard="blend")
    tools = Tools(Unchanged(), detector, None, {"name": "mini"})
    with pytest.raises(UsageError, match="mini has none"):
        restore(make_film(), tmp_path / "o.mkv", options, tools=lambda: tools)
    assert not (tmp_path / "o.mkv").exists()


def test_several_devices_give_what_one_gives(folder, detector, make_film, tmp_path):
    """Two processes on the CPU; the film's chunks are as long as in one."""
    source = make_film(count=16)
    planes = []
    for device in ("cpu", "cpu,cpu"):
        options = RestoreOptions(profile="archive", tasks=Tasks(bfr=True))
        tools = tools_of(folder, detector, device=device)
        result = restore(source, tmp_path / f"{len(planes)}.mkv", options, tools=lambda t=tools: t)
        planes.append([frame.to_ndarray() for frame in open_video(result.output).frames()])
    for one, two in zip(*planes, strict=True):
        assert np.abs(one.astype(int) - two).max() <= 2  # threads round differently


def test_fast_mode_restores_a_real_clip(folder, detector, clips, tmp_path):
    options = RestoreOptions(mode="fast", end_seconds=0.4)
    tools = tools_of(folder, detector, mode="fast")
    result = restore(clips / "lq2.mp4", tmp_path / "o.mp4", options, tools=lambda: tools)
    assert result.people()
    assert result.cost == sum(
        tools.restorer.forwards(face["last_frame"] - face["first_frame"] + 1, options.tasks)
        for face in result.faces
    )


def test_ctrl_c_ends_the_workers_too(folder, example, tmp_path):
    command = [sys.executable, "-m", "facerestore", "restore", str(example), "-m", str(folder)]
    command += ["--device", "cpu,cpu", "-o", str(tmp_path / "o.mp4"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if '"restoring"' in line:
            break
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - begin < 30
    assert "interrupted" in err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == [".o.mp4.facerestore"]
