"""Models by name: what is here, and getting the released one from the hub.

Weights are fetched by huggingface_hub, which resumes broken downloads; each file is then checked
against its sum, and the model folder appears only when it is whole.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.errors import ModelError, ResourceError, UsageError
from facerestore.models.checkpoint import (
    BUNDLED,
    CONFIG_NAME,
    models_folder,
    read_config,
    sha256,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCEPTED = "accepted.json"  # beside the models: whose terms were accepted, and when


@dataclass(frozen=True)
class HubFile:
    """A file of a hub repository; sha256: None = what the hub itself says of the revision."""

    repository: str
    revision: str
    name: str
    sha256: str | None = None


SVD = "stabilityai/stable-video-diffusion-img2vid-xt"
SVD_REVISION = "9e43909513c6714f1bc78bcb44d96e733cd242aa"
SVFR = "fffiloni/SVFR"  # a mirror of the authors' download; no revision of it is published
FILES = {
    "licence": HubFile(
        SVD,
        SVD_REVISION,
        "LICENSE.md",
        "d6f6b1a4dce5c852bd6d7d9482d002baf0ccdb71e662250b73be9eec8764ee8d",
    ),
    "vae_config": HubFile(
        SVD,
        SVD_REVISION,
        "vae/config.json",
        "8f34272db69f7e2c615da6142ca3f9fdcd7b682bcfd903ceb15035fea79a8303",
    ),
    "vae": HubFile(
        SVD,
        SVD_REVISION,
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "af602cd0eb4ad6086ec94fbf1438dfb1be5ec9ac03fd0215640854e90d6463a3",
    ),
    "unet": HubFile(SVFR, "main", "face_restoration/unet.pth"),
    "id_linear": HubFile(SVFR, "main", "face_restoration/id_linear.pth"),
    "arcface": HubFile(SVFR, "main", "face_restoration/insightface_glint360k.pth"),
}
TERMS = (
    "The SVFR weights are for non-commercial research only (github.com/wangzhiyaoo/SVFR). "
    "They work with the VAE of Stable Video Diffusion, whose licence follows."
)


@dataclass(frozen=True)
class Installed:
    """A model that is here: name, version, folder, size in bytes, licence."""

    name: str
    version: str
    folder: Path
    size_bytes: int
    licence: str


def installed() -> Iterator[Installed]:
    """All models that can be used, the bundled one first."""
    home = models_folder()
    others = sorted(home.iterdir()) if home.is_dir() else []
    for folder in [BUNDLED, *others]:
        if (folder / CONFIG_NAME).is_file():
            config, sums = read_config(folder)
            size = sum((folder / name).stat().st_size for name in sums if (folder / name).exists())
            yield Installed(
                "mini" if folder == BUNDLED else folder.name,
                config.version,
                folder,
                size,
                config.licence,
            )


def remove(name: str) -> Path:
    """Delete a downloaded model; raises UsageError for the bundled one or an unknown name."""
    folder = models_folder() / name
    if name == "mini":
        raise UsageError("mini is part of the program and stays")
    if Path(name).name != name or not (folder / CONFIG_NAME).is_file():
        raise UsageError(f"{name}: no such model here; see: facerestore models list")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be removed ({error.strerror})") from None
    return folder


def pull(
    name: str,
    *,
    accept: Callable[[str], bool],
    tell: Callable[[str], None] = lambda text: None,
    files: dict[str, HubFile] | None = None,
) -> Path:
    """Fetch a model by name into `models_folder()`; returns its folder.

    accept: is shown the terms once and says whether the user agrees;  tell: what is being done
    files:  what to fetch, for mirrors and tests
    Raises UsageError (unknown name, terms not accepted), ModelError (hub, sums), ResourceError.
    """
    from facerestore.models.convert import convert

    if name != "svfr":
        raise UsageError(f"{name}: can't be fetched; only svfr is on the hub (mini is built in)")
    target, wanted = models_folder() / name, files or FILES
    if (target / CONFIG_NAME).is_file():
        tell(f"{target}: already here")
        return target
    with _explained():
        target.parent.mkdir(parents=True, exist_ok=True)
    revisions = {file.repository: _resolved(file) for file in wanted.values()}
    licence = _fetched(wanted["licence"], revisions, tell)
    _accepted(name, f"{TERMS}\n\n{licence.read_text()}", accept)
    paths = {key: _fetched(file, revisions, tell) for key, file in wanted.items()}
    tell("converting")
    convert(
        unet=paths["unet"],
        id_linear=paths["id_linear"],
        arcface=paths["arcface"],
        svd=paths["vae_config"].parents[1],
        target=target,
    )
    return target


def _accepted(name: str, terms: str, accept: Callable[[str], bool]) -> None:
    """Ask once; the answer is kept beside the models."""
    from datetime import UTC, datetime

    path = models_folder() / ACCEPTED
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if name in known:
        return
    if not accept(terms):
        raise UsageError(f"the terms of {name} were not accepted; nothing was fetched")
    known[name] = {"terms": terms, "when": datetime.now(UTC).isoformat()}
    path.write_text(json.dumps(known, indent=1) + "\n")


def _resolved(file: HubFile) -> dict[str, Any]:
    """The commit that a revision stands for, and the sums that the hub gives for its files."""
    from huggingface_hub import HfApi, constants

    known = all(f.sha256 for f in FILES.values() if f.repository == file.repository)
    if constants.HF_HUB_OFFLINE or (known and file.revision != "main"):
        return {"commit": file.revision, "sums": {}}
    with _explained():
        info = HfApi().model_info(file.repository, revision=file.revision, files_metadata=True)
    sums = {s.rfilename: s.lfs.sha256 for s in info.siblings or () if s.lfs is not None}
    return {"commit": info.sha, "sums": sums}


def _fetched(
    file: HubFile, revisions: dict[str, dict[str, Any]], tell: Callable[[str], None]
) -> Path:
    """A file of the hub in its cache, whole and of the right sum."""
    from huggingface_hub import hf_hub_download

    revision = revisions[file.repository]
    tell(f"{file.repository}: {file.name}")
    with _explained():
        path = Path(hf_hub_download(file.repository, file.name, revision=revision["commit"]))
    expected = file.sha256 or revision["sums"].get(file.name)
    if expected is not None and sha256(path) != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{file.repository}: {file.name} came with a wrong sum and was removed; try again later"
        )
    return path


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what huggingface_hub raises into one sentence."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        repository = str(getattr(error, "repo_id", None) or SVD)
        raise ModelError(
            f"{repository}: its terms must be accepted on the hub's page first; then set HF_TOKEN "
            "to a token of that account"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(
            f"the hub does not know the repository or the token in HF_TOKEN ({_first(error)})"
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise ModelError(OFFLINE) from None
        raise ModelError(f"the hub lacks a file ({_first(error)}); report it") from None
    except errors.OfflineModeIsEnabled:
        raise ModelError(OFFLINE) from None
    except (errors.HfHubHTTPError, errors.FileMetadataError) as error:
        raise ModelError(f"the hub answers with an error ({_first(error)}); try later") from None
    except OSError as error:
        if isinstance(error, ConnectionError) or error.errno is None:
            raise ModelError(OFFLINE) from None
        raise ResourceError(f"the models folder cannot be written ({error.strerror})") from None


OFFLINE = (
    "the hub cannot be reached and the files are not in its cache; connect once, or convert files "
    "that you have: facerestore models convert"
)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
