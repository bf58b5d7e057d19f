"""Folders of recorded models and numbers, see `facerestore.models.parity`."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from facerestore.errors import ModelError
from facerestore.models import released
from facerestore.models.checkpoint import ModelConfig
from facerestore.models.identity import Identity
from facerestore.models.load import assemble
from facerestore.models.network import Conditions
from facerestore.models.sampling import Schedule, karras_sigmas, started
from facerestore.models.weights import filled, make_network
from facerestore.models.windows import released_windows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from facerestore.models.svfr import SVFR


FACTS = (
    "arcface_r100_shapes",
    "cases",
    "frame_prep",
    "geometry",
    "identity",
    "released_layout",
    "scheduler_config",
    "unet_config",
    "vae_config",
)
TENSORS = (
    "frame_prep",
    "id_linear",
    "identity",
    "scheduler_tables",
    "unet",
    "unet_forward",
    "vae",
    "vae_forward",
)


class Recorded:
    """A folder of recorded numbers; raises ModelError naming the file that is absent or broken.

    last: the file that was read last
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.last = folder, folder
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder; name one with recorded numbers")

    def check_files(self) -> None:
        """Look whether everything is there and readable, before anything is computed."""
        for name in FACTS:
            if not isinstance(self.facts(name), dict):
                raise ModelError(f"{self.last}: does not hold named values; see docs/parity.md")
        for name in (*TENSORS, *self.facts("cases")):
            self.tensors(name)

    def facts(self, name: str) -> Any:
        """A JSON file."""
        self.last = self.folder / f"{name}.json"
        try:
            return json.loads(self.last.read_text())
        except FileNotFoundError:
            raise ModelError(f"{self.last}: missing; is the folder whole?") from None
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.last}: not readable ({error})") from None

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A safetensors file."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.last = path = self.folder / f"{name}.safetensors"
        try:
            return load_file(path)
        except FileNotFoundError:
            raise ModelError(f"{path}: missing; is the folder whole?") from None
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: not readable ({str(error).splitlines()[0]})") from None

    def network(self, kind: str, name: str, dtype: torch.dtype) -> torch.nn.Module:
        """A diffusers network with its weights."""
        with torch.device("meta"):
            network = make_network(kind, self.facts(f"{name}_config"))
        path = self.folder / f"{name}.safetensors"
        return filled(network, self.tensors(name), dtype=dtype, name=str(path))


def restorer_of(
    recorded: Recorded,
    unet: torch.nn.Module,
    vae: torch.nn.Module,
    identity: Identity,
    exactness: torch.dtype,
) -> SVFR:
    """The recorded models as a restorer."""
    scheduler, config = recorded.facts("scheduler_config"), recorded.facts("unet_config")
    return assemble(
        ModelConfig(
            name="recorded",
            version="",
            tasks=("bfr", "color", "inpaint"),
            size=8 * config["sample_size"],
            window=config["num_frames"],
            overlap=0,
            codec="vae",
            residual=False,
            latent_scale=recorded.facts("vae_config")["scaling_factor"],
            sigma_min=scheduler["sigma_min"],
            sigma_max=scheduler["sigma_max"],
            steps=1,
            tokens=(49, config["cross_attention_dim"]),
            licence="",
            origin=str(recorded.folder),
        ),
        {"unet": unet, "vae": vae, "arcface": identity.arcface, "tokens": identity.projection},
        device=torch.device("cpu"),
        dtype=exactness,
        exactness=exactness,
    )


def recorded_identity(recorded: Recorded, exactness: torch.dtype) -> Identity:
    """The identity network, filled by the recipe of the folder."""
    seed = recorded.facts("identity")["seed"]
    shapes = recorded.facts("arcface_r100_shapes")
    weights = {key: torch.from_numpy(_drawn(key, shape, seed)) for key, shape in shapes.items()}
    projection = recorded.tensors("id_linear")
    with torch.device("meta"):
        arcface = make_network("arcface", {})
        width = len(projection.get("final_norm.weight", ()))
        tokens = make_network("tokens", {}, width=width)
    path = str(recorded.folder / "arcface_r100_shapes.json")
    filled(arcface, weights, dtype=exactness, name=path)
    path = str(recorded.folder / "id_linear.safetensors")
    filled(tokens, projection, dtype=exactness, name=path)
    return Identity(arcface, tokens)  # pyright: ignore[reportArgumentType]


def _drawn(key: str, shape: list[int], seed: int) -> np.ndarray:
    """The number recipe for one tensor of the identity network."""
    if not shape:
        return np.zeros((), np.int64)  # counts batches
    rng = np.random.default_rng([seed, zlib.crc32(b"arcface:" + key.encode())])
    n = rng.standard_normal(shape).astype(np.float32)
    if n.ndim >= 2:
        return n * np.float32(0.7 / np.sqrt(n[0].size))
    if key.endswith("running_var"):
        return 1 + np.float32(0.2) * np.abs(n)
    if key.endswith("weight"):
        return (1 + np.float32(0.2) * n) * np.float32(0.3 if ".bn3." in key else 1.0)
    return np.float32(0.1) * n


def schedule_of(case: dict[str, Any], svfr: SVFR) -> Schedule:
    """The released schedule of a recorded case."""
    steps, window, overlap = case["num_inference_steps"], case["frames_per_batch"], case["overlap"]
    sigmas = karras_sigmas(steps, sigma_min=svfr.config.sigma_min, sigma_max=svfr.config.sigma_max)
    windows = partial(_released, window=window, overlap=overlap)
    whole = Schedule(sigmas, (1.0,) * steps, windows)
    begun = started(whole, strength=case["i2i_noise_strength"])
    guidance = np.linspace(case["min_guidance_scale"], case["max_guidance_scale"], len(begun))
    return replace(begun, guidance=tuple(guidance.tolist()))


def _released(n_frames: int, step: int, *, window: int, overlap: int) -> list[list[int]]:
    return released_windows(n_frames, window=window, overlap=overlap, step=step)


def conditions_of(case: dict[str, Any], tensors: dict[str, Tensor], svfr: SVFR) -> Conditions:
    """What the recorded run was given."""
    known = tokens = None
    if case["has_reference"]:
        known = svfr.codec.encode(tensors["reference"][None].to(svfr.exactness))
    if case["has_identity"]:
        tokens = tensors["identity_tokens"][None].to(svfr.exactness)
    degraded = svfr.codec.encode(enlarged(tensors["lq_half_u8"], svfr.exactness))
    return Conditions(degraded, known, tokens, tuple(map(float, case["task_vector"])))


def enlarged(half: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [F, H/2, W/2, 3] -> [F, 3, H, W] in [-1, 1], every pixel four times."""
    whole = half.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    return whole.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1


def masked_pictures(grey: np.ndarray, tensors: dict[str, Tensor]) -> Iterator[np.ndarray]:
    """The grey picture with its hole: rows first to end are 255 in the mask, end to last 254.

    The folder tells the rows only; the columns are those that its every-fourth pixels allow.
    """
    first, end, last = tensors["mask_rows"].tolist()
    row = (first + end) // 8
    changed = (tensors["grey_masked_every4"][row].numpy() != grey[4 * row, ::4]).any(axis=-1)
    columns = np.flatnonzero(changed) * 4 if changed.any() else np.array([0, 0])
    for left, right in product(range(4), range(4)):
        hole = slice(max(columns[0] - left, 0), columns[-1] + right + 1)
        mask = np.zeros(grey.shape[:2], np.uint8)
        mask[first:end, hole], mask[end:last, hole] = released.HOLE, released.HOLE - 1
        yield released.white_holes(grey, mask)
