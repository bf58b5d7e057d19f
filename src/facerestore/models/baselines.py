"""Restorers to compare with: `classic`, and networks for single pictures through spandrel."""

from __future__ import annotations

import warnings
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
    if find_spec("spandrel") is None or find_spec("spandrel_extra_arches") is None:
        raise ModelError(f"-m {name} needs spandrel; pip install 'facerestore[baselines]'")
    if name in FACE_NETWORKS:
        path, found = FILES[name].path, checked(FILES[name])
    else:
        path = Path(name)
        if not path.is_file():
            raise ModelError(f"{path}: no such file; name a file of weights, or a model")
        found = sha256(path)
    restorer = network_restorer(load_descriptor(path), choose_device(device), path)
    return Loaded(restorer, _facts(path.stem, "spandrel", {path.name: found}), "as asked for")


def _facts(name: str, library: str, sums: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "version": f"{library} {version(library)}", "sha256": sums}


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
    single = isinstance(descriptor, spandrel.ImageModelDescriptor)
    if not single or (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise ModelError(f"{path}: its network does not turn a colour picture into another one")
    return descriptor.eval()


def network_restorer(descriptor: Any, device: torch.device, path: Path) -> FrameWise:
    """A spandrel network on a device, at the crop size that suits it."""
    size = FACE_SIZE if descriptor.scale == 1 else ENLARGED_SIZE
    descriptor.to(device)

    def picture(frame: Bytes, tasks: Tasks, hole: NDArray[np.bool_] | None) -> Bytes:
        import cv2

        answer = answer_of(descriptor, frame, device)
        if not np.isfinite(answer).all():
            raise ModelError(f"{path}: its answer is not a number; are the weights whole?")
        if answer.shape[0] != len(frame):
            answer = cv2.resize(answer, frame.shape[1::-1], interpolation=cv2.INTER_AREA)
        return np.rint(np.clip(answer, 0, 1) * 255).astype(np.uint8)

    return FrameWise(picture, size)


def answer_of(descriptor: Any, frame: Bytes, device: torch.device) -> NDArray[np.float32]:
    """float32 RGB [H, W, 3], about 0..1: a network's answer to a picture uint8 RGB [S, S, 3]."""
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255
        kind = descriptor.architecture.id
        signed = kind in SIGNED
        y = descriptor.model(x * 2 - 1, **SIGNED[kind])[0] / 2 + 0.5 if signed else descriptor(x)
    return y[0].permute(1, 2, 0).float().cpu().numpy()
