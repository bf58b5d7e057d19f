"""`facerestore evaluate`: how close films are to the true ones."""

from __future__ import annotations

import re
import sys
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
    from facerestore.evaluation.dataset import Line, Table
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
PARTS = {"": "", "hole_": "  in the hole", "ref_": "  REF itself"}


class Region(StrEnum):
    """Where pictures are compared."""

    face = "face"
    frame = "frame"


def evaluate(
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="A restored film, or a folder.")
    ] = None,
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
    films_csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all numbers there, one line a film.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="A folder with truth/ and METHOD/TASK/: the paper's table of methods."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="With --dataset: write the table there, as .md, .csv or .tex."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare restored films with the true ones: PSNR, SSIM, flicker, landmarks, identity.

    Without true films: sharpness, flicker and steadiness of faces. Folders are paired by name.
    With --dataset: a table of methods beside published numbers. Every term is defined in
    docs/evaluation.md.
    """
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.evaluation.evaluate import evaluate
        from facerestore.evaluation.pairs import film_pairs
        from facerestore.evaluation.scores import check_file

        check_use(out, dataset, mask, table)
        check_file(films_csv, "--csv", overwrite=overwrite)
        alone = ref is None and dataset is None
        instruments = loader(device, reporter, alone=alone, verbose=verbose)

        def measure(out: Path, ref: Path | None) -> Scores:
            how = {"region": region.value, "mask": mask, "size": size}
            return evaluate(out, ref, **how, instruments=instruments, listen=reporter.step)

        def measure_all(pairs: list[tuple[Path, Path | None]]) -> tuple[list[Scores], int]:
            return evaluate_all(pairs, measure, reporter, verbose=verbose)

        if dataset is None:
            assert out is not None
            done, code = measure_all(film_pairs(out, ref))
            show(done, reporter)
        else:
            check_file(table, "--table", overwrite=overwrite)
            writer = writer_of(table)
            lines, done, code = measure_dataset(dataset, measure_all)
            how = {"region": region.value, "size": size, "device": device}
            tell_table(lines, table, writer, reporter, overwrite=overwrite, as_json=as_json, **how)
        if films_csv is not None and done:
            from facerestore.evaluation.scores import write_csv

            write_csv(films_csv, done, overwrite=overwrite)
        return code

    raise typer.Exit(guarded(job, None, reporter, verbose=verbose))


def check_use(
    out: Path | None, dataset: Path | None, mask: Path | None, table: Path | None
) -> None:
    """Raise UsageError for arguments that do not go together."""
    from facerestore.errors import UsageError

    if (out is None) == (dataset is None):
        raise UsageError("name a restored film OUT, or --dataset FOLDER; one of them")
    if dataset is not None and mask is not None:
        raise UsageError("--mask is one film's; leave it out with --dataset")
    if dataset is None and table is not None:
        raise UsageError("--table is for --dataset; --csv writes the numbers of films")


def writer_of(table: Path | None) -> Callable[[Table], str]:
    """How the table is written; Markdown where no file is named."""
    from facerestore.evaluation.tables import as_markdown, writer_for

    return as_markdown if table is None else writer_for(table)


def measure_dataset(
    folder: Path, measure_all: Callable[[list[tuple[Path, Path | None]]], tuple[list[Scores], int]]
) -> tuple[list[Line], list[Scores], int]:
    """Lines of methods all of whose films could be measured, the films, and the exit code."""
    from facerestore.evaluation.dataset import find_entries, line_of

    lines: list[Line] = []
    films: list[Scores] = []
    codes: list[int] = []
    for entry in find_entries(folder):
        done, code = measure_all(entry.pairs)
        films += done
        codes.append(code)
        if code == INTERRUPTED:
            return lines, films, code
        if code == 0:  # a mean over fewer films flatters
            lines.append(line_of(entry, done))
    return lines, films, FAILED * any(codes)


def tell_table(
    lines: list[Line],
    table: Path | None,
    writer: Callable[[Table], str],
    reporter: Reporter,
    *,
    region: str,
    size: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the table to its file, else to stdout; as JSON a line each."""
    from dataclasses import asdict

    from facerestore.evaluation.dataset import hardware_of, table_of
    from facerestore.evaluation.scores import write_text
    from facerestore.models.device import choose_device

    if not lines:
        return
    hardware = hardware_of(choose_device(device))
    made = table_of(lines, region=region, size=size, hardware=hardware)
    if as_json:
        for number, line in enumerate(made.lines):
            reporter.row(asdict(line), first=not number)
        reporter.tell(None, {"protocol": made.words})
    if table is not None:
        write_text(table, writer(made), overwrite=overwrite)
    elif not as_json:
        reporter.close()
        sys.stdout.write(writer(made))


def loader(
    device: str, reporter: Reporter, *, alone: bool = False, verbose: bool = False
) -> Callable[[], Instruments]:
    """Loads the instruments when they are first wanted, and says which are missing."""

    @cache
    def load() -> Instruments:
        from facerestore.evaluation.evaluate import load_instruments

        instruments = load_instruments(device, alone=alone)
        if verbose or len(instruments.missing) <= 1:
            for text in instruments.missing:
                reporter.note(text)
        else:
            names = ", ".join(re.split(" (?:is|are) not", text)[0] for text in instruments.missing)
            reporter.note(f"not measured: {names} (--verbose says what they need)")
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


def show(done: list[Scores], reporter: Reporter) -> None:
    """Show the scores of the films that could be compared."""
    from facerestore.console_grid import Grid
    from facerestore.evaluation.scores import mean_scores

    if not done:
        return
    look = Grid("film", COLUMNS, PARTS)
    rows = [{"film": scores.out.name, **scores.as_dict()} for scores in done]
    reporter.grid(rows, {"film": f"mean of {len(done)}", **mean_scores(done)}, look)
