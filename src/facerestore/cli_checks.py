"""`facerestore doctor` and `facerestore bench`: is everything there, and how fast is it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerestore.cli_options import Device, Json, MaxVram, Mode, Model, Verbose
from facerestore.running import guarded


def doctor(
    folder: Annotated[Path, typer.Argument(help="With --clean: below which folder.")] = Path("."),
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete what interrupted runs left, and do no more.")
    ] = False,
    as_json: Json = False,
    device: Device = "auto",
    verbose: Verbose = False,
) -> None:
    """Check that everything the tool needs is there and works."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=False)

    def job() -> int:
        from facerestore.doctor import cleaned, examine

        if clean:
            reporter.tell(None, cleaned(folder))
            return 0
        checks = examine(device)
        reporter.tell(None, {"checks": [check.as_dict() for check in checks]})
        return max((check.exit_code for check in checks), default=0)

    raise typer.Exit(guarded(job, None, reporter, verbose=verbose))


def bench(
    film: Annotated[Path | None, typer.Argument(help="A film to time the other stages on.")] = None,
    model: Model = None,
    device: Device = "auto",
    steps: Annotated[int | None, typer.Option(min=1, max=100, help="Network passes.")] = None,
    mode: Mode = "exact",
    against: Annotated[
        str | None,
        typer.Option(help="released: SVFR as released in stock diffusers, then ours; ratios."),
    ] = None,
    width: Annotated[
        int, typer.Option(help="svfr with random weights: channels of the first level.")
    ] = 320,
    size: Annotated[
        int, typer.Option(min=64, help="svfr with random weights: px of the crops.")
    ] = 512,
    frames: Annotated[int, typer.Option(min=1, help="With --against: frames of the clip.")] = 64,
    max_vram: MaxVram = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure speed: face-frames per second of the model and, given a film, of every stage."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=False)

    def job() -> int:
        from facerestore.bench import Bench, measure
        from facerestore.bench_released import bench_released
        from facerestore.errors import UsageError

        wish = Bench(
            model=model,
            device=device,
            steps=steps,
            mode=mode,
            width=width,
            size=size,
            frames=frames,
            max_vram=max_vram,
        )
        if against is None:
            reporter.tell(film, measure(film, wish))
            return 0
        if against != "released":
            raise UsageError(f"--against {against}: only 'released' is known")
        reporter.tell(None, bench_released(wish))
        return 0

    raise typer.Exit(guarded(job, film, reporter, verbose=verbose))
