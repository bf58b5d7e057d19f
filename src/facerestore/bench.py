"""How fast: the model alone, and every stage of a film around it."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.frames import FaceClip, Reference, Tasks

if TYPE_CHECKING:
    from facerestore.models.restorer import Restorer

CLIP_WINDOWS = 3
KIB, MIB = 2**10, 2**20


def measure(
    film: Path | None, *, model: str | None, device: str, steps: int | None
) -> dict[str, Any]:
    """Speeds of an installed model; without a film only the model is timed.

    model_face_frames_per_second counts restored frames of one face, overlap of windows included.
    The film is read, followed, cut, pasted and encoded with a restorer that returns its input, so
    that `other_ms_per_frame` is the cost of everything but the model.
    """
    from facerestore.options import RestoreOptions, load_tools

    options = RestoreOptions(model=model, device=device, steps=steps, overwrite=True)
    tools = load_tools(options)
    facts: dict[str, Any] = {"model": tools.model["name"]} | time_model(tools.restorer)
    if film is not None:
        facts |= time_film(film, options, tools.restorer.size)
    return facts | peaks()


def time_model(restorer: Restorer) -> dict[str, Any]:
    """Restored frames of one face per second, on noise: the speed does not depend on the face."""
    count = restorer.window * CLIP_WINDOWS
    clip = noise_clip(count, restorer.size)
    restorer.restore(clip, Tasks(bfr=True), None, seed=0)  # the first run warms up
    cost, begin = restorer.cost, time.perf_counter()
    restorer.restore(clip, Tasks(bfr=True), None, seed=0)
    seconds = time.perf_counter() - begin
    forwards = restorer.cost - cost
    return {
        "model_face_frames_per_second": round(count / seconds, 2),
        "frame_forwards_per_frame": round(forwards / count, 2),
        "frame_forwards_per_second": round(forwards / seconds, 2),
    }


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


def time_film(film: Path, options: Any, size: int) -> dict[str, Any]:
    """Milliseconds per frame of everything but the model, against the film's own speed."""
    from facerestore.faces.detect import load_detector
    from facerestore.options import Tools
    from facerestore.restore import restore
    from facerestore.video.reader import open_video

    info = open_video(film).info
    tools = Tools(Unchanged(size), load_detector("centerface"), None, {"name": "none"})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"bench{film.suffix}"
        result = restore(film, target, options, tools=lambda: tools)
    other = (result.seconds["total"] - result.seconds["model"]) / result.frames
    looking = result.seconds["looking"] / result.frames
    return {
        "film": f"{info.width}x{info.height} {float(info.rate):g} fps, {result.frames} frames",
        "detector": tools.detector.name,
        "looking_ms_per_frame": round(1000 * looking, 2),
        "other_ms_per_frame": round(1000 * other, 2),
        "times_real_time": round(1 / (other * float(info.rate)), 2),
    }


class Unchanged:
    """A restorer that returns what it is given: for timing and for tests of the whole line."""

    def __init__(self, size: int = 256, window: int = 8) -> None:
        self.size, self.window, self.chunk, self.cost = size, window, 128, 0
        self.lanes, self.has_identity = 1, False
        self.notes: list[str] = []

    def forwards(self, n_frames: int) -> int:
        """None at all."""
        return 0

    def vectors(self, pictures: Any, landmarks: Any) -> None:
        """It knows nobody."""

    def restore(self, clip: FaceClip, tasks: Tasks, reference: Reference | None, **how: Any) -> Any:
        """The clip's frames as they are."""
        return clip.frames.copy()
