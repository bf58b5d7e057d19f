"""Films with a real face made on the spot, and the shared clips and weights where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("FACERESTORE_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_clips() -> list[Path]:
    clips = sorted((SHARED / "clips").glob("*.mp4"))
    if not clips:
        pytest.skip(f"no real clips in {SHARED / 'clips'}; set FACERESTORE_SHARED")
    return clips


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"no weights in {SHARED / 'weights'}; set FACERESTORE_SHARED")
    return SHARED / "weights"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty weights folder, and no downloads."""
    monkeypatch.setenv("FACERESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("FACERESTORE_OFFLINE", "1")
    return tmp_path


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A real face, its eyes at (203, 101) and (247, 104): scikit-image's astronaut, BGR."""
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture(scope="session")
def centerface():
    from facerestore.faces.detect import load_detector

    return load_detector("centerface")


def _read(path: Path, *, step: int = 1, most: int = 1000) -> Iterator[np.ndarray]:
    """Every `step`-th frame as BGR, at most `most` of them."""
    with av.open(path) as film:
        for index, frame in enumerate(film.decode(video=0)):
            if index >= step * most:
                return
            if index % step == 0:
                yield frame.to_ndarray(format="bgr24")


def _placed(portrait: np.ndarray, x: float, y: float, *, size=(480, 640), zoom=1.0) -> np.ndarray:
    """The portrait's head on a textured wall, moved by (x, y) and zoomed, sub-pixel exact."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    wall = (np.sin(columns / 9) * np.cos(rows / 7) * 30 + 110).astype(np.uint8)
    wall = np.repeat(wall[..., None], 3, axis=2)
    move = np.array([[zoom, 0, x], [0, zoom, y]])
    head = portrait[:260, 90:360]
    options = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT}
    there = cv2.warpAffine(np.ones(head.shape[:2], np.float32), move, size[::-1], **options)
    moved = cv2.warpAffine(head, move, size[::-1], **options)
    return np.where(there[..., None] > 0.99, moved, wall)


def _grey(bgr: np.ndarray, scale: float) -> np.ndarray:
    """The small grey picture the tracker takes."""
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)


@pytest.fixture(scope="session")
def read():
    return _read


@pytest.fixture(scope="session")
def placed():
    return _placed


@pytest.fixture(scope="session")
def grey():
    return _grey
