"""Devices, what they compute in, and how much of a model lies on them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facerestore.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch

GIB = 2**30


def choose_device(name: str) -> torch.device:
    """The device a name stands for; raises UsageError for no name, ResourceError if not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device '{name}' is no name of one; use auto, cpu or cuda") from None
    try:
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


@dataclass(frozen=True)
class Plan:
    """How much of a model works, and lies, on a card at once; each is smaller than the one before.

    batch: windows and guidance branches together;  decode_frames: frames the VAE decodes together
    offload: "none"; "components" (networks wait in main memory); "groups" (blocks of the UNet, too)
    """

    name: str
    batch: int
    decode_frames: int
    offload: str = "none"


PLANS = (
    Plan("8 windows at once", 8, 16),
    Plan("all on the card", 4, 16),
    Plan("chunked VAE", 2, 4),
    Plan("one guidance branch at a time", 1, 4),
    Plan("component offload", 1, 4, "components"),
    Plan("group offload", 1, 2, "groups"),
)
ON_CPU = Plan("main memory", 1, 16)  # two windows at once are no faster, and take 350 MB more
# Estimates at 512 px and 16 frames in 16 bits, from the shapes of the largest tensors
WINDOW_GIB, FRAME_GIB, SPARE_GIB = 1.3, 0.33, 0.6
GROUP_SHARE = 0.15  # of the UNet's weights, on the card at once with group offload


def plan_gib(plan: Plan, *, unet_gib: float, vae_gib: float, area: float, window: int) -> float:
    """Estimated peak memory of a plan in GiB.

    unet_gib, vae_gib: of the weights;  area: of a frame, 1 = 512 x 512 px;  window: in frames
    """
    denoise = plan.batch * WINDOW_GIB * area * window / 16
    decode = plan.decode_frames * FRAME_GIB * area
    if plan.offload == "none":
        return unet_gib + vae_gib + max(denoise, decode) + SPARE_GIB
    resident = unet_gib * (GROUP_SHARE if plan.offload == "groups" else 1.0)
    return max(resident + denoise, vae_gib + decode) + SPARE_GIB


def fitting_plans(limit_gib: float, **model: Any) -> list[Plan]:
    """The plans within a limit, largest first, and the smallest in any case (see `plan_gib`)."""
    fitting = [plan for plan in PLANS if plan_gib(plan, **model) <= limit_gib]
    return fitting or [PLANS[-1]]


def free_gib(device: torch.device) -> float:
    """Free memory of a CUDA device in GiB."""
    import torch

    return torch.cuda.mem_get_info(device)[0] / GIB


def weights_gib(network: torch.nn.Module) -> float:
    """Size of a network's weights in GiB."""
    return sum(p.numel() * p.element_size() for p in network.parameters()) / GIB


def place(
    unet: torch.nn.Module, vae: torch.nn.Module | None, device: torch.device, plan: Plan
) -> None:
    """Bring the networks to the device as a plan says; may be called again with another plan."""
    import torch
    from accelerate.hooks import remove_hook_from_module

    networks = [network for network in (unet, vae) if network is not None]
    for network in networks:
        remove_hook_from_module(network)
    if plan.offload == "none" or vae is None:
        for network in networks:
            network.to(device)
        return
    for network in networks:
        network.to("cpu")
    if plan.offload == "groups":
        from diffusers.hooks.group_offloading import apply_group_offloading

        apply_group_offloading(
            unet,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
        )
        _offloaded([vae], device)
    else:
        _offloaded(networks, device)


def _offloaded(networks: list[torch.nn.Module], device: torch.device) -> None:
    """Each network comes to the device when it is called and sends the others away."""
    from accelerate import cpu_offload_with_hook

    hooks = [cpu_offload_with_hook(network, device)[1] for network in networks]
    for hook, other in zip(hooks, hooks[1:] + hooks[:1], strict=True):
        if other is not hook:
            hook.hook.prev_module_hook = other
