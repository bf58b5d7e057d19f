"""What a training run is told: a TOML file, read into frozen dataclasses.

See configs/mini.toml for every key with its meaning.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from facerestore.errors import BadInputError, UsageError
from facerestore.models.checkpoint import SIZE_STEPS, ModelConfig
from facerestore.training.data import MIXES
from facerestore.training.motion import MIRRORED

if TYPE_CHECKING:
    from pathlib import Path

Part = TypeVar("Part")


def _check(table: str, **right: bool) -> None:
    """Raise ValueError naming the keys whose value is not right."""
    wrong = [name for name, is_right in right.items() if not is_right]
    if wrong:
        raise ValueError(f"{table}: impossible value of {', '.join(wrong)}")


@dataclass(frozen=True)
class Data:
    """train, validation: tar files, relative to the data folder; `*` stands for any characters

    mixes:  weight of each mix of tasks;  reference_dropout: share without a reference
    points: landmarks a face (5 or 68);  workers: processes that make examples
    own_references: share of the references that are like the model's own frames, see `Drawing`
    film:   range of the film's pixels a pixel of the crop, see `Drawing`
    echoes: steps made with each batch, mirrored in turn, each with noise of its own: for cards
            that are faster than what draws the examples ("data echoing", Choi et al. 2019)
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    mixes: dict[str, float]
    reference_dropout: float = 0.5
    own_references: float = 0.0
    points: int = 5
    workers: int = 1
    film: tuple[float, float] = (1.0, 1.0)
    echoes: int = 1

    def __post_init__(self) -> None:
        for mix in self.mixes:
            if mix not in MIXES:
                raise ValueError(f"data.mixes: '{mix}' is none of {'; '.join(MIXES)}")
        if not self.mixes or min(self.mixes.values()) < 0 or sum(self.mixes.values()) <= 0:
            raise ValueError("data.mixes: expected weights, at least one above 0")
        _check(
            "data",
            reference_dropout=0 <= self.reference_dropout <= 1,
            own_references=0 <= self.own_references <= 1,
            points=self.points in MIRRORED,
            workers=self.workers >= 0,
            film=0.25 <= self.film[0] <= self.film[1] <= 4,
            echoes=self.echoes >= 1,
        )


@dataclass(frozen=True)
class Network:
    """The UNet to start from.

    start:  "fresh" (small, with the `widths` of its levels), or a folder: a facerestore model, or
            Stable Video Diffusion as diffusers saves it (its 8 input channels become 12)
    arcface: file of ArcFace weights, for a start from Stable Video Diffusion
    """

    start: str = "fresh"
    widths: tuple[int, ...] = (160, 160, 160)
    arcface: str | None = None


@dataclass(frozen=True)
class Noise:
    """How noise levels are drawn: `high_share` of them from the upper half of the range (in one
    step nothing else is seen), the others over the whole range, both evenly in log sigma; or, with
    `lognormal` (mean, deviation), from a log-normal distribution as in Stable Video Diffusion.

    low_weight: of the loss at levels that are not high
    """

    high_share: float = 0.0
    low_weight: float = 1.0
    lognormal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check(
            "noise",
            high_share=0 <= self.high_share <= 1,
            low_weight=self.low_weight >= 0,
            lognormal=self.lognormal is None or self.lognormal[1] > 0,
        )


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, 0 = without.

    ulr, prior:    unified latent regularization and facial prior (paper: 0.01 and 0.1)
    edges, steady: of spatial gradients and of changes in time, pixels; only without a VAE
    structure:     of 1 - SSIM, likewise
    detail:        of the strength of detail, likewise, at noise levels that are not high: what one
                   step must not guess, the last of several may
    relative_floor: each clip counts relative to its mean squared residual plus this; 0 = all equal
    """

    ulr: float = 0.01
    prior: float = 0.1
    edges: float = 0.0
    steady: float = 0.0
    structure: float = 0.0
    detail: float = 0.0
    relative_floor: float = 0.0

    def __post_init__(self) -> None:
        _check("losses", **{name: weight >= 0 for name, weight in vars(self).items()})


@dataclass(frozen=True)
class Stage:
    """Up to step `until`: `batch` clips of `frames` at `size` px, a share `zoomed` (see Drawing)"""

    until: int
    size: int
    frames: int
    batch: int
    zoomed: float = 0.0

    def __post_init__(self) -> None:
        _check(
            "stages",
            frames=self.frames >= 1,
            batch=self.batch >= 1,
            zoomed=0 <= self.zoomed <= 1,
        )


@dataclass(frozen=True)
class Optimizer:
    """AdamW: `rate` after `warmup` steps, falling as a cosine from step `decay_from` to the end.

    average: decay of the moving average of weights;  accumulate: batches a step
    checkpointing: recompute activations to save memory
    """

    rate: float
    warmup: int = 200
    decay_from: int = 0
    weight_decay: float = 0.01
    average: float = 0.998
    accumulate: int = 1
    checkpointing: bool = False

    def __post_init__(self) -> None:
        _check(
            "optimizer",
            rate=self.rate > 0,
            average=0 <= self.average < 1,
            accumulate=self.accumulate >= 1,
            weight_decay=self.weight_decay >= 0,
        )


@dataclass(frozen=True)
class Saving:
    """How often a run is saved and tried on held-out clips, in minutes, and on how many clips."""

    minutes: float = 4.0
    validation_minutes: float = 20.0
    clips: int = 6
    frames: int = 8

    def __post_init__(self) -> None:
        _check("saving", clips=self.clips >= 1, frames=self.frames >= 1)


@dataclass(frozen=True)
class TrainConfig:
    """All of a run; `steps` is the end of its last stage."""

    model: ModelConfig
    data: Data
    stages: tuple[Stage, ...]
    optimizer: Optimizer
    network: Network = Network()
    noise: Noise = Noise()
    losses: Losses = Losses()
    saving: Saving = Saving()
    seed: int = 0

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if not ends or sorted(set(ends)) != ends or ends[0] < 1:
            raise ValueError("stages: expected rising `until`, the first above 0")
        step, most = SIZE_STEPS[self.model.codec], self.model.size
        if any(s.size % step or not 0 < s.size <= most for s in self.stages):
            raise ValueError(f"stages: expected sizes that {step} divides, {most} at most")
        losses = self.losses
        if self.model.codec == "vae" and any(
            (losses.edges, losses.steady, losses.structure, losses.detail)
        ):
            raise ValueError(
                "losses: edges, steady, structure and detail are for models without a VAE; "
                "set them to 0"
            )
        fresh, widths = self.network.start == "fresh", self.network.widths
        if fresh and (self.model.codec == "vae" or len(widths) < 2 or any(w % 32 for w in widths)):
            raise ValueError("network: fresh is for codec patch4, two or more widths 32 divides")

    @property
    def steps(self) -> int:
        return self.stages[-1].until

    def stage(self, step: int) -> Stage:
        """The stage of a step, the last one for steps after the end."""
        return next((s for s in self.stages if step < s.until), self.stages[-1])


def read_config(path: Path) -> TrainConfig:
    """A configuration file; raises UsageError naming the file and what is wrong in it.

    Raises BadInputError where there is no such file.
    """
    try:
        content = tomllib.loads(path.read_text())
        parts = {
            "model": _part(ModelConfig, content.pop("model", {}) | {"origin": ""}, "model"),
            "data": _part(Data, content.pop("data", {}), "data"),
            "stages": tuple(_part(Stage, s, "stages") for s in content.pop("stages", ())),
        }
        for name, kind in {
            "optimizer": Optimizer,
            "network": Network,
            "noise": Noise,
            "losses": Losses,
            "saving": Saving,
        }.items():
            parts[name] = _part(kind, content.pop(name, {}), name)
        return _part(TrainConfig, content | parts, "the file")
    except FileNotFoundError:
        raise BadInputError(
            f"{path}: no such file; configs/mini.toml is one to begin with"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: not a training configuration ({error})") from None


def _part(kind: type[Part], content: Any, name: str) -> Part:
    """One table as a dataclass; raises ValueError for keys that are unknown or missing."""
    if not isinstance(content, dict):
        raise ValueError(f"{name}: expected a table")
    known = {f.name: f.type for f in fields(kind)}  # pyright: ignore[reportArgumentType]
    for key in content:
        if key not in known:
            raise ValueError(f"{name}: unknown key '{key}'")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    hints = get_type_hints(kind)
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise ValueError(f"{name}: {key} is {value!r}, expected {known[key]}")
    try:
        return kind(**values)
    except TypeError as error:  # its message tells which keys are missing
        raise ValueError(f"{name}: {str(error).partition('() ')[2] or error}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; whole numbers are floats, too."""
    kind, inside = get_origin(hint), get_args(hint)
    if kind is UnionType:
        return any(_fits(value, one) for one in inside)
    if kind is tuple and isinstance(value, tuple):
        hints = [inside[0]] * len(value) if inside[-1] is Ellipsis else inside
        return len(value) == len(hints) and all(map(_fits, value, hints))
    if kind is dict and isinstance(value, dict):
        return all(_fits(one, inside[1]) for one in value.values())
    if kind or isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
