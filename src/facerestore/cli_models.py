"""`facerestore models`: list, verify, fetch, convert, check and remove models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerestore.cli_options import Json, Verbose
from facerestore.running import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.console import Reporter

app = typer.Typer(
    help="List, fetch, convert and check models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="mini, svfr, or a model folder.")]


def run(job: Callable[[Reporter], int], *, as_json: bool = False, verbose: bool = False) -> None:
    """Run a job with a reporter and end with its exit code."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=False)
    raise typer.Exit(guarded(lambda: job(reporter), None, reporter, verbose=verbose))


@app.command("list")
def list_models(as_json: Json = False, verbose: Verbose = False) -> None:
    """Show the models that are here."""

    def job(reporter: Reporter) -> int:
        from facerestore.models.files import present
        from facerestore.models.zoo import installed

        for model in [*installed(), *present()]:
            facts = vars(model) | {"size_mib": round(model.size_bytes / 2**20, 1)}
            facts.pop("size_bytes")
            reporter.tell(None, facts)
        return 0

    run(job, as_json=as_json, verbose=verbose)


@app.command()
def path(name: Name) -> None:
    """Print the folder of a model."""

    def job(reporter: Reporter) -> int:
        from facerestore.models.checkpoint import find_model

        sys.stdout.write(f"{find_model(name)}\n")
        return 0

    run(job)


@app.command()
def verify(name: Name, as_json: Json = False) -> None:
    """Check every file of a model against its sum."""

    def job(reporter: Reporter) -> int:
        from facerestore.models.checkpoint import find_model
        from facerestore.models.checkpoint import verify as check

        folder = find_model(name)
        config = check(folder)
        reporter.tell(folder, {"model": config.name, "version": config.version, "whole": True})
        return 0

    run(job, as_json=as_json)


@app.command()
def remove(name: Name) -> None:
    """Delete a downloaded model."""

    def job(reporter: Reporter) -> int:
        from facerestore.models.zoo import remove as delete

        reporter.tell(None, {"removed": delete(name)})
        return 0

    run(job)


@app.command()
def pull(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept the terms of the weights without being asked.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Fetch svfr (about 4 GB), gfpgan, codeformer, realesrgan, ddcolor (1 GB) or i3d.

    Broken downloads go on where they stopped.
    """

    def job(reporter: Reporter) -> int:
        from facerestore.models.files import FILES, pull_file
        from facerestore.models.zoo import pull as pull_model

        def accept(terms: str) -> bool:
            sys.stderr.write(f"{terms}\n\n")
            return yes or (sys.stdin.isatty() and typer.confirm("Do you accept?", err=True))

        def tell(text: str) -> None:
            sys.stderr.write(f"{text}\n")

        fetch = pull_file if name in FILES else pull_model
        folder = fetch(name, accept=accept, tell=tell)
        reporter.tell(folder, {"model": name, "folder": folder})
        return 0

    run(job, as_json=as_json, verbose=verbose)


@app.command()
def convert(
    target: Annotated[Path, typer.Argument(help="The model folder to make.")],
    unet: Annotated[Path, typer.Option(help="The authors' unet.pth.")],
    id_linear: Annotated[Path, typer.Option(help="The authors' id_linear.pth.")],
    arcface: Annotated[Path, typer.Option(help="insightface_glint360k.pth.")],
    svd: Annotated[Path, typer.Option(help="A Stable Video Diffusion folder (its vae/ is used).")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a model folder of the authors' files."""

    def job(reporter: Reporter) -> int:
        from facerestore.models.convert import convert as make
        from facerestore.models.convert import find_vae

        vae, vae_config = find_vae(svd)
        config = make(
            unet=unet,
            id_linear=id_linear,
            arcface=arcface,
            vae=vae,
            vae_config=vae_config,
            target=target,
            overwrite=overwrite,
        )
        reporter.tell(target, {"model": config.name, "folder": target})
        return 0

    run(job, as_json=as_json, verbose=verbose)


@app.command()
def selfcheck(
    folder: Annotated[Path, typer.Argument(help="Recorded models and numbers (docs/parity.md).")],
    float64: Annotated[
        bool, typer.Option("--float64", help="Compute in double precision.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Compare this implementation with numbers recorded from the released code."""

    def job(reporter: Reporter) -> int:
        import torch

        from facerestore.errors import FaceRestoreError
        from facerestore.models.parity import selfcheck as checks

        done: list[Any] = []
        for check in checks(folder, exactness=torch.float64 if float64 else torch.float32):
            done.append(check)
            reporter.row(check.as_dict(), first=len(done) == 1)
        failed = [check for check in done if not check.passed]
        if failed:
            worst = failed[0]
            raise FaceRestoreError(
                f"{folder}: {len(failed)} of {len(done)} checks failed, the first: {worst.case} "
                f"is off by {worst.error:.2g}, allowed {worst.tolerance:.2g}"
            )
        return 0

    run(job, as_json=as_json, verbose=verbose)
