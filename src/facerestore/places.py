"""Names of what stands beside an output: its record, its page, its work folder while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIDECAR = ".facerestore.json"
WORK = ".facerestore"
PAGE = ".report.html"


def sidecar_path(output: Path) -> Path:
    """`film.mp4` -> `film.mp4.facerestore.json`, beside it."""
    return output.with_name(output.name + SIDECAR)


def work_folder(output: Path) -> Path:
    """`film.mp4` -> `.film.mp4.facerestore`, beside it."""
    return output.with_name(f".{output.name}{WORK}")


def page_path(output: Path) -> Path:
    """`film.mp4` -> `film.mp4.report.html`, beside it."""
    return output.with_name(output.name + PAGE)
