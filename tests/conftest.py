"""What the tests share: the shipped example, films made of it, outside data, a browser."""

from __future__ import annotations

import os
import shutil
import signal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "old_clip.mp4"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SHARED = Path(os.environ.get("FACERESTORE_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def example() -> Path:
    return EXAMPLE


@pytest.fixture
def hearing_ctrl_c() -> Callable[[], object]:
    """For a process to be started: jobs in the background ignore it, and so would theirs."""
    return partial(signal.signal, signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def clips() -> Path:
    if not (SHARED / "clips").is_dir():
        pytest.skip(f"no real clips at {SHARED / 'clips'}; set FACERESTORE_SHARED")
    return SHARED / "clips"


@pytest.fixture(scope="session")
def example_pictures() -> list[np.ndarray]:
    """The first 16 frames of the example, uint8 RGB."""
    with av.open(str(EXAMPLE)) as film:
        frames = film.decode(video=0)
        return [next(frames).to_ndarray(format="rgb24") for _ in range(16)]


@pytest.fixture
def make_film(tmp_path, example_pictures):
    """A function that writes the example's frames as another kind of film."""

    def make(name="film.mkv", *, pix_fmt="yuv420p", size=(640, 360), count=12, pictures=None):
        path = tmp_path / name
        with av.open(str(path), "w") as out:
            stream = out.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.codec_context.time_base = Fraction(1, 1000)
            for number, picture in enumerate((pictures or example_pictures)[:count]):
                rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame = rgb.reformat(*size, format=pix_fmt)
                frame.pts, frame.time_base = number * 40, Fraction(1, 1000)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; install it, as in: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'facerestore[dev]'")
    with sync.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
