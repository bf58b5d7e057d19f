"""Model folders: `facerestore.json`, `unet/` as diffusers saves it, a model card.

Only safetensors are read. Every weight file's sha256 is in facerestore.json and is checked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from facerestore.errors import ModelError, ResourceError

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )

    from facerestore.models.svfr import SVFR

FORMAT = 1
CONFIG_NAME = "facerestore.json"
BUNDLED = Path(__file__).parent.parent / "assets" / "mini"
SAFETENSORS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class ModelConfig:
    """What facerestore.json says beside the checksums.

    tasks:        task names the model was trained for
    size, window: crop side in pixels, frames denoised together;  overlap: frames windows share
    codec:        "patch4" (pixel-unshuffle by 4, exact)
    residual:     diffuse z - z_LQ (True) or z itself;  latent_scale: multiplier before noise
    sigma_min, sigma_max, steps: noise range and default number of Karras steps
    tokens:       (count, width) of the identity context
    """

    name: str
    version: str
    tasks: tuple[str, ...]
    size: int
    window: int
    overlap: int
    codec: str
    residual: bool
    latent_scale: float
    sigma_min: float
    sigma_max: float
    steps: int
    tokens: tuple[int, int]
    licence: str
    origin: str


def find_model(name: str) -> Path:
    """The folder of a model given by name (`mini`) or by path; raises ModelError."""
    if name == "mini":
        return BUNDLED
    if (Path(name) / CONFIG_NAME).is_file():
        return Path(name)
    raise ModelError(
        f"{name}: neither a model of this version (mini) nor a folder with {CONFIG_NAME}"
    )


def read_config(folder: Path) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration and the sha256 of each file; raises ModelError if absent or damaged."""
    try:
        content: dict[str, Any] = json.loads((folder / CONFIG_NAME).read_text())
        if content.pop("format") != FORMAT:
            raise ModelError(f"{folder}: made for another version of facerestore")
        sums = content.pop("sha256")
        content["tasks"], content["tokens"] = tuple(content["tasks"]), tuple(content["tokens"])
        return ModelConfig(**content), sums
    except FileNotFoundError:
        raise ModelError(f"{folder}: no {CONFIG_NAME}; is it a model folder?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG_NAME}: not readable ({error})") from None


def verify(folder: Path) -> ModelConfig:
    """Check every file against its sum; raises ModelError naming the first wrong one."""
    config, sums = read_config(folder)
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name}: missing; install facerestore or the model again")
        if sha256(folder / name) != expected:
            raise ModelError(f"{folder / name}: damaged; install facerestore or the model again")
    return config


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(folder: Path, *, device: str = "auto") -> SVFR:
    """The model of a checked folder, ready to restore.

    device: "auto" (a CUDA card if there is one), "cpu", "cuda", "cuda:1", "mps"
    Raises ModelError (damaged folder) or ResourceError (no such device).
    """
    from facerestore.models.codec import PatchCodec
    from facerestore.models.svfr import SVFR

    config = verify(folder)
    if config.codec != "patch4":
        raise ModelError(f"{folder}: unknown codec '{config.codec}'; this version knows patch4")
    where = choose_device(device)
    return SVFR(_load_unet(folder), PatchCodec(4), config, device=where, dtype=choose_dtype(where))


def _load_unet(folder: Path) -> torch.nn.Module:
    import torch
    from diffusers.models.unets.unet_spatio_temporal_condition import (
        UNetSpatioTemporalConditionModel,
    )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from facerestore.models.network import flatten_time_convolutions

    try:
        config = json.loads((folder / "unet" / "config.json").read_text())
        unet = cast("torch.nn.Module", UNetSpatioTemporalConditionModel.from_config(config))
        weights = load_file(folder / "unet" / SAFETENSORS)
        unet.load_state_dict({name: w.to(torch.float32) for name, w in weights.items()})
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: weights do not load ({reason})") from None
    return flatten_time_convolutions(unet)


def choose_device(name: str) -> torch.device:
    """The device a name stands for; raises ResourceError where it is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ResourceError(f"device '{name}' is not available here; use --device cpu") from None
    return device


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware computes in it, else float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def save_model(folder: Path, unet: UNetSpatioTemporalConditionModel, config: ModelConfig) -> None:
    """Write a model folder; the weights are stored as bfloat16."""
    import torch
    from safetensors.torch import save_file

    (folder / "unet").mkdir(parents=True, exist_ok=True)
    unet.save_config(folder / "unet")
    weights = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in unet.state_dict().items()}
    save_file(weights, folder / "unet" / SAFETENSORS)
    files = ("unet/config.json", f"unet/{SAFETENSORS}")
    content = {"format": FORMAT, **asdict(config)}
    content["sha256"] = {name: sha256(folder / name) for name in files}
    (folder / CONFIG_NAME).write_text(json.dumps(content, indent=2) + "\n")
