"""`facerestore train` and `facerestore degrade`: make models, and something to try them on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from facerestore.cli_options import End, Json, Profile, Profiles, Quiet, Start, Task, Verbose
from facerestore.running import guarded, seconds_from

if TYPE_CHECKING:
    from facerestore.training.config import TrainConfig


class ConfigFirst(TyperGroup):
    """`train FILE.toml` is short for `train run FILE.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the command's name where the first word is none."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ConfigFirst,
    help="Train a model: train CONFIG.toml; or one of the commands below.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Severity(StrEnum):
    """How bad a film is made."""

    light = "light"
    medium = "medium"
    heavy = "heavy"


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML, as configs/mini.toml.")]
Data = Annotated[Path, typer.Option(help="Folder of the tar files that the configuration names.")]
Work = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the run; an earlier run there goes on. Default: runs/NAME (distill: "
        "runs/NAME-distilled) of NAME.toml."
    ),
]
MaxMinutes = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Train for so many minutes, then save and try the model on held-out clips (a minute "
        "or more). Go on another time.",
    ),
]
TrainDevice = Annotated[str, typer.Option(help="auto, cpu or cuda; several: accelerate launch")]


@app.command()
def run(
    config: Config,
    data: Data = Path(),
    work: Work = None,
    max_minutes: MaxMinutes = None,
    device: TrainDevice = "auto",
    verbose: Verbose = False,
) -> None:
    """Train, or go on training, and write a model folder that restore takes with -m."""
    from facerestore.training.config import read_config

    work = work or Path("runs") / config.stem

    def job(settings: TrainConfig) -> None:
        from facerestore.training.train import train

        train(settings, **_places(settings, config, data, work, max_minutes, device))

    _leave(lambda: job(read_config(config)), work, verbose=verbose)


@app.command()
def distill(
    config: Config,
    steps: Annotated[int, typer.Option(min=2, help="Steps the teacher takes.")] = 4,
    data: Data = Path(),
    work: Work = None,
    max_minutes: MaxMinutes = None,
    device: TrainDevice = "auto",
    verbose: Verbose = False,
) -> None:
    """Train a student that does the teacher's steps in one; network.start is the teacher."""
    from facerestore.training.config import read_config

    work = work or Path("runs") / f"{config.stem}-distilled"  # not where the teacher was trained

    def job(settings: TrainConfig) -> None:
        from facerestore.errors import UsageError
        from facerestore.training.distill import distillation, student_of
        from facerestore.training.networks import start
        from facerestore.training.train import train

        places = _places(settings, config, data, work, max_minutes, device)
        if places["start_folder"] is None:
            raise UsageError(f"{config}: network.start has to name the teacher's folder")
        teacher = start(settings, places["start_folder"])[0].eval().requires_grad_(False)
        train(student_of(settings), **places, draw=distillation(teacher, steps))

    _leave(lambda: job(read_config(config)), work, verbose=verbose)


def _places(
    settings: TrainConfig,
    config: Path,
    data: Path,
    work: Path,
    max_minutes: float | None,
    device: str,
) -> dict[str, Any]:
    """Arguments of `train`; a start folder is looked for beside the configuration, too."""
    name = settings.network.start
    folder = None if name == "fresh" else Path(name).expanduser()
    if folder is not None and not folder.exists() and (config.parent / folder).exists():
        folder = config.parent / folder
    return {
        "data": data,
        "work": work,
        "start_folder": folder,
        "max_minutes": float("inf") if max_minutes is None else max_minutes,
        "device": device,
        "listen": typer.echo,
    }


def _leave(job: Any, work: Path, *, verbose: bool) -> None:
    """Run the job, and end with its exit code."""
    from facerestore.console import choose_reporter

    def done() -> int:
        job()
        typer.echo(f"{work / 'model'}: try it with: restore FILM -m {work / 'model'}")
        return 0

    reporter = choose_reporter(as_json=False, quiet=False)
    stopped = "interrupted; the same command goes on from what was saved last"
    raise typer.Exit(guarded(done, None, reporter, verbose=verbose, stopped=stopped))


@app.command()
def prepare(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Films, pictures, folders.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tar files.")],
    size: Annotated[int, typer.Option(min=64, max=1024, help="px of the crops.")] = 256,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip.")] = 16,
    min_quality: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out clips below; 0.5 is a clear face.")
    ] = 0.0,
    validation: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the sources held out.")
    ] = 0.05,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Cut aligned face clips out of films and pictures, as tar files to train on."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=False)

    def job() -> int:
        from facerestore.faces.detect import load_detector
        from facerestore.running import FAILED
        from facerestore.training.prepare import Preparation
        from facerestore.training.prepare import prepare as make

        wish = Preparation(size, frames, min_quality, validation)
        count = make(inputs, out, wish, detector=load_detector(), listen=reporter.note)
        facts = {"train": count.train, "val": count.val, "below_min_quality": count.poor}
        reporter.tell(out, facts | {"failed": len(count.failed)})
        return FAILED if count.failed else 0

    raise typer.Exit(guarded(job, None, reporter, verbose=verbose))


def degrade(
    film: Annotated[Path, typer.Argument(metavar="IN", help="A good film.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bad film to make.")],
    task: Task = "bfr",
    severity: Annotated[
        Severity | None, typer.Option(help="How bad; default: drawn, as in training.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same seed makes the same film.")
    ] = 0,
    profile: Profiles = Profile.lossless,
    start: Start = None,
    end: End = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a bad film from a good one, to try and measure restoration; inpaint adds its mask."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.faces.detect import load_detector
        from facerestore.frames import Tasks
        from facerestore.training.spoil import degrade_film

        reporter.start(film)
        spoilt = degrade_film(
            film,
            out,
            Tasks.parse(task),
            detector=load_detector(),
            severity=severity and severity.value,
            seed=seed,
            profile=profile.value,
            start_seconds=seconds_from(start),
            end_seconds=seconds_from(end),
            overwrite=overwrite,
            listen=reporter.step,
        )
        reporter.tell(out, vars(spoilt))
        return 0

    raise typer.Exit(guarded(job, film, reporter, verbose=verbose))
