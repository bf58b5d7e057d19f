"""The report page of two films, top to bottom.

survey    shots and faces of the film as it was (restore has looked already)
gather    one pass over both films: numbers, film strips, stacking pictures
film_for  the films themselves, or small copies, for the player
write     one HTML file that needs nothing else
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerestore.errors import BadInputError, UsageError
from facerestore.evaluation.pairs import open_pair
from facerestore.faces.guard import FLOOR
from facerestore.places import page_path
from facerestore.record import FORMAT, read_sidecar
from facerestore.report.gather import Instruments, gather
from facerestore.report.media import film_for
from facerestore.report.notes import notes_on
from facerestore.report.page import html_of, page_facts
from facerestore.report.persons import recognised, recorded
from facerestore.survey import Step, survey
from facerestore.video.output import atomic, check_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.frames import Bytes, Floats
    from facerestore.options import Tools
    from facerestore.report.persons import Part
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

    Listener = Callable[[Step], None]


@dataclass(frozen=True)
class Job:
    """Two films and where their page goes.

    before, after: the film as it was, and as it is now
    record: the sidecar of `after` where it was made of `before`, else {}
    """

    before: Film
    after: Film
    page: Path
    record: dict[str, Any]
    overwrite: bool = False

    @property
    def part(self) -> Part:
        """First and last second of `before` that `after` shows."""
        options = self.record.get("options", {})
        return options.get("start_seconds"), options.get("end_seconds")

    @property
    def mask(self) -> Path | None:
        """The mask of inpainting, if it is still there."""
        mask = self.record.get("options", {}).get("mask")
        return Path(mask) if mask and Path(mask).is_file() else None


def load_instruments(device: str = "auto") -> Instruments:
    """Detector and, if a model that has it is installed, ArcFace; downloads nothing.

    Raises ModelError for broken weights, ResourceError where there is no such device.
    """
    from facerestore.evaluation.networks import load_identity
    from facerestore.faces.detect import load_detector
    from facerestore.models.device import choose_device

    network = load_identity(choose_device(device))
    if network is None:
        return Instruments(load_detector())

    def vectors(pictures: Bytes, landmarks: Floats) -> Floats:
        faces = network.look(list(pictures), list(landmarks))
        return network.vectors(faces).double().cpu().numpy()

    return Instruments(load_detector(), vectors)


def compare(
    before: Path,
    after: Path,
    page: Path | None = None,
    *,
    overwrite: bool = False,
    instruments: Callable[[], Instruments] = load_instruments,
    listen: Listener = lambda step: None,
) -> Path:
    """Write the report page of any two films of the same size; returns where it is.

    page: None = beside `after`, as `restore --report` names it
    instruments: loads or hands over what measures; called once both films are known to be sound
    Raises BadInputError for films that cannot be compared, UsageError where the page cannot be.
    """
    page = page_path(after) if page is None else page
    check_page(page, (before, after), overwrite=overwrite)
    new, old = open_pair(after, before)
    job = Job(old, new, page, record_of(new, old), overwrite)
    tools = instruments()
    found = survey(
        old,
        tools.detector,
        start_seconds=job.part[0],
        end_seconds=job.part[1],
        largest_only=job.record.get("options", {}).get("faces") == "largest",
        listen=listen,
    )
    write(job, found, tools, listen)
    return page


def report_on(
    before: Film, output: Path, found: Survey, tools: Tools, listen: Listener
) -> tuple[Path, list[str]]:
    """The page beside an output that was just made, and warnings: never an error.

    found: the survey that it was made with
    """
    from facerestore.video.reader import open_video

    page, restorer = page_path(output), tools.restorer
    try:
        after = open_video(output)
        job = Job(before, after, page, record_of(after, before), overwrite=True)
        vectors = restorer.vectors if restorer.has_identity else None
        write(job, found, Instruments(tools.detector, vectors), listen)
    except Exception as error:  # the film is done; a page about it must not undo that
        return page, [f"no report page ({error}); make it with: facerestore compare"]
    return page, []


def write(job: Job, found: Survey, instruments: Instruments, listen: Listener) -> None:
    """Gather everything and write the page; it appears when it is whole."""
    record, part = job.record, job.part
    people = recorded(found, record["faces"]) if record else recognised(job.before, found, part)
    gathered = gather(
        job.before,
        job.after,
        found,
        people,
        instruments,
        part=part,
        mask=job.mask,
        floor=FLOOR,
        listen=listen,
    )
    if not gathered.changed.count:
        raise BadInputError(
            f"{job.after.info.path}: no frame is shown at the time of one of "
            f"{job.before.info.path}; same film?"
        )
    notes = notes_on(gathered, record, job.before, job.after)
    job.page.parent.mkdir(parents=True, exist_ok=True)
    media = (
        film_for(job.before, job.page, "before", part, overwrite=job.overwrite),
        film_for(job.after, job.page, "after", overwrite=job.overwrite),
    )
    facts = page_facts((job.before, job.after), media, found, people, gathered, notes, record)
    with atomic(job.page, job.before.info.path, overwrite=job.overwrite) as place:
        place.write_text(html_of(facts), encoding="utf-8")


def check_page(page: Path, films: tuple[Path, ...], *, overwrite: bool) -> None:
    """Raise UsageError or ResourceError early where the page cannot be written."""
    if page.is_dir():
        raise UsageError(f"{page}: is a folder; name a file, as in -o {page / 'report.html'}")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{page}: browsers open pages that end in .html; name it so")
    if page.exists() and any(film.exists() and page.samefile(film) for film in films):
        raise UsageError(f"{page}: is one of the films; name another file")
    if page.exists() and not overwrite:
        raise UsageError(f"{page}: exists already; remove it or add --overwrite")
    check_place(page)


def record_of(after: Film, before: Film) -> dict[str, Any]:
    """The sidecar of `after` where it describes how it was made of `before`, else {}."""
    record = read_sidecar(after.info.path)
    if record is None or record.get("format") != FORMAT:
        return {}
    sizes = {"output": after.info.path, "input": before.info.path}
    same = all(
        record.get(name, {}).get("size") == path.stat().st_size for name, path in sizes.items()
    )
    return record if same else {}
