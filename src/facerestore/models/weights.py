"""The networks of a model folder: made, checked key by key, loaded and saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from facerestore.errors import ModelError
from facerestore.models.checkpoint import WEIGHTS, write_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from facerestore.models.checkpoint import ModelConfig


def make_network(kind: str, config: Mapping[str, Any], *, width: int = 0) -> torch.nn.Module:
    """A network without weights worth having: kind is a key of WEIGHTS.

    config: of diffusers, for "unet" and "vae";  width: of the identity tokens, for "tokens"
    """
    from diffusers.utils import logging as diffusers_log

    from facerestore.models.identity import ArcFace, TokenProjection

    if kind == "arcface":
        return ArcFace()
    if kind == "tokens":
        return TokenProjection(width)
    if kind == "vae":
        from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import (
            AutoencoderKLTemporalDecoder as Kind,
        )
    else:
        from diffusers.models.unets.unet_spatio_temporal_condition import (
            UNetSpatioTemporalConditionModel as Kind,
        )
    diffusers_log.set_verbosity_error()  # it warns of what is checked here, key by key
    return cast("torch.nn.Module", Kind.from_config(dict(config)))


def check_layout(network: torch.nn.Module, weights: Mapping[str, Any], *, name: str) -> None:
    """Compare names and shapes; raises ModelError naming the first that is wrong."""
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for key, shape in expected.items():
        if key not in weights:
            if key.endswith("num_batches_tracked"):
                continue  # counts batches of a training that is over
            raise ModelError(f"{name}: '{key}' is missing; is it the right file?")
        got = tuple(weights[key].shape)
        if got != shape:
            raise ModelError(f"{name}: '{key}' has shape {got}, expected {shape}")
    for key in weights:
        if key not in expected:
            raise ModelError(f"{name}: '{key}' does not belong there; is it the right file?")


def load_network(folder: Path, kind: str, *, dtype: torch.dtype, width: int = 0) -> torch.nn.Module:
    """A network of a model folder in evaluation mode; raises ModelError if anything is off."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS[kind]
    config_path = path.with_name("config.json")
    try:
        config = json.loads(config_path.read_text()) if kind in ("unet", "vae") else {}
        with torch.device("meta"):
            network = make_network(kind, config, width=width)
        weights = load_file(path)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path}: does not load ({str(error).splitlines()[0]})") from None
    return filled(network, weights, dtype=dtype, name=str(path))


def filled(
    network: torch.nn.Module, weights: Mapping[str, Any], *, dtype: torch.dtype, name: str
) -> torch.nn.Module:
    """A network made on the meta device with these weights; raises ModelError if they misfit."""
    import torch

    check_layout(network, weights, name=name)
    cast = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in weights.items()
    }
    for key, value in network.state_dict().items():
        cast.setdefault(key, torch.zeros(value.shape, dtype=value.dtype))
    network.load_state_dict(cast, assign=True)
    for buffers in (module.named_buffers() for module in network.modules()):
        if any(buffer.is_meta for _, buffer in buffers):
            raise ModelError(f"{name}: not all of the network is in the file")
    return network.eval().requires_grad_(False)


def save_model(
    folder: Path,
    networks: Mapping[str, torch.nn.Module],
    config: ModelConfig,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder of networks by kind (keys of WEIGHTS).

    dtype: what the weights are stored as, None = as they are
    """
    from safetensors.torch import save_file

    for kind, network in networks.items():
        path = folder / WEIGHTS[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        if hasattr(network, "save_config"):
            network.save_config(path.parent)  # pyright: ignore[reportCallIssue]
        weights = {
            key: (
                value.detach().to(dtype) if dtype and value.is_floating_point() else value
            ).contiguous()
            for key, value in network.state_dict().items()
        }
        save_file(weights, path)
        path.chmod(path.parent.stat().st_mode & 0o666)  # it is written for its owner alone
    write_config(folder, config)
