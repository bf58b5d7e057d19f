"""The commands: parse, call, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, Any

import typer

from facerestore import cli_checks, cli_compare, cli_evaluate, cli_models, cli_serve, cli_train
from facerestore.cli_options import (
    Background,
    CropOnly,
    Device,
    End,
    Faces,
    FilesFrom,
    Films,
    IdentityGuard,
    Inputs,
    Json,
    KeepWork,
    Mask,
    MaxVram,
    MemoryLimit,
    Mode,
    Model,
    Out,
    Overwrite,
    Profile,
    Profiles,
    Quiet,
    Ray,
    ReferencePhoto,
    Report,
    Resume,
    Sandbox,
    Shard,
    StallLimit,
    Start,
    Steps,
    Task,
    Verbose,
)
from facerestore.running import KEPT, STOPPED, guarded, look_all, restore_all, seconds_from

Misused: Any = typer.BadParameter.__bases__[0]  # click's UsageError, which Typer does not export

app = typer.Typer(
    name="facerestore",
    help="Restore the faces in a film and leave everything else untouched.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich would take most of the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def restore(
    inputs: Inputs = None,
    out: Out = None,
    files_from: FilesFrom = None,
    task: Task = "bfr",
    model: Model = None,
    mask: Mask = None,
    reference: ReferencePhoto = None,
    background: Background = None,
    faces: Annotated[Faces, typer.Option(help="Everybody, or the largest face only.")] = Faces.all,
    strength: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="1 = as restored, 0 = as the source.")
    ] = 1.0,
    steps: Steps = None,
    mode: Mode = "exact",
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same film.")
    ] = 0,
    profile: Profiles = Profile.share,
    start: Start = None,
    end: End = None,
    crop_only: CropOnly = False,
    device: Device = "auto",
    max_vram: MaxVram = None,
    identity_guard: IdentityGuard = None,
    overwrite: Overwrite = False,
    resume: Resume = True,
    keep_work: KeepWork = False,
    report: Report = False,
    shard: Shard = None,
    ray: Ray = None,
    sandbox: Sandbox = None,
    memory_limit: MemoryLimit = None,
    stall_limit: StallLimit = 1800.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at the films and say what would be done.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Restore the faces of whole films; sound, timing and everything else stay as they are.

    Matroska rounds timestamps to 1 ms; MP4 and MOV keep them exactly.
    """
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.batch import report_path
        from facerestore.errors import UsageError
        from facerestore.films import find_jobs, share
        from facerestore.frames import Tasks
        from facerestore.options import RestoreOptions
        from facerestore.sandbox import Limits

        options = RestoreOptions(
            tasks=Tasks.parse(task),
            model=model,
            mask=mask,
            reference=reference,
            background=background,
            faces=faces.value,
            strength=strength,
            steps=steps,
            mode=mode,
            seed=seed,
            profile=profile.value,
            start_seconds=seconds_from(start),
            end_seconds=seconds_from(end),
            crop_only=crop_only,
            device=device,
            max_vram=max_vram,
            identity_guard=identity_guard,
            overwrite=overwrite,
            resume=resume,
            keep_work=keep_work,
            report=report,
        )
        jobs = find_jobs(inputs or [], out, files_from)
        batch = len(jobs) > 1 or jobs[0].name is not None
        apart = batch if sandbox is None else sandbox
        jobs = share(jobs, shard)
        if not jobs:
            reporter.note(f"--shard {shard}: there are not so many films; nothing to do")
            return 0
        if dry_run and ray is not None:
            raise UsageError("--dry-run looks at films on this machine; leave --ray out")
        if dry_run:
            return look_all(jobs, options, reporter, verbose=verbose)
        return restore_all(
            jobs,
            options,
            reporter,
            limits=Limits(memory_limit, stall_limit) if apart else None,
            report=report_path(out, shard) if batch else None,
            ray=ray,
            verbose=verbose,
        )

    leave(guarded(job, None, reporter, verbose=verbose, stopped=STOPPED if dry_run else KEPT))


@app.command()
def inspect(
    inputs: Films,
    model: Model = None,
    mode: Mode = "exact",
    profile: Profiles = Profile.share,
    start: Start = None,
    end: End = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show streams, shots and faces of films, what restore would do and how long it takes."""
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=as_json, quiet=quiet)

    def job() -> int:
        from facerestore.films import Job
        from facerestore.options import RestoreOptions

        options = RestoreOptions(
            model=model,
            mode=mode,
            profile=profile.value,
            start_seconds=seconds_from(start),
            end_seconds=seconds_from(end),
            device=device,
            overwrite=True,
        )
        jobs = [Job(path) for path in inputs]
        return look_all(jobs, options, reporter, verbose=verbose)

    leave(guarded(job, None, reporter, verbose=verbose))


app.command()(cli_checks.doctor)
app.command()(cli_checks.bench)
app.command()(cli_evaluate.evaluate)
app.command()(cli_compare.compare)
app.command()(cli_serve.serve)
app.command()(cli_train.degrade)
app.add_typer(cli_train.app, name="train")
app.add_typer(cli_models.app, name="models")


def leave(code: int) -> None:
    """End the command with an exit code."""
    raise typer.Exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from facerestore import __version__

        sys.stdout.write(f"facerestore {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Restore the faces in a film and leave everything else untouched."""


def main() -> Any:
    """Entry point of the `facerestore` command."""
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints its settings otherwise
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be in any encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
    closed = getattr(signal, "SIGHUP", None)  # the terminal is gone; Windows has no such signal
    if closed is not None and signal.getsignal(closed) is signal.SIG_DFL:  # not under nohup
        signal.signal(closed, signal.default_int_handler)
    try:
        sys.exit(app(standalone_mode=False))
    except Misused as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the whole help, not a sentence
            error.show()
        else:
            command = error.ctx.command_path if error.ctx else "facerestore"
            text = error.format_message().removesuffix(".").replace(": Value error, ", ": ")
            text = f"{text.replace(': Input should be', ': should be')}; see: {command} --help"
            sys.stderr.write(f"error: {text}\n")
        sys.exit(error.exit_code)
