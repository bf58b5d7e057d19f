"""Measures by networks whose weights may not be here: ArcFace, LPIPS, landmarks (FVD: fvd.py).

Nothing is downloaded; what is missing is said, with where to get it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from facerestore.errors import ModelError
from facerestore.evaluation.meters import Neighbours, mean
from facerestore.models.checkpoint import WEIGHTS, read_config, sha256
from facerestore.models.weights import load_network
from facerestore.models.zoo import installed

if TYPE_CHECKING:
    import torch

    from facerestore.evaluation.meters import Numbers
    from facerestore.evaluation.views import View
    from facerestore.faces.landmarks import Points
    from facerestore.frames import Bytes, Floats
    from facerestore.models.identity import ArcFace, TokenProjection
    from facerestore.models.identity import Identity as IdentityNetwork

ALIGNMENT = "https://github.com/xinntao/facexlib/releases/download/v0.1.0/"
EYES, LIPS = slice(36, 48), slice(48, 68)  # of the 68 landmarks (iBUG 300-W)
AKD_SIDE = 256  # px
LEAST_SIDE = 64  # px, below that nothing is left after AlexNet's poolings
ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"  # torchvision's
NO_IDENTITY = (
    "IDS, VIDD and identity drift are not measured: they need a model with an identity network; "
    "get one with: facerestore models pull svfr (or convert)"
)
NO_TORCHMETRICS = "LPIPS is not measured: it needs torchmetrics; pip install 'facerestore[metrics]'"


def load_identity(device: torch.device) -> IdentityNetwork | None:
    """ArcFace of the first installed model that has it, None without; raises ModelError if broken.

    Where models are looked for: `models_folder`.
    """
    import torch

    for model in installed():
        if model.trouble or not (model.folder / WEIGHTS["arcface"]).is_file():
            continue
        from facerestore.models.identity import Identity

        config, sums = read_config(model.folder)
        networks = {}
        for kind in ("arcface", "tokens"):
            path = model.folder / WEIGHTS[kind]
            if sha256(path) != sums.get(WEIGHTS[kind]):
                raise ModelError(f"{path}: damaged; install the model again")
            networks[kind] = load_network(
                model.folder, kind, dtype=torch.float32, width=config.tokens[1]
            )
        return Identity(
            cast("ArcFace", networks["arcface"]), cast("TokenProjection", networks["tokens"])
        ).to(device)
    return None


def load_perceptual(device: torch.device) -> tuple[Any, str]:
    """LPIPS with AlexNet (torchmetrics), or None and the sentence why not.

    Raises ModelError where the weights are here but broken.
    """
    import torch

    if find_spec("torchmetrics") is None:
        return None, NO_TORCHMETRICS
    # where torchvision looks for it, and would download it to
    path = Path(torch.hub.get_dir(), "checkpoints", os.path.basename(ALEXNET))
    if not path.is_file():
        return None, f"LPIPS is not measured: put AlexNet's weights, {ALEXNET}, into {path.parent}"
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        network = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    except Exception as error:  # damaged pickles raise anything
        raise ModelError(f"{path}: not AlexNet's weights; delete it and fetch {ALEXNET}") from error
    return network.to(device).eval(), ""


def load_points() -> tuple[Points | None, str]:
    """The network of 68 landmarks (facexlib), or None and the sentence why not."""
    from facerestore.faces.detect import weight_folders
    from facerestore.faces.landmarks import WEIGHTS as LANDMARKS
    from facerestore.faces.landmarks import load_points as load

    points = load()
    if points.count == LIPS.stop:
        return points, ""
    folder = weight_folders()[0]
    return None, f"AKD is not measured: put facexlib's {ALIGNMENT}{LANDMARKS} into {folder}"


class Keypoints:
    """AKD: how far 68 landmarks are from those of the reference, in px of a square of 256 px."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.off: list[Floats] = []  # [68] each

    def push(self, view: View) -> None:
        assert view.landmarks is not None
        both = np.stack([view.out, view.ref])
        out, ref = self.points.find(both, np.stack([view.landmarks] * 2))
        self.off.append(np.linalg.norm(out - ref, axis=1) * (AKD_SIDE / len(view.ref)))

    def results(self) -> Numbers:
        off = np.array(self.off).reshape(-1, LIPS.stop)
        return {
            "akd_face": mean(off.mean(axis=1)),
            "akd_eyes": mean(off[:, EYES].mean(axis=1)),
            "akd_lips": mean(off[:, LIPS].mean(axis=1)),
        }


class Identity:
    """IDS, the likeness of each face to the true one; VIDD and drift, its steadiness in time."""

    def __init__(self, network: IdentityNetwork) -> None:
        self.network = network
        self.likeness: list[float] = []
        self.sums: dict[int, Floats] = {}  # by thread, [2, 512]: of all vectors so far
        self.steps: list[Floats] = []  # [2] each: of `out` and of `ref`
        self.neighbours: Neighbours[Floats] = Neighbours()

    def push(self, view: View) -> None:
        assert view.landmarks is not None
        faces = self.network.look([view.out, view.ref], [view.landmarks] * 2)
        vectors = self.network.vectors(faces).double().cpu().numpy()  # [2, 512]
        self.likeness.append(float(vectors[0] @ vectors[1]))
        self.sums[view.thread] = self.sums.get(view.thread, 0.0) + vectors
        before = self.neighbours.swap(view, vectors)
        if before is not None:
            self.steps.append(np.linalg.norm(vectors - before, axis=1))

    def results(self) -> Numbers:
        steps = np.array(self.steps).reshape(-1, 2)
        # unit vectors lie, in the mean, at the cosine |their mean| from their mean direction
        lengths = [np.linalg.norm(total, axis=1) for total in self.sums.values()]
        near = np.sum(lengths, axis=0) / len(self.likeness) if lengths else [np.nan] * 2
        return {
            "ids": mean(self.likeness),
            "identity_drift": mean([1 - near[0]]),
            "ref_identity_drift": mean([1 - near[1]]),
            "vidd": mean(steps[:, 0]),
            "ref_vidd": mean(steps[:, 1]),
        }


class Perceptual:
    """LPIPS of views of at least 64 x 64 pixels."""

    def __init__(self, network: Any, device: torch.device) -> None:
        self.network, self.device = network, device
        self.values: list[float] = []

    def push(self, view: View) -> None:
        import torch

        if min(view.out.shape[:2]) < LEAST_SIDE:
            return
        with torch.inference_mode():
            value = self.network(self._tensor(view.out), self._tensor(view.ref))
        self.network.reset()
        self.values.append(float(value))

    def _tensor(self, picture: Bytes) -> torch.Tensor:
        """float32 [1, 3, H, W], 0..1."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(self.device)
        return pixels.permute(2, 0, 1)[None].float() / 255

    def results(self) -> Numbers:
        return {"lpips": mean(self.values)}
