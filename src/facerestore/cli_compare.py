"""`facerestore compare`: two films side by side, as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerestore.cli_options import Device, Json, Overwrite, Quiet, Verbose
from facerestore.running import guarded


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="The film as it was.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The film as it is now.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page; B.report.html unless told.", metavar="PAGE"),
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show two films of the same size against each other, in one HTML page.

    The page is the one that restore --report writes; it needs no network.
    """
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.report.report import compare, load_instruments

        reporter.start(after)
        page = compare(
            before,
            after,
            out,
            overwrite=overwrite,
            instruments=lambda: load_instruments(device),
            listen=reporter.step,
        )
        reporter.note(f"report: {page}")
        return 0

    raise typer.Exit(guarded(job, after, reporter, verbose=verbose))
