"""The results: scores of one film, their mean over films, and a CSV file of them."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from facerestore.errors import UsageError
from facerestore.evaluation.fvd import pooled_fvd
from facerestore.video.output import atomic, check_place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facerestore.frames import Floats


@dataclass(frozen=True)
class Scores:
    """How far a film is from the true one: means over views, None where nothing was measured.

    A view is a face square of a frame (region "face") or a whole frame ("frame"). Definitions:
    docs/evaluation.md.

    frames:   compared;  unpaired_out, unpaired_ref: without a partner at their time, left out
    views:    compared;  equal, equal_chroma: of these without any difference (in Cb and Cr), for
              which there is no PSNR: they are not in its mean
    psnr, chroma_psnr: dB;  ssim: up to 1
    temporal_error: mean difference of frame differences in 8-bit codes, within shots
    hole_...: the same inside the holes of the mask, over the views that have any
    eyes_distance, mouth_distance: of the detector's points, in eye distances
    landmark_views, found_in_one: faces found in both films, and in only one of them
    akd_...:  distance of 68 landmarks in px of a square of 256 px
    warp_error: what changes but does not move, thousandths;  sharpness: of the faces
    lpips:    0 is equal;  ids: cosine, 1 is the same face
    fvd:      of `fvd_clips` clips of 16 frames, whose features are `features`
    vidd, ref_vidd: distance of neighbouring frames' ArcFace unit vectors, of both films
    identity_drift: 1 - mean cosine of a face's vectors to their mean direction
    warnings: what the user should know of these films
    missing:  what could not be measured here, and how to get it
    """

    out: Path
    ref: Path | None
    region: str
    frames: int
    unpaired_out: int = 0
    unpaired_ref: int = 0
    views: int = 0
    psnr: float | None = None
    chroma_psnr: float | None = None
    ssim: float | None = None
    temporal_error: float | None = None
    equal: int = 0
    equal_chroma: int = 0
    hole_views: int = 0
    hole_psnr: float | None = None
    hole_chroma_psnr: float | None = None
    hole_ssim: float | None = None
    hole_temporal_error: float | None = None
    hole_equal: int = 0
    hole_equal_chroma: int = 0
    eyes_distance: float | None = None
    mouth_distance: float | None = None
    landmark_views: int = 0
    found_in_one: int = 0
    akd_face: float | None = None
    akd_eyes: float | None = None
    akd_lips: float | None = None
    warp_error: float | None = None
    ref_warp_error: float | None = None
    sharpness: float | None = None
    ref_sharpness: float | None = None
    lpips: float | None = None
    fvd: float | None = None
    fvd_clips: int = 0
    ids: float | None = None
    vidd: float | None = None
    ref_vidd: float | None = None
    identity_drift: float | None = None
    ref_identity_drift: float | None = None
    features: tuple[Floats, Floats] | None = field(default=None, repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For tables, JSON and CSV."""
        named = {name: getattr(self, name) for name in COLUMNS}
        return named | {"out": str(self.out), "ref": None if self.ref is None else str(self.ref)}


COLUMNS = tuple(field.name for field in fields(Scores) if field.name != "features")
MEASURES = tuple(field.name for field in fields(Scores) if field.type == "float | None")


def mean_scores(films: Sequence[Scores]) -> dict[str, Any]:
    """How many films, and each measure's mean over those that have it; each film counts once.

    FVD is that of the clips of all films together.
    """
    means: dict[str, Any] = {"films": len(films)}
    for name in MEASURES:
        values = [value for film in films if (value := getattr(film, name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    # a mean of distances of few clips each would be another measure, and larger
    means["fvd"] = pooled_fvd([film.features for film in films if film.features is not None])
    return means


def check_file(path: Path | None, option: str, *, overwrite: bool) -> None:
    """Raise UsageError or ResourceError early where the file of an option cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file for {option}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; remove it or add --overwrite")
    check_place(path)


def write_csv(path: Path, films: Sequence[Scores], *, overwrite: bool) -> None:
    """One line a film, a column for each field of `Scores`, empty where nothing was measured.

    The file appears when it is whole. Raises UsageError where it is there already, ResourceError
    where it cannot be written.
    """
    with (
        atomic(path, None, overwrite=overwrite) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for film in films:
            row = film.as_dict()
            words = {name: "; ".join(row[name]) for name in ("warnings", "missing")}
            table.writerow(row | words)


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a file that appears when it is whole; raises as `write_csv`."""
    with atomic(path, None, overwrite=overwrite) as part:
        part.write_text(text, "utf-8", newline="")
