"""Films, pictures and configurations for the folder in which the documentation is followed."""

from __future__ import annotations

import shutil
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "old_clip.mp4"
FRAMES = 8

# Trains in seconds, from nothing; the shipped configurations are tried in tests/training.
TINY = """
[data]
train = ["train-*.tar"]
validation = ["val-*.tar"]
workers = 0
mixes = { bfr = 1 }
[network]
start = "START"
widths = [32, 32]
[model]
name = "tiny"
version = "0"
tasks = ["bfr", "color", "inpaint"]
size = 64
window = 2
overlap = 1
codec = "patch4"
residual = true
latent_scale = 2.5
sigma_min = 2.0
sigma_max = 100.0
steps = 1
tokens = [1, 32]
licence = "none"
[optimizer]
rate = 1e-3
[saving]
clips = 1
frames = 2
[losses]
ulr = 0.0
prior = 0.0
[[stages]]
until = 3
size = 32
frames = 1
batch = 2
"""

SHORT_EXAMPLE = """
import sys
sys.path.insert(0, "examples")
import make_example
make_example.FRAMES, make_example.HERE = 8, make_example.Path("made")
make_example.HERE.mkdir(exist_ok=True)
make_example.main()
"""


def pictures():
    """The first frames of the example, uint8 RGB."""
    with av.open(str(EXAMPLE)) as film:
        return [f.to_ndarray(format="rgb24") for f in islice(film.decode(video=0), FRAMES)]


def write_film(path, frames, *, audio=False):
    """An H.264 film of pictures, 25 a second; with `audio` also a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        sound = out.add_stream("aac", rate=44100, layout="mono") if audio else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            tone = np.sin(np.arange(1024)[None] / 20).astype(np.float32) / 9
            frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            frame.sample_rate = 44100
            out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def write_configurations(folder):
    """Tiny ones, and a model folder that the student learns from."""
    from facerestore.models.checkpoint import BUNDLED

    (folder / "configs").mkdir()
    shutil.copytree(BUNDLED, folder / "src" / "facerestore" / "assets" / "mini")
    for name in ("configs/short.toml", "mine.toml"):
        (folder / name).write_text(TINY.replace("START", "fresh"))
    (folder / "student.toml").write_text(TINY.replace("START", "runs/mine/model"))


def write_picture(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
