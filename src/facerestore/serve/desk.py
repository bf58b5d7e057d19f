"""What all requests work with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import Request

    from facerestore.serve.helper import Helper
    from facerestore.serve.jobs import Queue


@dataclass(frozen=True)
class Desk:
    """What the requests work with.

    root, scratch: the served folder, and the hidden one in it
    looker: answers soon;  cutter: makes copies to play, which takes longer
    """

    root: Path
    scratch: Path
    looker: Helper
    cutter: Helper
    queue: Queue

    def sentence(self, text: str) -> str:
        """A message without the folder's own path."""
        return text.replace(f"{self.root}{os.sep}", "")


def desk_of(request: Request) -> Desk:
    """The desk of the application that a request came to."""
    return request.app.state.desk
