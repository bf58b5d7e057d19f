"""Recorded numbers, and tiny models of the released layout."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def recorded() -> Path:
    folder = Path(os.environ.get("FACERESTORE_SHARED", ROOT.parent / "shared")) / "parity"
    if not folder.is_dir():
        pytest.skip(f"no recorded numbers in {folder}; set FACERESTORE_SHARED")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A model folder of the released layout, 64 px and 32 channels wide, with random weights."""
    import torch

    from facerestore.models.convert import RELEASED, random_networks
    from facerestore.models.weights import save_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = replace(RELEASED, name="tiny", size=64, window=4, overlap=1, steps=2, first_steps=3)
    save_model(folder, random_networks(64, dtype=torch.float32), config)
    return folder
