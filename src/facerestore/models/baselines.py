"""Restorers to compare with: `classic`, and networks for single pictures through spandrel."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import ModelError, UsageError
from facerestore.models.checkpoint import sha256
from facerestore.models.device import choose_device
from facerestore.models.files import FILES, checked
from facerestore.models.framewise import FrameWise
from facerestore.models.restorer import Loaded

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Tasks

CLASSIC = "classic"
FACE_NETWORKS = ("gfpgan", "codeformer", "restoreformer")
SUFFIXES = (".pth", ".ckpt", ".safetensors")  # .pt may be a program, which spandrel would run
FACE_SIZE = 512  # px, what face networks are made for
ENLARGED_SIZE = 256  # px of crops for networks that enlarge; their answer is made smaller again
# Their weights work on pictures in [-1, 1] (the authors' inference code), and spandrel 0.4 hands
# pictures in 0..1 to them as they are
SIGNED = {"GFPGAN": {"randomize_noise": False}, "CodeFormer": {}}


def is_baseline(name: str | None) -> bool:
    """Whether a model's name, as given by the user, is that of a baseline or of a weights file."""
    if name is None:
        return False
    file = Path(name).suffix.lower() in SUFFIXES and not Path(name).is_dir()
    return name == CLASSIC or name in FACE_NETWORKS or file


def load_baseline(name: str, tasks: Tasks, *, device: str) -> Loaded:
    """A baseline by name, or the network of a weights file.

    Raises UsageError for a task that it is not made for, ModelError where weights or spandrel are
    missing or wrong, ResourceError where there is no such device.
    """
    if name == CLASSIC:
        from facerestore.models.classic import SIZE, classic

        if tasks.color:
            raise UsageError("classic cannot colour; leave color out of --task, or use -m mini")
        return Loaded(FrameWise(classic, SIZE), _facts(name, "opencv-python", {}), "as asked for")
    if name in FACE_NETWORKS and (tasks.color or tasks.inpaint):
        raise UsageError(f"{name} is made for --task bfr only; name a file of other weights by -m")
    weights = weights_named(name, FACE_NETWORKS, option=f"-m {name}")
    descriptor = load_descriptor(weights.path)
    if not turns_pictures(descriptor):
        raise ModelError(f"{weights.path}: its network does not turn a colour picture into another")
    restorer = network_restorer(descriptor, choose_device(device), weights.path)
    return Loaded(restorer, weights.facts, "as asked for")


def _facts(name: str, library: str, sums: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "version": f"{library} {version(library)}", "sha256": sums}


@dataclass(frozen=True)
class Weights:
    """A file of weights for spandrel, its sum, and the licence where it is known ("" = not)."""

    path: Path
    sha256: str
    licence: str

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of it."""
        return _facts(self.path.stem, "spandrel", {self.path.name: self.sha256})


def weights_named(name: str, known: tuple[str, ...], *, option: str) -> Weights:
    """The file of one of the `known` names, else the one at a path.

    option: what the user wrote to ask for it
    Raises ModelError where spandrel or the file is missing, or is not the published one.
    """
    path = Path(name)
    if name not in known and not path.is_file():
        raise ModelError(f"{path}: no such file; name a file of weights, or {', '.join(known)}")
    if find_spec("spandrel") is None or find_spec("spandrel_extra_arches") is None:
        raise ModelError(f"{option} needs spandrel; pip install 'facerestore[baselines]'")
    if name in known:
        file = FILES[name]
        return Weights(file.path, checked(file), file.licence)
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{path}: is no file of weights; give one of {', '.join(SUFFIXES)}")
    return Weights(path, sha256(path), "")


def load_descriptor(path: Path) -> Any:
    """What spandrel says of a file of weights; tensors only, nothing in the file can run.

    Raises ModelError for files that are damaged, not weights, or of an unknown network.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about how spandrel is written
        import spandrel
        from spandrel_extra_arches import EXTRA_REGISTRY

        known = spandrel.ArchRegistry()
        known.add(*spandrel.MAIN_REGISTRY, *EXTRA_REGISTRY)
        try:
            descriptor = spandrel.ModelLoader(registry=known).load_from_file(path)
        except Exception as error:  # damaged pickles raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ModelError(
                f"{path}: not the weights of a network that spandrel knows ({reason})"
            ) from None
    return descriptor.eval()


def turns_pictures(descriptor: Any) -> bool:
    """Whether a network makes a colour picture of a colour picture alone, without a mask."""
    channels = (descriptor.input_channels, descriptor.output_channels)
    return descriptor.purpose != "Inpainting" and channels == (3, 3)


def network_restorer(descriptor: Any, device: torch.device, path: Path) -> FrameWise:
    """A spandrel network on a device, at the crop size that suits it."""
    size = FACE_SIZE if descriptor.scale == 1 else ENLARGED_SIZE
    descriptor.to(device)

    def picture(frame: Bytes, tasks: Tasks, hole: NDArray[np.bool_] | None) -> Bytes:
        shown = frame.astype(np.float32) / np.float32(255)
        return np.rint(answer_in_place(descriptor, shown, device, path) * 255).astype(np.uint8)

    return FrameWise(picture, size)


def answer_in_place(
    descriptor: Any,
    picture: NDArray[np.float32],
    device: torch.device,
    path: Path,
    dtype: torch.dtype | None = None,
) -> NDArray[np.float32]:
    """As `answer_of`, within 0..1 and made as small as the picture again; path: of the weights."""
    import cv2

    answer = answer_of(descriptor, picture, device, dtype)
    check_numbers(answer, path)
    if answer.shape != picture.shape:  # a mean over whole pixels: it cannot ring
        answer = cv2.resize(answer, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    return np.clip(np.asarray(answer, np.float32), 0, 1)


def check_numbers(answer: NDArray[np.float32], path: Path) -> None:
    """Raise ModelError where a network's answer is not a number; path: of its weights."""
    if not np.isfinite(answer).all():
        raise ModelError(f"{path}: its answer is not a number; are the weights whole?")


def answer_of(
    descriptor: Any,
    picture: NDArray[np.float32],
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> NDArray[np.float32]:
    """float32 [h, w, 3], about 0..1: a network's answer to a picture float32 RGB [H, W, 3], 0..1.

    dtype: of the network's weights, None = float32
    """
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(picture)).to(device, dtype or torch.float32)
        x = x.permute(2, 0, 1)[None]  # [1, 3, H, W]
        kind = descriptor.architecture.id
        signed = kind in SIGNED
        y = descriptor.model(x * 2 - 1, **SIGNED[kind])[0] / 2 + 0.5 if signed else descriptor(x)
    return y[0].permute(1, 2, 0).float().cpu().numpy()
