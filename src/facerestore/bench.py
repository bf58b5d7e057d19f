"""How fast: the model alone, and every stage of a film around it."""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import UsageError
from facerestore.frames import BLIND, TASK_NAMES, FaceClip, Reference, Tasks
from facerestore.models.checkpoint import SIZE_STEPS, models_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from facerestore.models.restorer import Restorer
    from facerestore.models.svfr import SVFR

CLIP_WINDOWS = 3
WIDTH_STEP = 64  # channels of one attention head
CEILING_SIDE = 4096  # of the matrices whose product shows what a card can do; half on a CPU
KIB, MIB = 2**10, 2**20


@dataclass(frozen=True)
class Bench:
    """What is measured, and how.

    model:  as for `restore`; where svfr is not installed its random weights are timed
    width:  channels of the UNet's first level where weights are random, 320 = the released model
    size:   px of its crops;  frames: of the clip that `bench_released` counts with
    """

    model: str | None = None
    device: str = "auto"
    steps: int | None = None
    mode: str = "exact"
    width: int = 320
    size: int = 512
    frames: int = 64
    max_vram: float | None = None


def measure(film: Path | None, wish: Bench) -> dict[str, Any]:
    """Speeds of a model; without a film only the model is timed.

    model_face_frames_per_second counts restored frames of one face, overlap of windows included.
    The film is read, followed, cut, pasted and encoded with a restorer that returns its input, so
    that `other_ms_per_frame` is the cost of everything but the model.
    """
    from facerestore.models.load import load_named

    facts: dict[str, Any]
    if wish.model == "svfr" and not (models_folder() / "svfr").is_dir():
        restorer, _ = random_model(
            width=wish.width,
            size=wish.size,
            device=wish.device,
            max_vram=wish.max_vram,
            mode=wish.mode,
            steps=wish.steps,
        )
        facts = {"model": f"svfr, random weights, {wish.width} channels, {wish.size} px"}
    else:
        how = {"device": wish.device, "mode": wish.mode, "steps": wish.steps}
        loaded = load_named(wish.model, BLIND, max_vram=wish.max_vram, **how)
        restorer, facts = loaded.restorer, {"model": loaded.facts["name"]}
    facts |= time_model(restorer)
    if film is not None:
        facts |= time_film(film, restorer.side(BLIND, 0.0))
    return facts | peaks()


def random_model(
    *,
    width: int,
    size: int,
    device: str,
    max_vram: float | None,
    mode: str = "exact",
    steps: int | None = None,
) -> tuple[SVFR, dict[str, torch.nn.Module]]:
    """The released layout with random weights, and its networks by kind."""
    import torch

    from facerestore.models.convert import RELEASED, random_networks
    from facerestore.models.device import choose_device, choose_dtype
    from facerestore.models.load import assemble, weights_stay_float32

    if size % SIZE_STEPS["vae"] or width % WIDTH_STEP or width < WIDTH_STEP:
        raise UsageError(f"size {size} and width {width} must be multiples of 64")
    where = choose_device(device)
    dtype, config = choose_dtype(where), replace(RELEASED, size=size)
    stored = torch.float32 if weights_stay_float32(config, where) else dtype
    networks = random_networks(width, dtype=stored)
    how = {"mode": mode, "steps": steps, "max_vram": max_vram}
    return assemble(config, networks, device=where, dtype=dtype, **how), networks


def time_model(restorer: Restorer) -> dict[str, Any]:
    """Restored frames of one face per second, on noise: the speed does not depend on the face."""
    from torch.utils.flop_counter import FlopCounterMode

    count = restorer.window * CLIP_WINDOWS
    clip = noise_clip(count, restorer.side(BLIND, 0.0))
    with FlopCounterMode(display=False) as counter:  # the first run warms up
        restorer.restore(clip, BLIND, None, seed=0)
    cost, begin = restorer.cost, time.perf_counter()
    restorer.restore(clip, BLIND, None, seed=0)
    seconds = time.perf_counter() - begin
    forwards = restorer.cost - cost
    return {
        "model_face_frames_per_second": round(count / seconds, 2),
        "frame_forwards_per_frame": round(forwards / count, 2),
        "frame_forwards_per_second": round(forwards / seconds, 2),
        **_achieved(restorer, counter.get_total_flops() / seconds / 1e12),
    }


def _achieved(restorer: Restorer, tflops: float) -> dict[str, float]:
    """Operations a second against what a matrix product reaches, where the model is in here."""
    device, dtype = getattr(restorer, "device", None), getattr(restorer, "dtype", None)
    if device is None or dtype is None:
        return {}  # in other processes
    ceiling = matrix_tflops(device, dtype)
    return {"tflops": round(tflops, 4), "measured_ceiling_tflops": round(ceiling, 3)}


def noise_clip(count: int, size: int) -> FaceClip:
    """A clip of noise."""
    rng = np.random.default_rng(0)
    return FaceClip(rng.integers(0, 256, (count, size, size, 3), np.uint8), 0)


def peaks() -> dict[str, Any]:
    """Peak memory of this process and, on a card, of the card."""
    import torch

    facts = {"peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // KIB}
    if torch.cuda.is_available():
        facts["peak_vram_mib"] = torch.cuda.max_memory_allocated() // MIB
    return facts


def time_film(film: Path, size: int) -> dict[str, Any]:
    """Milliseconds per frame of everything but the model, against the film's own speed."""
    from facerestore.faces.detect import load_detector
    from facerestore.options import RestoreOptions, Tools
    from facerestore.restore import restore
    from facerestore.video.reader import open_video

    info = open_video(film).info
    tools = Tools(Unchanged(size), load_detector("centerface"), None, {"name": "none"})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"bench{film.suffix}"
        result = restore(film, target, RestoreOptions(), tools=lambda: tools)
    other = (result.seconds["total"] - result.seconds["model"]) / result.frames
    looking = result.seconds["looking"] / result.frames
    return {
        "film": f"{info.width}x{info.height} {float(info.rate):g} fps, {result.frames} frames",
        "detector": tools.detector.name,
        "looking_ms_per_frame": round(1000 * looking, 2),
        "other_ms_per_frame": round(1000 * other, 2),
        "times_real_time": round(1 / (other * float(info.rate)), 2),
    }


def best_seconds(job: Callable[[], Any], device: torch.device, runs: int = 2) -> float:
    """The shortest of some runs, the device's queue emptied before and after."""
    import torch

    times = []
    for _ in range(runs):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times)


def matrix_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """What the device reaches on a large matrix product, TFLOP/s."""
    import torch

    side = CEILING_SIDE if device.type == "cuda" else CEILING_SIDE // 2
    matrix = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / best_seconds(lambda: matrix @ matrix, device, runs=5) / 1e12


class Unchanged:
    """A restorer that returns what it is given: for timing and for tests of the whole line."""

    def __init__(self, size: int = 256, window: int = 8) -> None:
        self.size, self.window, self.chunk, self.cost = size, window, 128, 0
        self.lanes, self.has_identity = 1, False
        self.self_reference: tuple[str, ...] = TASK_NAMES
        self.notes: list[str] = []

    def close(self) -> None:
        """It holds nothing."""

    def side(self, tasks: Tasks, face: float) -> int:
        """The same for all."""
        return self.size

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """None at all."""
        return 0

    def vectors(self, pictures: Any, landmarks: Any) -> None:
        """It knows nobody."""

    def restore(self, clip: FaceClip, tasks: Tasks, reference: Reference | None, **how: Any) -> Any:
        """The clip's frames as they are."""
        return clip.frames.copy()
