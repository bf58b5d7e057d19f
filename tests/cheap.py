"""A cheap restorer and detector for tests of everything around them, also in a process of its own.

python tests/cheap.py IN OUT [PROFILE [SECONDS_PER_CALL]]
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from facerestore.attempt import attempt
from facerestore.batch import run_batch
from facerestore.bench import Unchanged
from facerestore.console import choose_reporter
from facerestore.faces.detect import Detector, Found
from facerestore.films import find_jobs
from facerestore.options import RestoreOptions, Tools
from facerestore.restore import restore

LARGE = 90  # px of the squares of faces that get larger crops; in films of 192 x 144 the left ones


class Marks(Unchanged):
    """Its answer depends on the whole clip, the reference, the seed and nothing else.

    calls: clips restored so far;  stop_at: the call that raises `error`
    """

    def __init__(self, *, seconds=0.0, stop_at=None, error=KeyboardInterrupt):
        super().__init__(32, 4)
        self.chunk, self.calls, self.seconds = 12, 0, seconds
        self.stop_at, self.error = stop_at, error
        self.has_identity = True

    def side(self, tasks, face):
        return 48 if face > LARGE else 32

    def restore(self, clip, tasks, reference, *, seed, on_step=lambda: None):
        self.calls += 1
        self.cost += len(clip)
        time.sleep(self.seconds)
        if self.calls == self.stop_at:
            raise self.error
        tint = 0 if reference is None else int(reference.image.mean())
        place = np.arange(len(clip))[:, None, None, None] * 7
        on_step()
        return ((255 - clip.frames.astype(int) + tint + place + len(clip) + seed) % 256).astype(
            np.uint8
        )

    def vectors(self, pictures, landmarks):
        flat = pictures.reshape(len(pictures), -1).astype(float)[:, ::97] + 1
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def two_faces(picture):
    """One face left of the middle; a smaller one right of it where the picture is dark there."""
    height, width = picture.shape[:2]
    scale = min(height, width)
    faces = [(0.25, 0.22)]
    faces += [(0.75, 0.16)] if picture[:, width * 3 // 4 :].mean() < 110 else []
    boxes, points = [], []
    for middle, radius in faces:
        x, y, r = middle * width, height / 2, scale * radius
        boxes.append([x - r, y - r, x + r, y + r])
        points.append(
            [[x + dx * r, y + dy * r] for dx, dy in ((-0.4, -0.3), (0.4, -0.3), (0, 0.1),
                                                    (-0.3, 0.5), (0.3, 0.5))]
        )  # fmt: skip
    return Found(np.array(boxes), np.array(points), np.full(len(boxes), 0.9))


def cheap_tools(**how):
    detector = Detector("fixed", "0" * 64, two_faces, "1")
    return Tools(Marks(**how), detector, None, {"name": "marks", "version": "1", "sha256": {}})


def film_of(path, *, frames=60, size=(192, 144), seed=0, still=False):
    """Write a small film with a face for `two_faces`; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = np.random.default_rng(seed).integers(60, 200, (*size[::-1], 3), np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            picture = np.ascontiguousarray(np.roll(base, 0 if still else number % 4, axis=1))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def cheap(options, restorer_from=None):
    """As `load_tools`, for a process that loads its tools itself; some widths are hostile."""
    tools = cheap_tools()
    if restorer_from is not None:
        restorer, model, why = restorer_from(options)
        tools = replace(tools, restorer=restorer, model=model, why=why)

    def hostile(picture):
        height, width = picture.shape[:2]
        if width > 1.7 * height:  # crashes
            os.kill(os.getpid(), signal.SIGSEGV)
        if height > 1.7 * width:  # hangs
            time.sleep(1000)
        if height > 1.1 * width:  # takes memory without end
            heap = []
            while True:
                heap.append(bytearray(os.urandom(1 << 20) * 50))
        return two_faces(picture)

    return replace(tools, detector=replace(tools.detector, find=hostile))


def batch(folder, output, seconds):
    tools = cheap_tools(seconds=float(seconds))
    jobs = find_jobs([Path(folder)], Path(output))
    reporter = choose_reporter(as_json=False, quiet=True)

    def one(job):
        return attempt(job, RestoreOptions(profile="archive"), lambda: tools, reporter)

    sys.exit(run_batch(jobs, one, reporter, report=Path(f"{output}.{os.getpid()}.json")))


if __name__ == "__main__":
    if sys.argv[3:4] == ["batch"]:
        batch(sys.argv[1], sys.argv[2], (*sys.argv[4:], "0.0")[0])
    source, output, profile, seconds = (*sys.argv[1:], *("archive", "0.0")[len(sys.argv) - 3 :])
    tools = cheap_tools(seconds=float(seconds))
    restore(
        Path(source),
        Path(output),
        RestoreOptions(profile=profile, identity_guard="blend"),
        tools=lambda: tools,
        say=print,
    )
