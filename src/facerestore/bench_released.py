"""The released code's schedule in stock diffusers modules against ours, in one process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from facerestore.bench import Bench, best_seconds, matrix_tflops, peaks, random_model

if TYPE_CHECKING:
    from facerestore.models.sampling import Schedule
    from facerestore.models.svfr import SVFR

BATCHES = (1, 2, 4)  # windows together that `exact_wins` tries
MODES = ("released", "exact", "fast")
RELEASED_BATCH = 2  # the released code sends both guidance branches of one window together


def bench_released(wish: Bench) -> dict[str, Any]:
    """The released schedule in stock diffusers modules against ours, in this process.

    The weights are random: the speed does not depend on them. One call of the network is timed for
    each kind of call that a schedule makes, and the schedule's sum is taken, so that 256 frames on
    a CPU need minutes, not days. Encoding and decoding are timed on one window.
    """
    svfr, networks = random_model(
        width=wish.width, size=wish.size, device=wish.device, max_vram=wish.max_vram
    )
    ceiling = matrix_tflops(svfr.device, svfr.dtype)
    facts: dict[str, Any] = {
        "device": str(svfr.device),
        "dtype": str(svfr.dtype).removeprefix("torch."),
        "unet_parameters": sum(p.numel() for p in networks["unet"].parameters()),
        "size": wish.size,
        "frames": wish.frames,
        "plan": svfr.plan.name,
        "measured_ceiling_tflops": round(ceiling, 3),
    }
    rows = {}
    for mode in MODES:
        rows[mode] = time_mode(svfr, networks, mode, wish.frames, ceiling)
    facts["modes"] = [{"mode": mode, **row} for mode, row in rows.items()]
    facts["times_faster_than_released"] = {
        mode: round(rows["released"]["seconds"] / rows[mode]["seconds"], 2) for mode in MODES[1:]
    }
    facts["exact_wins"] = exact_wins(svfr, networks)
    return facts | peaks()


def exact_wins(svfr: SVFR, networks: dict[str, Any]) -> list[dict[str, Any]]:
    """What each saving that changes no number brings, for one window (two branches) of one step."""
    from facerestore.models.network import flatten_time_convolutions, hoisted, plain

    unet, window = flatten_time_convolutions(networks["unet"]), svfr.window
    svfr.network = plain(unet, tokens_shape=svfr.config.tokens)
    both, one = time_call(svfr, 2, window, 1).seconds, time_call(svfr, 1, window, 1).seconds
    svfr.network = hoisted(unet)
    once = time_call(svfr, 2, window, 0).seconds
    constant = time_call(svfr, 2, window, 1).seconds
    batches = {n: time_call(svfr, 2 * n, window, n).seconds / n for n in BATCHES}
    best = min(batches, key=lambda n: batches[n])
    encode = codec_seconds(svfr)["encode"] * window
    rows = {
        "one branch without a reference": (both, one),
        "tokens projected once a clip": (both, once),
        "no attention to zero tokens": (once, constant),
        f"windows batched, {best} at a time": (batches[1], batches[best]),
        "first window not encoded again": (encode, 0.0),
    }
    return [
        {"win": name, "seconds_without": round(a, 4), "seconds_with": round(b, 4)}
        for name, (a, b) in rows.items()
    ]


def time_mode(
    svfr: SVFR, networks: dict[str, Any], mode: str, n_frames: int, ceiling: float
) -> dict[str, Any]:
    """Seconds for one clip of a new person: the first window, then all frames with a reference."""
    from facerestore.models.network import flatten_time_convolutions, hoisted, plain, stock
    from facerestore.models.sampling import schedule_for

    unet, tokens = networks["unet"], svfr.config.tokens
    if mode == "released":
        svfr.network = plain(stock(unet), tokens_shape=tokens)
        calls = released_calls(svfr, n_frames)
    else:
        svfr.network = hoisted(flatten_time_convolutions(unet))
        how = partial(schedule_for, svfr.config, mode=mode, steps=None)
        calls = own_calls(how(reference=False), min(n_frames, svfr.window), False, svfr.plan.batch)
        calls += own_calls(how(reference=True), n_frames, True, svfr.plan.batch)
    kinds = {call: time_call(svfr, *call) for call in set(calls)}
    denoising = sum(kinds[call].seconds for call in calls)
    codec = codec_seconds(svfr)
    encodes = n_frames + (svfr.window if mode == "released" else 0)  # the first window again
    decodes = n_frames + svfr.window
    seconds = denoising + encodes * codec["encode"] + decodes * codec["decode"]
    work = sum(kinds[call].flops for call in calls)
    forwards = sum(batch * frames for batch, frames, _ in calls)
    return {
        "seconds": round(seconds, 3),
        "seconds_per_frame": round(seconds / n_frames, 4),
        "frame_forwards_per_frame": round(forwards / n_frames, 2),
        "unet_tflops": round(work / denoising / 1e12, 4),
        "share_of_ceiling": round(work / denoising / 1e12 / ceiling, 3),
        "unet_seconds": round(denoising, 3),
        "encode_seconds": round(encodes * codec["encode"], 3),
        "decode_seconds": round(decodes * codec["decode"], 3),
    }


Call = tuple[int, int, int]  # batch, frames, how many of the batch are without a reference


@dataclass(frozen=True)
class Cost:
    """Of one call of the network."""

    seconds: float
    flops: float


def released_calls(svfr: SVFR, n_frames: int) -> list[Call]:
    """The network calls of the released code, two branches each, windows that wrap around."""
    from facerestore.models.windows import released_windows

    sizes = {"window": svfr.window, "overlap": svfr.config.overlap}
    first, rest = svfr.config.first_steps or svfr.config.steps, svfr.config.steps
    windows = [released_windows(svfr.window, step=s, **sizes) for s in range(first)]
    windows += [released_windows(n_frames, step=s, **sizes) for s in range(rest)]
    return [(RELEASED_BATCH, svfr.window, 1) for step in windows for _ in step]


def own_calls(schedule: Schedule, n_frames: int, reference: bool, batch: int) -> list[Call]:
    """The network calls of a schedule, as `SVFR.predict` groups them."""
    calls: list[Call] = []
    for step, guidance in enumerate(schedule.guidance):
        branches = [True, False] if reference and guidance != 1 else [not reference]
        windows = schedule.windows(n_frames, step)
        for length in {len(frames) for frames in windows}:
            count = sum(len(frames) == length for frames in windows)
            jobs = [blank for blank in branches for _ in range(count)]
            for start in range(0, len(jobs), batch):
                part = jobs[start : start + batch]
                calls.append((len(part), length, sum(part)))
    return calls


def time_call(svfr: SVFR, batch: int, frames: int, blank: int) -> Cost:
    """Seconds (the better of two runs after one for warming up) and floating-point operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    side, channels = svfr.config.size // 8, 4
    like = {"device": svfr.device, "dtype": torch.float32 if svfr.autocast else svfr.dtype}
    sample = torch.randn(batch, frames, 3 * channels, side, side, **like)
    tokens = torch.randn(1, *svfr.config.tokens, **like) if blank < batch else None
    noise, gamma = torch.tensor(0.5, device=svfr.device), torch.ones(batch, 3, device=svfr.device)

    def run() -> None:
        mixed = svfr.autocast and svfr.dtype.itemsize == 2
        with (
            torch.inference_mode(),
            torch.autocast(svfr.device.type, svfr.dtype, enabled=mixed),
        ):
            svfr.network(sample, noise, tokens, blank, gamma)

    with FlopCounterMode(display=False) as counter:
        run()
    return Cost(best_seconds(run, svfr.device), float(counter.get_total_flops()))


def codec_seconds(svfr: SVFR) -> dict[str, float]:
    """Seconds to encode and to decode one frame, within a window."""
    import torch

    pixels = torch.zeros(svfr.window, 3, svfr.config.size, svfr.config.size, device=svfr.device)
    with torch.inference_mode():
        latents = svfr.codec.encode(pixels)
        together = svfr.plan.decode_frames

        def decode() -> None:
            svfr.codec.decode(latents, together=together)

        return {
            "encode": best_seconds(lambda: svfr.codec.encode(pixels), svfr.device) / svfr.window,
            "decode": best_seconds(decode, svfr.device) / svfr.window,
        }
