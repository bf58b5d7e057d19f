"""`facerestore evaluate`: how close films are to the true ones."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerestore.cli_options import Device, Json, Quiet, Verbose
from facerestore.running import FAILED, INTERRUPTED, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.console import Reporter
    from facerestore.evaluation.evaluate import Instruments
    from facerestore.evaluation.scores import Scores

COLUMNS = {  # field of Scores -> heading, format
    "psnr": ("PSNR\ndB", ".2f"),
    "chroma_psnr": ("chroma\ndB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "temporal_error": ("temporal\nerror", ".2f"),
    "eyes_distance": ("eyes", ".4f"),
    "mouth_distance": ("mouth", ".4f"),
    "akd_face": ("AKD\nface", ".2f"),
    "akd_eyes": ("AKD\neyes", ".2f"),
    "akd_lips": ("AKD\nlips", ".2f"),
    "warp_error": ("warp\nerror", ".3f"),
    "sharpness": ("sharp-\nness", ".3f"),
    "lpips": ("LPIPS", ".4f"),
    "fvd": ("FVD", ".1f"),
    "ids": ("IDS", ".3f"),
    "vidd": ("VIDD", ".3f"),
    "identity_drift": ("drift", ".3f"),
}
PARTS = {"": "", "hole_": "  in the hole"}


class Region(StrEnum):
    """Where pictures are compared."""

    face = "face"
    frame = "frame"


def evaluate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A restored film, or a folder.")],
    ref: Annotated[
        Path | None,
        typer.Argument(metavar="[REF]", help="The true film, or a folder; without: OUT alone."),
    ] = None,
    region: Annotated[
        Region, typer.Option(help="face: squares that follow the faces; frame: whole pictures.")
    ] = Region.face,
    mask: Annotated[
        Path | None, typer.Option(help="Picture or video, white where filled: measured apart.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=2048, help="px of the face squares.")] = 256,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Write all numbers there, one line a film.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing CSV file.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare restored films with the true ones: PSNR, SSIM, flicker, landmarks, identity.

    Without true films: sharpness, flicker and steadiness of faces. Folders are paired by name.
    Every term is defined in docs/evaluation.md.
    """
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.evaluation.evaluate import evaluate
        from facerestore.evaluation.pairs import film_pairs
        from facerestore.evaluation.scores import check_csv

        pairs = film_pairs(out, ref)
        check_csv(table, overwrite=overwrite)
        instruments = loader(device, reporter, alone=ref is None)

        def measure(out: Path, ref: Path | None) -> Scores:
            how = {"region": region.value, "mask": mask, "size": size}
            return evaluate(out, ref, **how, instruments=instruments, listen=reporter.step)

        done, code = evaluate_all(pairs, measure, reporter, verbose=verbose)
        report(done, table, reporter, overwrite=overwrite)
        return code

    raise typer.Exit(guarded(job, None, reporter, verbose=verbose))


def loader(device: str, reporter: Reporter, *, alone: bool = False) -> Callable[[], Instruments]:
    """Loads the instruments when they are first wanted, and says which are missing."""

    @cache
    def load() -> Instruments:
        from facerestore.evaluation.evaluate import load_instruments

        instruments = load_instruments(device, alone=alone)
        for text in instruments.missing:
            reporter.note(text)
        return instruments

    return load


def evaluate_all(
    pairs: list[tuple[Path, Path | None]],
    measure: Callable[[Path, Path | None], Scores],
    reporter: Reporter,
    *,
    verbose: bool,
) -> tuple[list[Scores], int]:
    """Film after film; one that fails does not stop the rest. Returns scores and exit code."""
    done: list[Scores] = []
    codes: list[int] = []
    for out, ref in pairs:

        def job(out: Path = out, ref: Path | None = ref) -> int:
            reporter.start(out)
            done.append(measure(out, ref))
            for text in done[-1].warnings:
                reporter.warn(out, text)
            return 0

        codes.append(guarded(job, out, reporter, verbose=verbose))
        if codes[-1] == INTERRUPTED:
            return done, INTERRUPTED
    return done, codes[0] if len(codes) == 1 else FAILED * any(codes)


def report(done: list[Scores], table: Path | None, reporter: Reporter, *, overwrite: bool) -> None:
    """Show the scores of the films that could be compared and write them to the CSV file."""
    from facerestore.console_grid import Grid
    from facerestore.evaluation.scores import mean_scores, write_csv

    if not done:
        return
    look = Grid("film", COLUMNS, PARTS)
    rows = [{"film": scores.out.name, **scores.as_dict()} for scores in done]
    reporter.grid(rows, {"film": f"mean of {len(done)}", **mean_scores(done)}, look)
    if table is not None:
        write_csv(table, done, overwrite=overwrite)
