"""Where a training run starts, and how its weights become a model folder."""

from __future__ import annotations

import copy
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, cast

import torch

from facerestore.errors import ModelError
from facerestore.models.checkpoint import CONFIG_NAME, SAFETENSORS, kinds_of, read_config, verify
from facerestore.models.codec import PatchCodec, VaeCodec
from facerestore.models.convert import find_vae, read_weights
from facerestore.models.identity import Identity
from facerestore.models.network import flatten_time_convolutions, hoisted
from facerestore.models.svfr import SVFR
from facerestore.models.weights import check_layout, load_network, make_network, save_model
from facerestore.training.fresh import HOLE_CHANNELS, folded, fresh_unet, whitening
from facerestore.training.objective import Objective, Shared

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from facerestore.models.checkpoint import ModelConfig
    from facerestore.models.codec import Codec
    from facerestore.models.restorer import Restorer
    from facerestore.training.config import TrainConfig

TRAINED = ("unet", "tokens")


def start(config: TrainConfig, folder: Path | None) -> tuple[Objective, dict[str, nn.Module]]:
    """The objective of a run, and the networks that it needs but does not train, by kind.

    folder: what `network.start` names, None for "fresh"
    Raises ModelError for a folder that does not fit the configuration.
    """
    model, network = config.model, config.network
    torch.manual_seed(config.seed)
    if folder is None:
        networks = {"unet": fresh_unet(network.widths, fills_holes=model.fills_holes)}
    elif (folder / CONFIG_NAME).is_file():
        networks = _from_model(folder, model)
    else:
        networks = _from_diffusers(folder, network.arcface, model)
    unet: Any = flatten_time_convolutions(networks["unet"].train().requires_grad_(True))
    if config.optimizer.checkpointing:
        unet.enable_gradient_checkpointing()
    frozen = {kind: net for kind, net in networks.items() if kind not in TRAINED}
    for net in frozen.values():
        net.eval().requires_grad_(False)
    projection: Any = networks.get("tokens")
    if projection is not None:
        projection.train().requires_grad_(True)
    objective = Objective(
        unet,
        Shared(codec_of(frozen), cast("Any", frozen.get("arcface"))),
        model,
        config.losses,
        config.noise,
        points=config.data.points,
        projection=projection,
        shown=whitening() if model.codec == "patch4" else None,
    )
    return objective, frozen


def codec_of(networks: dict[str, nn.Module]) -> Codec:
    """The VAE where there is one, else the patch codec."""
    return VaeCodec(cast("Any", networks["vae"])) if "vae" in networks else PatchCodec(4)


def _from_model(folder: Path, model: ModelConfig) -> dict[str, nn.Module]:
    """A facerestore model to go on with; its first layer takes conditions through `whitening`.

    One that was not told where holes are gets zero weights for that.
    """
    verify(folder)
    found, _ = read_config(folder)
    for name in ("codec", "residual", "latent_scale", "tokens"):
        if getattr(found, name) != getattr(model, name):
            raise ModelError(f"{folder}: its {name} is {getattr(found, name)!r}; not what is asked")
    if found.fills_holes and not model.fills_holes:
        raise ModelError(f"{folder}: it fills holes; set model.fills_holes = true")
    networks = {
        kind: load_network(folder, kind, dtype=torch.float32, width=found.tokens[1])
        for kind in kinds_of(folder)
    }
    if model.fills_holes and not found.fills_holes:
        networks["unet"] = _told_of_holes(networks["unet"])
    if found.codec == "patch4":
        first: Any = networks["unet"].conv_in
        first.weight.data = folded(first.weight.data, torch.linalg.inv(whitening()))
    return networks


def _told_of_holes(unet: Any) -> nn.Module:
    """The same network with zero weights for further input channels, those of `hole_latents`."""
    config, weights = dict(unet.config), unet.state_dict()
    config["in_channels"] += HOLE_CHANNELS
    weights["conv_in.weight"] = _more_inputs(weights["conv_in.weight"], HOLE_CHANNELS)
    wider = make_network("unet", config)
    wider.load_state_dict(weights)
    return wider


def _more_inputs(weight: torch.Tensor, count: int) -> torch.Tensor:
    """A first layer's weight [O, I, 3, 3] with zeros for so many more channels."""
    return torch.cat([weight, weight.new_zeros(len(weight), count, *weight.shape[2:])], dim=1)


def _from_diffusers(folder: Path, arcface: str | None, model: ModelConfig) -> dict[str, nn.Module]:
    """Stable Video Diffusion: 8 input channels become 12, those of the reference with zero weights.

    The task vector takes the slots of SVD's time ids. The projection of identity tokens is new;
    without ArcFace weights the tokens are zeros.
    """
    config_path = folder / "unet" / "config.json"
    try:
        config = json.loads(config_path.read_text())
    except (OSError, ValueError):
        raise ModelError(
            f"{folder}: no unet/config.json; is it a Stable Video Diffusion folder?"
        ) from None
    vae, vae_config = find_vae(folder)
    networks = {
        "unet": _widened(folder / "unet" / SAFETENSORS, config),
        "vae": _loaded("vae", vae, json.loads(vae_config.read_text())),
    }
    if arcface is not None:
        from pathlib import Path as FilePath

        networks["arcface"] = _loaded("arcface", FilePath(arcface), {})
        networks["tokens"] = make_network("tokens", {}, width=model.tokens[1])
    return networks


def _widened(path: Path, config: dict[str, Any]) -> nn.Module:
    weights = read_weights(path)
    latents = config["out_channels"]
    first = weights["conv_in.weight"].float()  # [O, noisy + degraded, 3, 3]
    missing = 3 * latents - first.shape[1]
    if missing not in (0, latents):
        raise ModelError(f"{path}: {first.shape[1]} input channels; expected {2 * latents}")
    weights["conv_in.weight"] = _more_inputs(first, missing)
    network = make_network("unet", config | {"in_channels": 3 * latents})
    check_layout(network, weights, name=str(path))
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network


def _loaded(kind: str, path: Path, config: dict[str, Any]) -> nn.Module:
    network, weights = make_network(kind, config), read_weights(path)
    check_layout(network, weights, name=str(path))
    network.load_state_dict(weights, strict=False)  # counters of finished trainings may be absent
    return network


def finished(objective: Objective, average: dict[str, torch.Tensor]) -> dict[str, nn.Module]:
    """The trained networks by kind, with averaged weights, as a model folder holds them."""
    copied = {"unet": objective.unet, "tokens": objective.projection}
    networks = {}
    for kind, network in copied.items():
        if network is None:
            continue
        prefix = "unet." if kind == "unet" else "projection."
        one = copy.deepcopy(network)
        one.load_state_dict(
            {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}
        )
        networks[kind] = one.eval().requires_grad_(False)
    if objective.shown is not None:
        first: Any = networks["unet"].conv_in
        first.weight.data = folded(first.weight.data, objective.shown)
    return networks


def restorer(networks: dict[str, nn.Module], config: ModelConfig, device: torch.device) -> Restorer:
    """The networks as a restorer, where they are: float32, computing in bfloat16.

    Unlike `assemble` it moves nothing: the VAE goes on to be used by the training.
    """
    identity = None
    if "arcface" in networks:
        identity = Identity(cast("Any", networks["arcface"]), cast("Any", networks["tokens"]))
    return SVFR(
        hoisted(networks["unet"]),
        codec_of(networks),
        config,
        identity=identity,
        device=device,
        dtype=torch.bfloat16,
    )


def write_model(
    folder: Path, networks: dict[str, nn.Module], config: ModelConfig, dtype: torch.dtype
) -> None:
    """A model folder that appears whole, in the place of an older one."""
    part, old = (folder.with_name(f".{folder.name}.{end}") for end in ("part", "old"))
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    save_model(part, networks, config, dtype=dtype)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)
