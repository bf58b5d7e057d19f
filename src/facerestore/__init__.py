"""facerestore: restore the faces in a film and leave everything else untouched."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facerestore.evaluation.evaluate import evaluate
    from facerestore.evaluation.scores import Scores
    from facerestore.frames import Tasks
    from facerestore.options import RestoreOptions
    from facerestore.report.report import compare
    from facerestore.restore import Result, restore

__version__ = version("facerestore")
__all__ = [
    "RestoreOptions",
    "Result",
    "Scores",
    "Tasks",
    "__version__",
    "compare",
    "evaluate",
    "restore",
]

_HOME = {
    "RestoreOptions": "facerestore.options",
    "Result": "facerestore.restore",
    "Scores": "facerestore.evaluation.scores",
    "Tasks": "facerestore.frames",
    "compare": "facerestore.report.report",
    "evaluate": "facerestore.evaluation.evaluate",
    "restore": "facerestore.restore",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package stays instant."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'facerestore' has no attribute '{name}'")


class _Package(ModuleType):
    """This package. `facerestore.restore` is the function, not the module of the same name, which
    Python would put in its place as soon as anything imports it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
