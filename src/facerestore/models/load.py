"""From a model folder to a restorer on a device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from facerestore.errors import UsageError
from facerestore.models.baselines import is_baseline, load_baseline
from facerestore.models.cards import Cards
from facerestore.models.checkpoint import (
    BUNDLED,
    CONFIG_NAME,
    find_model,
    kinds_of,
    models_folder,
    read_config,
    verify,
)
from facerestore.models.device import (
    ON_CPU,
    choose_device,
    choose_dtype,
    fitting_plans,
    free_gib,
    place,
    weights_gib,
)
from facerestore.models.restorer import Loaded
from facerestore.models.sampling import schedule_for
from facerestore.models.weights import load_network

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from facerestore.frames import Tasks
    from facerestore.models.checkpoint import ModelConfig
    from facerestore.models.restorer import Restorer
    from facerestore.models.svfr import SVFR

LEAST_VRAM_GIB = 4.0  # what the smallest plan is estimated to need, see `device.plan_gib`


def load_model(
    folder: Path,
    *,
    device: str = "auto",
    mode: str = "exact",
    steps: int | None = None,
    max_vram: float | None = None,
) -> SVFR:
    """The model of a checked folder, ready to restore.

    device: "auto" (a CUDA card if there is one), "cpu", "cuda", "cuda:1", "mps"
    mode, steps: see `schedule_for`;  max_vram: limit for the card's memory in GiB
    Raises ModelError (damaged folder) or ResourceError (no such device).
    """
    config = verify(folder)
    where = choose_device(device)
    dtype = choose_dtype(where)
    networks = load_networks(folder, config, where, dtype)
    return assemble(
        config, networks, device=where, dtype=dtype, mode=mode, steps=steps, max_vram=max_vram
    )


def choose_model(name: str | None, device: str) -> tuple[Path, str]:
    """The folder of the model to use, and why that one.

    name: as given by the user; None = svfr where it is installed and a card can hold it, else mini
    """
    if name is not None:
        return find_model(name), "as asked for"
    home = models_folder() / "svfr"
    if not (home / CONFIG_NAME).is_file():
        return BUNDLED, "svfr is not installed"
    first = choose_device(device.split(",")[0])
    if first.type != "cuda":
        return BUNDLED, f"svfr needs a graphics card, this is {first.type}"
    if free_gib(first) < LEAST_VRAM_GIB:
        return BUNDLED, f"svfr needs {LEAST_VRAM_GIB} GiB of free memory on the card"
    return home, "installed, and the card fits it"


def load_named(
    name: str | None,
    tasks: Tasks,
    *,
    device: str,
    mode: str = "exact",
    steps: int | None = None,
    max_vram: float | None = None,
) -> Loaded:
    """The restorer of a name as the user gives it: a model, a baseline, or a file of weights.

    Raises UsageError for tasks and options that it has no use for, ModelError, ResourceError.
    """
    if is_baseline(name):
        assert name is not None
        if (mode, steps, max_vram) != ("exact", None, None):
            raise UsageError(f"-m {name} knows no --mode, --steps or --max-vram; leave them out")
        return load_baseline(name, tasks, device=device)
    folder, why = choose_model(name, device)
    config, sums = read_config(folder)
    restorer = restorer_for(folder, device=device, mode=mode, steps=steps, max_vram=max_vram)
    facts = {"name": config.name, "version": config.version, "sha256": sums}
    return Loaded(restorer, facts, why)


def restorer_for(
    folder: Path,
    *,
    device: str,
    mode: str,
    steps: int | None,
    max_vram: float | None,
) -> Restorer:
    """A model on one device, or on several given as "cuda:0,cuda:1"; see `load_model`."""
    config, _ = read_config(folder)
    schedule_for(config, mode=mode, steps=steps, reference=True)  # refuses a wrong mode early
    how = {"mode": mode, "steps": steps, "max_vram": max_vram}
    if "," not in device:
        return load_model(folder, device=device, **how)
    devices = [name.strip() for name in device.split(",") if name.strip()]
    for name in devices:
        choose_device(name)
    load = partial(_on_device, folder, **how)
    return Cards(config, devices, load, mode=mode, steps=steps)


def _on_device(folder: Path, device: str, **how: Any) -> SVFR:
    return load_model(folder, device=device, **how)


def load_networks(
    folder: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.nn.Module]:
    """All networks of a folder by kind, in main memory."""
    import torch

    if weights_stay_float32(config, device):
        dtype = torch.float32
    # in float16 the VAE overflows (its own configuration says so)
    vae = dtype if dtype == torch.bfloat16 else torch.float32
    dtypes = {"unet": dtype, "vae": vae}
    return {
        kind: load_network(
            folder, kind, dtype=dtypes.get(kind, torch.float32), width=config.tokens[1]
        )
        for kind in kinds_of(folder)
    }


def weights_stay_float32(config: ModelConfig, device: torch.device) -> bool:
    """Small models, and all on the CPU: only the computing is in 16 bits (autocast)."""
    return config.codec == "patch4" or device.type == "cpu"


def assemble(
    config: ModelConfig,
    networks: dict[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    mode: str = "exact",
    steps: int | None = None,
    max_vram: float | None = None,
    exactness: torch.dtype | None = None,
) -> SVFR:
    """A restorer of networks by kind ("unet" alone, or also "vae", "arcface", "tokens")."""
    import torch

    from facerestore.models.codec import PatchCodec, VaeCodec
    from facerestore.models.identity import ArcFace, Identity, TokenProjection
    from facerestore.models.network import flatten_time_convolutions, hoisted
    from facerestore.models.svfr import SVFR

    unet, vae = flatten_time_convolutions(networks["unet"]), networks.get("vae")
    plans = [ON_CPU]
    if device.type == "cuda":
        limit = min(free_gib(device), max_vram or float("inf"))
        plans = fitting_plans(
            limit,
            unet_gib=weights_gib(unet),
            vae_gib=weights_gib(vae) if vae else 0.0,
            area=((config.large or config.size) / 512) ** 2,
            window=config.window,
        )
    place(unet, vae, device, plans[0])
    identity = None
    if "arcface" in networks:
        identity = Identity(
            cast("ArcFace", networks["arcface"]), cast("TokenProjection", networks["tokens"])
        ).to(device, exactness or torch.float32)
    return SVFR(
        hoisted(unet),
        VaeCodec(vae) if vae else PatchCodec(4),
        config,
        identity=identity,
        device=device,
        dtype=dtype,
        autocast=weights_stay_float32(config, device),
        exactness=exactness or torch.float32,
        mode=mode,
        steps=steps,
        plans=plans,
        place=lambda plan: place(unet, vae, device, plan),
    )
