"""What the user may ask for, and what is loaded to do it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.errors import UsageError
from facerestore.frames import Tasks
from facerestore.video.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.faces.detect import Detector
    from facerestore.frames import Reference
    from facerestore.models.background import Background
    from facerestore.models.restorer import Restorer

GUARDS = ("off", "warn", "blend")


@dataclass(frozen=True)
class RestoreOptions:
    """What to do to a film; every field is an option of `facerestore restore`.

    start_seconds, end_seconds: the part to restore, None = the whole film
    model: mini, svfr, a model folder, a baseline (classic, gfpgan, codeformer, restoreformer) or a
        file of weights; None = svfr where it is and a card fits it, else mini
    background: realesrgan, ddcolor or a file of weights, for the whole frames; None = left alone
    strength: 0..1;  steps: network passes per window, None = the model's own
    mode: "exact" or "fast", see `schedule_for`
    identity_guard: "off", "warn", "blend" (lower the strength where a face becomes another);
        None = warn if the model can tell
    max_vram: limit for a card's memory in GiB
    resume: keep unfinished work where the program is stopped, and go on with it
    keep_work: keep it also when the film is finished
    report: write a page to look at, `OUTPUT.report.html`, beside the output
    """

    tasks: Tasks = field(default_factory=lambda: Tasks(bfr=True))
    model: str | None = None
    mask: Path | None = None
    reference: Path | None = None
    background: str | None = None
    faces: str = "all"
    strength: float = 1.0
    steps: int | None = None
    mode: str = "exact"
    seed: int = 0
    profile: str = "share"
    start_seconds: float | None = None
    end_seconds: float | None = None
    crop_only: bool = False
    device: str = "auto"
    max_vram: float | None = None
    identity_guard: str | None = None
    overwrite: bool = False
    resume: bool = True
    keep_work: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength {self.strength} is outside 0..1")
        if self.profile not in PROFILES:
            raise UsageError(f"unknown profile '{self.profile}'; choose from {', '.join(PROFILES)}")
        if self.identity_guard not in (None, *GUARDS):
            raise UsageError(
                f"unknown identity guard '{self.identity_guard}'; choose from {', '.join(GUARDS)}"
            )
        if self.tasks.inpaint and self.mask is None:
            raise UsageError("task inpaint needs --mask: a picture or video, white where to fill")
        if self.mask is not None and not self.tasks.inpaint:
            raise UsageError("--mask is only used by task inpaint; add it to --task")
        if self.report and self.crop_only:
            raise UsageError("--report compares whole pictures; leave --crop-only or --report out")
        if self.background is not None and self.crop_only:
            raise UsageError("--crop-only shows no background; leave it or --background out")
        start, end = self.start_seconds or 0.0, self.end_seconds
        if end is not None and end <= start:
            raise UsageError(f"the part from {start} s to {end} s is empty")

    def deciding(self) -> dict[str, Any]:
        """The options that decide what an output is like, as JSON."""
        named = {**vars(self), "tasks": str(self.tasks)}
        for name in ("overwrite", "resume", "keep_work", "report"):
            del named[name]
        return {key: str(v) if isinstance(v, Path) else v for key, v in named.items()}


@dataclass(frozen=True)
class Tools:
    """What is loaded once for many films.

    restorer, detector: see there;  reference: the picture given by the user, if any
    model: name, version and sha256 of the weights, for the record;  why: this model was chosen
    background: the network for whole frames, if the user wants one
    """

    restorer: Restorer
    detector: Detector
    reference: Reference | None
    model: dict[str, Any]
    why: str = ""
    background: Background | None = None


def load_restorer(options: RestoreOptions) -> tuple[Restorer, dict[str, Any], str]:
    """The model, what the record says of it, and why this one; raises ModelError and the like."""
    from facerestore.models.baselines import is_baseline
    from facerestore.models.load import load_named

    if options.reference is not None and is_baseline(options.model):
        raise UsageError(f"-m {options.model} looks at no --reference; leave it out")
    loaded = load_named(
        options.model,
        options.tasks,
        device=options.device,
        mode=options.mode,
        steps=options.steps,
        max_vram=options.max_vram,
    )
    return loaded.restorer, loaded.facts, loaded.why


def load_tools(
    options: RestoreOptions,
    restorer_from: Callable[[RestoreOptions], tuple[Restorer, dict[str, Any], str]] = load_restorer,
) -> Tools:
    """Load model, background, detector and reference picture; raises ModelError and the like."""
    from facerestore.faces.detect import load_detector
    from facerestore.reference import reference_from

    background = load_named_background(options)
    restorer, model, why = restorer_from(options)
    detector = load_detector()
    reference = None
    if options.reference is not None:
        reference = reference_from(options.reference, detector)
    return Tools(restorer, detector, reference, model, why, background)


def load_named_background(options: RestoreOptions) -> Background | None:
    """The network for whole frames; before the model, which plans with the memory that is left."""
    if options.background is None:
        return None
    from facerestore.models.background import load_background

    return load_background(options.background, device=options.device)
