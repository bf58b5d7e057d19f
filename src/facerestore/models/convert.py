"""From the authors' files to a model folder."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import torch

from facerestore.errors import ModelError, ResourceError, UsageError
from facerestore.frames import TASK_NAMES
from facerestore.models.checkpoint import (
    SAFETENSORS,
    ModelConfig,
    filled,
    make_network,
    save_model,
)

if TYPE_CHECKING:
    from pathlib import Path

# Configuration of the released UNet: that of Stable Video Diffusion with 12 input channels
UNET = {
    "sample_size": 64,
    "in_channels": 12,
    "out_channels": 4,
    "num_frames": 25,
    "transformer_layers_per_block": 1,
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
    "block_out_channels": [320, 640, 1280, 1280],
    "num_attention_heads": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
    "force_upcast": True,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}
RELEASED = ModelConfig(
    name="svfr",
    version="3a45390",  # commit of the released code
    tasks=TASK_NAMES,
    size=512,
    window=16,
    overlap=3,
    codec="vae",
    residual=False,
    latent_scale=0.18215,
    sigma_min=0.002,
    sigma_max=700.0,
    steps=30,
    tokens=(49, 1024),
    licence="SVFR weights: non-commercial research; SVD: Stability AI community licence",
    origin="github.com/wangzhiyaoo/SVFR, stabilityai/stable-video-diffusion-img2vid-xt",
    first_steps=50,
    guidance=2.0,
    shifting=True,
    shared_noise=False,
    chunk=256,
)


def released_network(kind: str) -> torch.nn.Module:
    """A network of the released model in its full size, on the meta device (no memory)."""
    with torch.device("meta"):
        return make_network(
            kind, {"unet": UNET, "vae": VAE}.get(kind, {}), width=RELEASED.tokens[1]
        )


def convert(
    *, unet: Path, id_linear: Path, arcface: Path, svd: Path, target: Path, overwrite: bool = False
) -> ModelConfig:
    """Make a model folder of the authors' files and a Stable Video Diffusion folder.

    unet, id_linear, arcface: `unet.pth`, `id_linear.pth`, `insightface_glint360k.pth`
    svd: a folder with `vae/`, as the hub or diffusers lay it out
    Nothing appears under `target` before it is whole. Raises ModelError naming the first wrong key,
    UsageError where `target` exists already.
    """
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; remove it or add --overwrite")
    vae, vae_config = find_vae(svd)
    networks = {
        "unet": _network("unet", UNET, read_weights(unet), torch.float16, unet),
        "vae": _network("vae", vae_config, read_weights(vae), torch.float16, vae),
        "arcface": _network("arcface", {}, read_weights(arcface), torch.float32, arcface),
        "tokens": _network("tokens", {}, read_weights(id_linear), torch.float32, id_linear),
    }
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        save_model(part, networks, RELEASED)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    except OSError as error:
        raise ResourceError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return RELEASED


def find_vae(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The VAE's weights in a Stable Video Diffusion folder, and its configuration."""
    for name in ("diffusion_pytorch_model.fp16.safetensors", SAFETENSORS):
        if (folder / "vae" / name).is_file():
            config = folder / "vae" / "config.json"
            try:
                return folder / "vae" / name, json.loads(config.read_text())
            except (OSError, ValueError):
                raise ModelError(f"{config}: not readable; download it again") from None
    raise ModelError(f"{folder}: no vae/{SAFETENSORS}; is it a Stable Video Diffusion folder?")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors or .pth file; nothing but tensors is ever unpickled."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; check the name") from None
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError):
        raise ModelError(f"{path}: not a file of tensors alone; download it again") from None
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise ModelError(f"{path}: holds something else than named tensors; is it the right file?")
    return weights


def _network(
    kind: str,
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    dtype: torch.dtype,
    path: Path,
) -> torch.nn.Module:
    with torch.device("meta"):
        network = make_network(kind, config, width=RELEASED.tokens[1])
    return filled(network, weights, dtype=dtype, name=str(path))
