"""The folder of a user who follows the documentation: all names that it mentions, but small."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from making import (
    ROOT,
    SHORT_EXAMPLE,
    pictures,
    write_configurations,
    write_film,
    write_picture,
)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The folder as it is before a page is followed."""
    folder = tmp_path_factory.mktemp("prepared")
    good = pictures()
    grey = [np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for p in good]
    film = write_film(folder / "film.mp4", good, audio=True)
    write_film(folder / "old.mp4", [cv2.GaussianBlur(p, (0, 0), 2) for p in grey])
    for name in (
        "clean.mp4",
        "ARCHIVE/a.mp4",
        "ARCHIVE/tapes/b.mp4",
        "FILMS/good.mp4",
        "spoilt/a.mp4",
        "restored/a.mp4",
        "clean/a.mp4",
        "DATA/truth/a.mp4",
        "DATA/other/bfr/a.mp4",
        "examples/old_clip.mp4",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, folder / name)
    mask = ROOT / "examples" / "old_clip_mask.png"
    for name in ("mask.png", "examples/old_clip_mask.png"):
        shutil.copy(mask, folder / name)
    shutil.copy(ROOT / "examples" / "make_example.py", folder / "examples")
    (folder / "short_example.py").write_text(SHORT_EXAMPLE)
    write_picture(folder / "photo.jpg", good[0])
    for number, name in enumerate(("0", "1", "2", "26")):  # the last is held out, by its hash
        write_picture(folder / "PICTURES" / f"{name}.png", good[number])
    with tarfile.open(folder / "portraits.tar", "w") as tar:
        tar.add(folder / "PICTURES" / "0.png", "more.png")
    write_configurations(folder)
    return folder


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch):
    """A fresh copy of the prepared folder, and the current one; no models but the bundled."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    monkeypatch.chdir(home)
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    yield home
    torch.set_num_threads(threads)
