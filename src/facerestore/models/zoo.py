"""Models by name: what is here, and getting the released one from the hub.

Broken downloads go on where they stopped, each file is checked against its sum, and the model
folder appears only when it is whole.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.errors import FaceRestoreError, ModelError, ResourceError, UsageError
from facerestore.models.checkpoint import (
    BUNDLED,
    CONFIG_NAME,
    models_folder,
    read_config,
    sha256,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facerestore.models.convert import Layout

SUM_LETTERS = 64  # of a SHA-256; files outside the hub's large storage have shorter names
ACCEPTED = "accepted.json"  # beside the models: whose terms were accepted, and when


@dataclass(frozen=True)
class HubFile:
    """A file of a hub repository; sha256: None = what the hub itself says of it."""

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
    """A model that is here: name, version, folder, size in bytes, licence, and what is wrong."""

    name: str
    version: str
    folder: Path
    size_bytes: int
    licence: str
    trouble: str = ""


def installed() -> Iterator[Installed]:
    """All models that can be used, the bundled one first."""
    home = models_folder()
    others = sorted(home.iterdir()) if home.is_dir() else []
    for folder in [BUNDLED, *others]:
        if (folder / CONFIG_NAME).is_file():
            try:
                config, sums = read_config(folder)
            except ModelError as error:
                yield Installed(folder.name, "", folder, 0, "", str(error))
                continue
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
        raise UsageError(f"'{name}': no such model here; see: facerestore models list")
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
    layout: Layout | None = None,
) -> Path:
    """Fetch a model by name into `models_folder()`; returns its folder.

    accept: is shown the terms once and says whether the user agrees;  tell: what is being done
    files, layout: what to fetch and what it should hold, None = the released model
    Raises UsageError (unknown name, terms not accepted), ModelError (hub, sums), ResourceError.
    """
    from facerestore.models.convert import RELEASED, UNET, Layout, convert

    if name != "svfr":
        raise UsageError(
            f"{name}: can't be fetched; svfr, gfpgan, codeformer, realesrgan, ddcolor and i3d can "
            "(mini is built in)"
        )
    target, wanted = models_folder() / name, files or FILES
    if (target / CONFIG_NAME).is_file():
        tell(f"{target}: already here")
        return target
    with explained(CONVERT):
        downloads().mkdir(parents=True, exist_ok=True)
    licence = _fetched(wanted["licence"], tell)
    accepted(name, f"{TERMS}\n\n{licence.path.read_text()}", accept)
    got = {key: _fetched(file, tell) for key, file in wanted.items()}
    tell("converting")
    layout = layout or Layout(RELEASED, UNET)
    sources = dict.fromkeys(f"{wanted[key].repository}@{got[key].commit}" for key in wanted)
    config = replace(layout.config, origin=", ".join(sources))
    convert(
        unet=got["unet"].path,
        id_linear=got["id_linear"].path,
        arcface=got["arcface"].path,
        vae=got["vae"].path,
        vae_config=got["vae_config"].path,
        target=target,
        layout=replace(layout, config=config),
    )
    shutil.rmtree(downloads(), ignore_errors=True)
    return target


def downloads() -> Path:
    """Where files wait, whole or not, until all of a model are there."""
    return models_folder() / ".downloads"


def accepted(name: str, terms: str, accept: Callable[[str], bool]) -> None:
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


@dataclass(frozen=True)
class Fetched:
    """A file of the hub on this machine, and the commit it is of."""

    path: Path
    commit: str


def _fetched(file: HubFile, tell: Callable[[str], None]) -> Fetched:
    """A file of the hub, whole and of the right sum: from its cache, or fetched.

    huggingface_hub's own downloads begin again when the process was killed; these go on.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    tell(f"{file.repository}: {file.name}")
    cached = try_to_load_from_cache(file.repository, file.name, revision=file.revision)
    if isinstance(cached, str):
        path, blob = Path(cached), Path(cached).resolve().name
        _check_sum(path, file, file.sha256 or (blob if len(blob) == SUM_LETTERS else None))
        return Fetched(path, path.relative_to(path.parents[file.name.count("/") + 1]).parts[0])
    with explained(CONVERT):
        url = hf_hub_url(file.repository, file.name, revision=file.revision)
        facts = get_hf_file_metadata(url)
        commit, said = facts.commit_hash or file.revision, facts.etag or ""
        whole = downloads() / file.repository / commit / file.name
        part = whole.with_name(whole.name + ".part")
        if not whole.is_file():
            whole.parent.mkdir(parents=True, exist_ok=True)
            url = hf_hub_url(file.repository, file.name, revision=commit)
            with part.open("ab") as content:
                http_get(
                    url,
                    content,
                    resume_size=part.stat().st_size,
                    headers=build_hf_headers(),
                    expected_size=facts.size,
                )
            _check_sum(part, file, file.sha256 or (said if len(said) == SUM_LETTERS else None))
            part.rename(whole)
    return Fetched(whole, commit)


def _check_sum(path: Path, file: HubFile, expected: str | None) -> None:
    """Remove a file whose sum is wrong and raise ModelError."""
    if expected is None or sha256(path) == expected:
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise ModelError(
        f"{file.repository}: {file.name} came with a wrong sum and was removed; try again later"
    )


OFFLINE = "the hub cannot be reached and not all files are here"
CONVERT = (
    "run the same command when it can be, or use files that you have: facerestore models convert"
)


@contextmanager
def explained(remedy: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into one sentence; remedy: what to do when offline."""
    try:
        yield
    except FaceRestoreError:
        raise
    except Exception as error:
        told = _explanation(error, remedy)
        if told is None:
            raise
        raise told from None


def _explanation(error: Exception, remedy: str) -> FaceRestoreError | None:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelError(
            f"{SVD}: its terms must be accepted on the hub's page first; then set HF_TOKEN to a "
            "token of that account"
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        return ModelError(
            f"the hub does not know the repository or the token in HF_TOKEN ({_first(error)})"
        )
    unreachable = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError)
    if isinstance(error, (*unreachable, errors.FileMetadataError)):
        return ModelError(f"{OFFLINE}; {remedy}")
    if isinstance(error, (errors.EntryNotFoundError, errors.HfHubHTTPError)):
        return ModelError(f"the hub answers with an error ({_first(error)}); try again later")
    if type(error).__module__.startswith("httpx"):  # no connection, or it broke
        return ModelError(f"{OFFLINE}; {remedy}")
    if isinstance(error, OSError):
        if error.errno is None:  # "consistency check failed": the file came short
            return ModelError(f"{OFFLINE}; {remedy}")
        return ResourceError(
            f"{models_folder()}: cannot be written ({error.strerror}); FACERESTORE_MODELS names it"
        )
    return None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
