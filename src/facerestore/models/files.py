"""Weights of others in a single file each: where they come from, their sums and licences.

They lie in `models_folder()` under the name that their authors gave them. Nothing fetches them but
`facerestore models pull`, and nothing is read whose sum is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facerestore.errors import ModelError, UsageError
from facerestore.models.checkpoint import models_folder, sha256
from facerestore.models.zoo import Installed, accepted, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class WeightFile:
    """sha256: None where none is publicly known; such a file has to be fetched by hand."""

    name: str
    url: str
    sha256: str | None
    licence: str

    @property
    def path(self) -> Path:
        """Where it is, or belongs."""
        return models_folder() / self.url.rsplit("/", 1)[-1]


GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download"
FILES = {
    file.name: file
    for file in (
        WeightFile(
            "gfpgan",
            f"{GFPGAN}/v1.3.0/GFPGANv1.4.pth",
            "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
            "Apache-2.0, Tencent ARC Lab; parts by others, see its LICENSE",
        ),
        WeightFile(
            "codeformer",
            "https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
            "1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
            "S-Lab License 1.0: non-commercial use only",
        ),
        WeightFile(
            "restoreformer",
            f"{GFPGAN}/v1.3.4/RestoreFormer.pth",
            None,
            "Apache-2.0, Tencent ARC Lab",
        ),
        WeightFile(
            "realesrgan",  # the one that halves the picture first: a quarter of x4plus's work
            "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1/RealESRGAN_x2plus.pth",
            "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
            "BSD-3-Clause, Xintao Wang",
        ),
        WeightFile(
            "ddcolor",
            "https://huggingface.co/piddnad/DDColor-models/resolve/"
            "1969bc566dd63355b6eb8b909d28271e2230bfec/ddcolor_modelscope.pth",
            "17c460d7e55b32a598370621d77173be59e03c24b0823f06821db23a50c263ce",
            "Apache-2.0, Alibaba DAMO Academy",
        ),
        WeightFile(
            "i3d",
            "https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/"
            "1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
            "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
            "Apache-2.0, DeepMind's kinetics-i3d, as converted for StyleGAN-V",
        ),
    )
}


def present() -> Iterator[Installed]:
    """The known files that are here."""
    for file in FILES.values():
        if file.path.is_file():
            size = file.path.stat().st_size
            yield Installed(file.name, "", file.path, size, file.licence)


def checked(file: WeightFile) -> str:
    """The sum of a file that is here; raises ModelError where it is not, or is another one."""
    if not file.path.is_file():
        raise ModelError(f"{file.name} is not here; {how_to_get(file)}")
    found = sha256(file.path)
    if file.sha256 not in (None, found):
        raise ModelError(f"{file.path}: not the published file (its sum differs); fetch it again")
    return found


def how_to_get(file: WeightFile) -> str:
    """What the user should do to have it."""
    by_hand = f"put {file.url} into {file.path.parent}"
    pull = f"get it with: facerestore models pull {file.name}"
    return by_hand if file.sha256 is None else f"{pull}, or {by_hand}"


def pull_file(
    name: str, *, accept: Callable[[str], bool], tell: Callable[[str], None] = lambda text: None
) -> Path:
    """Fetch a known file; a broken download goes on where it stopped. Returns its path.

    accept: is shown the licence once and says whether the user agrees;  tell: what is being done
    Raises UsageError (not accepted, no sum known), ModelError (server, sum), ResourceError.
    """
    from huggingface_hub.file_download import http_get  # of any address, not only the hub's

    file = FILES[name]
    if file.path.is_file():
        tell(f"{file.path}: already here")
        return file.path
    if file.sha256 is None:
        raise UsageError(f"no sum of {name} is published, so it is not fetched; {how_to_get(file)}")
    part = file.path.with_name(file.path.name + ".part")
    with explained(f"get it later, or {how_to_get(file)}"):
        part.parent.mkdir(parents=True, exist_ok=True)
        accepted(name, f"{file.url}\n{file.licence}", accept)
        tell(file.url)
        if not part.is_file() or sha256(part) != file.sha256:  # killed between the end and the name
            with part.open("ab") as content:
                http_get(file.url, content, resume_size=part.stat().st_size)
        if sha256(part) != file.sha256:
            part.unlink()
            raise ModelError(f"{file.url}: came with a wrong sum and was removed; try again later")
        part.rename(file.path)
    return file.path
