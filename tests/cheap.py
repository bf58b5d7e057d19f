"""A cheap restorer and detector for tests of everything around them, also in a process of its own.

python tests/cheap.py IN OUT [PROFILE [SECONDS_PER_CALL]]
"""

import sys
import time
from pathlib import Path

import numpy as np

from facerestore.bench import Unchanged
from facerestore.faces.detect import Detector, Found
from facerestore.options import RestoreOptions, Tools
from facerestore.restore import restore


class Marks(Unchanged):
    """Its answer depends on the whole clip, the reference, the seed and nothing else.

    calls: clips restored so far;  stop_at: the call that raises `error`
    """

    def __init__(self, *, seconds=0.0, stop_at=None, error=KeyboardInterrupt):
        super().__init__(32, 4)
        self.chunk, self.calls, self.seconds = 12, 0, seconds
        self.stop_at, self.error = stop_at, error
        self.has_identity = True

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
    """One face left of the middle; another right of it where the picture is dark there."""
    height, width = picture.shape[:2]
    scale = min(height, width)
    middles = [0.25] + ([0.75] if picture[:, width * 3 // 4 :].mean() < 110 else [])
    boxes, points = [], []
    for middle in middles:
        x, y, r = middle * width, height / 2, scale * 0.22
        boxes.append([x - r, y - r, x + r, y + r])
        points.append(
            [[x + dx * r, y + dy * r] for dx, dy in ((-0.4, -0.3), (0.4, -0.3), (0, 0.1),
                                                    (-0.3, 0.5), (0.3, 0.5))]
        )  # fmt: skip
    return Found(np.array(boxes), np.array(points), np.full(len(boxes), 0.9))


def cheap_tools(**how):
    detector = Detector("fixed", "0" * 64, two_faces, "1")
    return Tools(Marks(**how), detector, None, {"name": "marks", "version": "1", "sha256": {}})


if __name__ == "__main__":
    source, output, profile, seconds = (*sys.argv[1:], *("archive", "0.0")[len(sys.argv) - 3 :])
    tools = cheap_tools(seconds=float(seconds))
    restore(
        Path(source),
        Path(output),
        RestoreOptions(profile=profile, identity_guard="blend"),
        tools=lambda: tools,
        say=print,
    )
