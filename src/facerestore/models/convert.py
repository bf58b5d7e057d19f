"""From the authors' files to a model folder."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from facerestore.errors import ModelError, ResourceError, UsageError
from facerestore.frames import TASK_NAMES
from facerestore.models.checkpoint import SAFETENSORS, ModelConfig
from facerestore.models.weights import filled, make_network, save_model

if TYPE_CHECKING:
    from pathlib import Path

# Configuration of the released UNet: that of Stable Video Diffusion with 12 input channels
UNET: dict[str, Any] = {
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
VAE: dict[str, Any] = {
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


@dataclass(frozen=True)
class Layout:
    """What a set of the authors' files should hold: the model's facts and diffusers' UNet."""

    config: ModelConfig
    unet: dict[str, Any]


def released_network(kind: str) -> torch.nn.Module:
    """A network of the released model in its full size, on the meta device (no memory)."""
    with torch.device("meta"):
        return make_network(
            kind, {"unet": UNET, "vae": VAE}.get(kind, {}), width=RELEASED.tokens[1]
        )


def random_networks(
    width: int, *, dtype: torch.dtype, vae_width: int | None = None, seed: int = 0
) -> dict[str, torch.nn.Module]:
    """Networks of the released layout with random weights, for speed and tests.

    width: channels of the UNet's first level, 320 = the released model; the other sizes follow
    vae_width: of the VAE's first level, 128 = the released one; None = in proportion, at least 32
    """
    torch.manual_seed(seed)
    head = UNET["block_out_channels"][0] // UNET["num_attention_heads"][0]
    levels = [width * n // 320 for n in UNET["block_out_channels"]]
    unet = UNET | {
        "block_out_channels": levels,
        "num_attention_heads": [max(n // head, 1) for n in levels],
    }
    first = vae_width or max(32, 128 * width // 320 // 32 * 32)
    vae = VAE | {"block_out_channels": [first, 2 * first, 4 * first, 4 * first]}
    configs = {"unet": unet, "vae": vae, "arcface": {}, "tokens": {}}
    networks = {}
    for kind, config in configs.items():
        network = make_network(kind, config, width=RELEASED.tokens[1])
        kept = torch.float32 if kind in ("arcface", "tokens") else dtype
        torch.nn.Module.to(network, kept)  # diffusers' own `to` warns of nothing
        networks[kind] = network.eval().requires_grad_(False)
    return networks


def convert(
    *,
    unet: Path,
    id_linear: Path,
    arcface: Path,
    vae: Path,
    vae_config: Path,
    target: Path,
    overwrite: bool = False,
    layout: Layout | None = None,
) -> ModelConfig:
    """Make a model folder of the authors' files and a Stable Video Diffusion folder.

    unet, id_linear, arcface: `unet.pth`, `id_linear.pth`, `insightface_glint360k.pth`
    vae, vae_config: of Stable Video Diffusion, see `find_vae`
    layout: None = the released one
    Nothing appears under `target` before it is whole. Raises ModelError naming the first wrong key,
    UsageError where `target` exists already.
    """
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; remove it or add --overwrite")
    layout = layout or Layout(RELEASED, UNET)
    half, width = torch.float16, layout.config.tokens[1]
    networks = {
        "unet": _network("unet", unet, half, config=layout.unet),
        "vae": _network("vae", vae, half, config=_read_config(vae_config)),
        "arcface": _network("arcface", arcface, torch.float32),
        "tokens": _network("tokens", id_linear, torch.float32, width=width),
    }
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        save_model(part, networks, layout.config)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    except OSError as error:
        raise ResourceError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return layout.config


def find_vae(folder: Path) -> tuple[Path, Path]:
    """The VAE's weights and configuration in a Stable Video Diffusion folder (its `vae/`)."""
    for name in ("diffusion_pytorch_model.fp16.safetensors", SAFETENSORS):
        if (folder / "vae" / name).is_file():
            return folder / "vae" / name, folder / "vae" / "config.json"
    raise ModelError(f"{folder}: no vae/{SAFETENSORS}; is it a Stable Video Diffusion folder?")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise ModelError(f"{path}: not readable; download it again") from None


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
    path: Path,
    dtype: torch.dtype,
    *,
    config: dict[str, Any] | None = None,
    width: int = 0,
) -> torch.nn.Module:
    weights = read_weights(path)
    with torch.device("meta"):
        network = make_network(kind, config or {}, width=width)
    return filled(network, weights, dtype=dtype, name=str(path))
