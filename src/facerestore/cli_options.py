"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Profile(StrEnum):
    """How the film is encoded again."""

    share = "share"
    archive = "archive"
    lossless = "lossless"
    small = "small"
    edit = "edit"


class Faces(StrEnum):
    """Whose faces are restored."""

    all = "all"
    largest = "largest"


Resume = Annotated[
    bool,
    typer.Option(help="Go on with what an interrupted run finished, and keep it on interruption."),
]
KeepWork = Annotated[
    bool, typer.Option("--keep-work", help="Keep the work folder when the film is finished.")
]
Films = Annotated[list[Path], typer.Argument(metavar="IN...", help="Films.")]
Inputs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IN...", help="Films, folders of films, or patterns: 'old/**/*.avi'"),
]
FilesFrom = Annotated[
    str | None, typer.Option(help="A file with the path of a film on each line; - = stdin.")
]
Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="The I-th of N parts of the films: 2/5")
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on this Ray cluster; auto = this machine's."),
]
Sandbox = Annotated[
    bool | None,
    typer.Option(
        "--sandbox/--no-sandbox",
        help="Restore in a process of its own, so that a crash costs one film; default: on for "
        "several films.",
        show_default=False,
    ),
]
MemoryLimit = Annotated[
    float | None,
    typer.Option(min=0.1, help="GiB for one film in the sandbox; default 4/5 of the machine's."),
]
StallLimit = Annotated[
    float,
    typer.Option(min=1.0, help="Seconds without progress until the sandbox gives a film up."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, or several: cuda:0,cuda:1")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="mini, svfr or a folder; to compare: classic, gfpgan, codeformer, restoreformer or a "
        "file; default svfr if a card fits it, else mini.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Report = Annotated[
    bool,
    typer.Option("--report", help="Write a page to look at beside each film: OUT.report.html"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more, as where an unexpected failure happened.")
]
Start = Annotated[str | None, typer.Option(help="From here: 90, 1:30 or 0:01:30.5")]
End = Annotated[str | None, typer.Option(help="Up to here (same forms).")]
Task = Annotated[
    str, typer.Option("--task", "-t", help="Any mix of bfr, color, inpaint, as in bfr,color")
]
Profiles = Annotated[
    Profile,
    typer.Option(
        help="share: H.264; archive: FFV1, lossless; lossless: H.264, lossless; small: AV1 or "
        "HEVC; edit: ProRes."
    ),
]
Mode = Annotated[
    str,
    typer.Option(
        help="svfr: exact (the released schedule) or fast (10 steps, a quarter of the work)."
    ),
]
MaxVram = Annotated[
    float | None, typer.Option(min=0.5, help="Use at most so many GiB of the card's memory.")
]
Mask = Annotated[
    Path | None,
    typer.Option(help="Picture or video, white where to fill; for task inpaint."),
]
Background = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Change the whole picture, too: realesrgan sharpens it, ddcolor colours it, or a file "
        "of weights; default: only the faces are touched.",
        show_default=False,
    ),
]
ReferencePhoto = Annotated[
    Path | None, typer.Option(help="A good picture of the person with the largest face.")
]
IdentityGuard = Annotated[
    str | None,
    typer.Option(help="off, warn or blend: what happens where a face becomes another (svfr)."),
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="Steps; default mini: 1, svfr: 50, then 30."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Output file; a folder where there are several films."),
]
CropOnly = Annotated[
    bool,
    typer.Option("--crop-only", help="Write the largest restored face as a square film."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
