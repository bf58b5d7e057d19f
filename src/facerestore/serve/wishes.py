"""From what the page asks for to options of `restore`; nothing in it can name a file elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facerestore.errors import UsageError
from facerestore.frames import Tasks
from facerestore.models.zoo import installed
from facerestore.options import RestoreOptions
from facerestore.serve.folder import PICTURES, film_inside, inside

if TYPE_CHECKING:
    from pathlib import Path

PREVIEW_SECONDS = 3.0


@dataclass(frozen=True)
class Wish:
    """What the page sends.

    film, mask: names below the folder;  tasks: as in `--task`;  model: None = as `restore` chooses
    strength: 0..1;  faces: "all" or "largest";  overwrite: replace an earlier result
    """

    film: str
    tasks: str = "bfr"
    mask: str | None = None
    model: str | None = None
    profile: str = "share"
    strength: float = 1.0
    faces: str = "all"
    overwrite: bool = False


def options_of(wish: Wish, root: Path) -> RestoreOptions:
    """The options of a restoration with its report; raises UsageError, NotThereError."""
    tasks = Tasks.parse(wish.tasks)
    mask = None
    if tasks.inpaint and not wish.mask:
        raise UsageError("inpaint needs a mask: draw one, or choose one from the folder")
    if tasks.inpaint and wish.mask:
        picture = wish.mask.lower().endswith(PICTURES)
        mask = inside(root, wish.mask) if picture else film_inside(root, wish.mask)
    if wish.model is not None and wish.model not in model_names():
        raise UsageError(f"model '{wish.model}': is not installed here")
    if wish.faces not in ("all", "largest"):
        raise UsageError(f"faces '{wish.faces}': choose all or largest")
    return RestoreOptions(
        tasks=tasks,
        mask=mask,
        model=wish.model,
        profile=wish.profile,
        strength=wish.strength,
        faces=wish.faces,
        overwrite=wish.overwrite,
        report=True,
    )


def preview_of(options: RestoreOptions, at_seconds: float, film_seconds: float) -> RestoreOptions:
    """The same for the three seconds at the cursor, or the last three; without loss, kept nowhere.

    film_seconds: 0 = not known
    """
    last = max(0.0, film_seconds - PREVIEW_SECONDS) if film_seconds else at_seconds
    start = max(0.0, min(at_seconds, last))
    return replace(
        options,
        start_seconds=start,
        end_seconds=start + PREVIEW_SECONDS,
        profile="archive",
        report=False,
        resume=False,
        overwrite=False,
    )


def model_names() -> list[str]:
    """The models that are here and whole, the bundled one first."""
    return [model.name for model in installed() if not model.trouble]
