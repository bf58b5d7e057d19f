"""Model folders: where they are, what is in them, and whether it is whole.

    facerestore.json    name, sizes, noise range, licence, sha256 of every file
    unet/               as diffusers saves it; the bundled model has nothing else
    vae/, scheduler/    the same
    identity/           arcface.safetensors, tokens.safetensors

Only safetensors are read. Every file's sha256 is in facerestore.json and is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facerestore.errors import ModelError
from facerestore.frames import TASK_NAMES

FORMAT = 1
CONFIG_NAME = "facerestore.json"
SIZE_STEPS = {"patch4": 16, "vae": 64}  # px; the UNets halve two and three times
BUNDLED = Path(__file__).parent.parent / "assets" / "mini"
SAFETENSORS = "diffusion_pytorch_model.safetensors"
# Where each network's weights lie in a folder; those with a config.json beside it are diffusers'
WEIGHTS = {
    "unet": f"unet/{SAFETENSORS}",
    "vae": f"vae/{SAFETENSORS}",
    "arcface": "identity/arcface.safetensors",
    "tokens": "identity/tokens.safetensors",
}


@dataclass(frozen=True)
class ModelConfig:
    """What facerestore.json says beside the checksums.

    tasks:        task names the model was trained for
    size, window: crop side in pixels, frames denoised together;  overlap: frames windows share
    large:        crop side in pixels for blind restoration alone of faces that have 1 to 1.9 times
                  as many in the film, None = `size`
    codec:        "patch4" (pixel-unshuffle by 4, exact) or "vae"
    residual:     diffuse z - z_LQ (True) or z itself;  latent_scale: multiplier before noise
    sigma_min, sigma_max, steps: noise range and default number of Karras steps
    tokens:       (count, width) of the identity context
    first_steps:  default number of steps without a reference, None = `steps`
    guidance:     scale of classifier-free guidance, 1 = none
    shifting:     windows move from step to step (`film_windows`) or stay (`cover`)
    shared_noise: all frames start from the same noise;  chunk: frames of a shot restored together
    fills_holes:  holes are shown filled (`fill_holes`, not white), and where they are beside them
    self_reference: the tasks for which a person's own restored frame is the reference of the rest
    doubt:        rms error in codes that an answer has however small it is, see `doubted`
    """

    name: str
    version: str
    tasks: tuple[str, ...]
    size: int
    window: int
    overlap: int
    codec: str
    residual: bool
    latent_scale: float
    sigma_min: float
    sigma_max: float
    steps: int
    tokens: tuple[int, int]
    licence: str
    origin: str
    first_steps: int | None = None
    guidance: float = 1.0
    shifting: bool = False
    shared_noise: bool = True
    chunk: int = 128
    fills_holes: bool = False
    self_reference: tuple[str, ...] = TASK_NAMES
    doubt: float = 0.0
    large: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in SIZE_STEPS:
            raise ValueError(f"unknown codec '{self.codec}'")
        wrong = [
            name
            for name, right in {
                "tasks": isinstance(self.tasks, tuple) and set(self.tasks) <= set(TASK_NAMES),
                "size": _side(self.size, self.codec),
                "large": self.large is None or _side(self.large, self.codec),
                "window": _whole(self.window, least=1),
                "overlap": _whole(self.overlap, least=0) and self.overlap < self.window,
                "steps": _whole(self.steps, least=1),
                "first_steps": self.first_steps is None or _whole(self.first_steps, least=1),
                "sigma_min": 0 < self.sigma_min < self.sigma_max,
                "latent_scale": self.latent_scale > 0,
                "tokens": len(self.tokens) == 2 and all(_whole(n, least=1) for n in self.tokens),
                "chunk": _whole(self.chunk, least=1) and self.chunk > self.window,
                "self_reference": set(self.self_reference) <= set(TASK_NAMES),
                "doubt": self.doubt == 0 or (self.doubt > 0 and self.residual),
                "fills_holes": not self.fills_holes or self.codec == "patch4",
            }.items()
            if not right
        ]
        if wrong:
            raise ValueError(f"impossible value of {', '.join(wrong)}")


def _whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and value >= least


def _side(value: object, codec: str) -> bool:
    return isinstance(value, int) and value >= 1 and value % SIZE_STEPS[codec] == 0


def models_folder() -> Path:
    """Where downloaded models live: $FACERESTORE_MODELS, else the user's cache folder."""
    given = os.environ.get("FACERESTORE_MODELS")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(cache) / "facerestore" / "models"


def find_model(name: str) -> Path:
    """The folder of a model given by name (`mini`, `svfr`) or by path; raises ModelError."""
    if name == "mini":
        return BUNDLED
    for folder in (Path(name), models_folder() / name):
        if (folder / CONFIG_NAME).is_file():
            return folder
    if name == "svfr":
        raise ModelError(
            "model svfr is not here; get it with: facerestore models pull svfr (or convert)"
        )
    raise ModelError(
        f"'{name}': neither a model (mini, svfr), nor a baseline (classic, gfpgan, codeformer, "
        f"restoreformer), nor a file of weights, nor a folder with {CONFIG_NAME}"
    )


def read_config(folder: Path) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration and the sha256 of each file; raises ModelError if absent or damaged."""
    try:
        content: dict[str, Any] = json.loads((folder / CONFIG_NAME).read_text())
        if not isinstance(content, dict) or not isinstance(content.get("tasks"), list):
            raise ValueError("not a model's facts")
        if content.pop("format") != FORMAT:
            raise ModelError(f"{folder}: made for another version of facerestore")
        sums = content.pop("sha256")
        lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        content |= lists
        return ModelConfig(**content), sums
    except FileNotFoundError:
        raise ModelError(f"{folder}: no {CONFIG_NAME}; is it a model folder?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG_NAME}: not readable ({error})") from None


def verify(folder: Path) -> ModelConfig:
    """Check every file against its sum; raises ModelError naming the first wrong one."""
    config, sums = read_config(folder)
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name}: missing; install facerestore or the model again")
        if sha256(folder / name) != expected:
            raise ModelError(f"{folder / name}: damaged; install facerestore or the model again")
    return config


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kinds_of(folder: Path) -> tuple[str, ...]:
    """The networks that a folder holds; one with a VAE may do without an identity network."""
    config, sums = read_config(folder)
    if config.codec == "patch4":
        return ("unet",)
    return ("unet", "vae", *(kind for kind in ("arcface", "tokens") if WEIGHTS[kind] in sums))


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write facerestore.json with the sums of all files that lie in the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != CONFIG_NAME)
    content = {"format": FORMAT, **asdict(config)}
    content["sha256"] = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in files
        if path.suffix in (".safetensors", ".json")
    }
    (folder / CONFIG_NAME).write_text(json.dumps(content, indent=2) + "\n")
