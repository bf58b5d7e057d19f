"""Recorded numbers, and tiny models of the released layout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def recorded() -> Path:
    folder = Path(os.environ.get("FACERESTORE_SHARED", ROOT.parent / "shared")) / "parity"
    if not folder.is_dir():
        pytest.skip(f"no recorded numbers in {folder}; set FACERESTORE_SHARED")
    return folder
