"""The job: one film in, the same film out with its faces restored.

    survey          where every face is, in every frame (numbers only)
    cropped         a second pass cuts the faces out
    restored_faces  the model restores them, chunk by chunk
    write_film      a third, trailing pass pastes them and writes, segment by segment; if asked for,
                    the whole frame is sharpened or coloured before (`Painter`)

Three readers of the same film instead of one: decoding costs little, and memory then depends on
the length of a chunk, never on the film's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import facerestore
from facerestore.background import Painter
from facerestore.clips import restored_faces
from facerestore.errors import BadInputError, DoneError
from facerestore.faces.paste import make_patch
from facerestore.options import RestoreOptions, Tools, load_tools
from facerestore.people import People, chosen_guard
from facerestore.places import page_path, sidecar_path
from facerestore.plan import least_bytes, look, plan_output, warnings_of
from facerestore.record import (
    Result,
    changed,
    check_not_done,
    check_unchanged,
    job_of,
    read_sidecar,
    write_sidecar,
)
from facerestore.video.layout import colour_format, with_chroma
from facerestore.video.output import atomic, check_room
from facerestore.video.planes import blend
from facerestore.video.profiles import choose_encoding
from facerestore.video.reader import Film, open_video
from facerestore.video.simple import X264, write_rgb_into
from facerestore.video.writer import copy_into, written
from facerestore.work import opened_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.clips import FaceCrop
    from facerestore.survey import Step, Survey
    from facerestore.video.layout import Layout
    from facerestore.video.profiles import Encoding
    from facerestore.video.reader import VideoFrame
    from facerestore.work import Work

SEGMENT_FRAMES = 48  # and more, up to the end of a chunk: short ones cost time and space


@dataclass(frozen=True)
class Run:
    """One film on its way through the program.

    target: the film as it will be;  job: all that decides the output, see `job_of`
    begin:  on the monotonic clock, in seconds
    """

    film: Film
    target: Film
    output: Path
    options: RestoreOptions
    tools: Tools
    encoding: Encoding
    job: dict[str, Any]
    listen: Callable[[Step], None]
    begin: float

    @property
    def note(self) -> str:
        """The tag that names the tool and what it did."""
        version, model = facerestore.__version__, self.tools.model["name"]
        behind = self.tools.background
        more = "" if behind is None or self.film.info.hdr else f", background {behind.path.stem}"
        return f"facerestore {version}: {self.options.tasks} ({model}){more}"


def restore(
    source: Path,
    output: Path | None = None,
    options: RestoreOptions | None = None,
    *,
    name: str | None = None,
    tools: Callable[[], Tools] | None = None,
    listen: Callable[[Step], None] = lambda step: None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Restore one film and write its sidecar; what is begun is kept for the next call, hidden.

    output: file or folder;  None = `NAME.restored.EXT` beside the source
    name:   in that folder, without the suffix;  None = as the source
    tools:  called once the film is known to be readable; None = `load_tools(options)`
    say:    told what the user should know before the end
    Raises the errors of `facerestore.errors`; DoneError where the output is there already.
    """
    begin = time.monotonic()
    options = options or RestoreOptions()
    film = open_video(Path(source))
    output = plan_output(film, output, options, name)
    loaded = tools() if tools else load_tools(options)
    chosen_guard(options, loaded)  # looking takes long; what is impossible should be said before
    target = with_room_for_colour(film, options, loaded)
    encoding = choose_encoding(target.info, options.profile, suffix=output.suffix)
    job = job_of(film.info.path, options, loaded, encoding, read_sidecar(output))
    run = Run(film, target, output, options, loaded, encoding, job, listen, begin)
    try:
        if not options.overwrite:
            check_not_done(output, job)
    except DoneError:
        if options.report and not page_path(output).exists():
            found = look(film, loaded.detector, options, listen)
            page_beside(film, output, found, loaded, listen, say)
        raise
    with opened_work(output, job, resume=options.resume, keep=options.keep_work, say=say) as work:
        if not options.overwrite:
            check_not_done(output, job)  # another process may just have finished
        if not work.frames:
            check_room(work.folder, least_bytes(film, options, encoding))
        found = work.survey(film, lambda: look(film, loaded.detector, options, listen))
        with atomic(
            output,
            film.info.path,
            overwrite=options.overwrite,
            folder=work.folder,
            sidecar=sidecar_path(output),
        ) as part:
            result = make(run, part, found, work)
            write_sidecar(part, result, job)
            check_unchanged(film.info.path, job)
            work.lease.check()
    if options.report:
        warnings = page_beside(film, output, result.survey, loaded, listen, say)
        result = replace(result, warnings=(*result.warnings, *warnings))
    return result


def page_beside(
    film: Film,
    output: Path,
    found: Survey,
    tools: Tools,
    listen: Callable[[Step], None],
    say: Callable[[str], None],
) -> list[str]:
    """Write the report page of an output that is there; returns warnings where it cannot be."""
    from facerestore.report.report import report_on

    page, warnings = report_on(film, output, found, tools, listen)
    if not warnings:
        say(f"report: {page}")
    return warnings


def make(run: Run, part: Path, found: Survey, work: Work) -> Result:
    """Write the new film into a part file."""
    film, options, looked = run.film, run.options, time.monotonic()
    warnings = warnings_of(film, found, options, run.tools)
    nobody = film.info.hdr or not found.tracks
    if nobody and options.crop_only:
        raise BadInputError(
            f"{film.info.path}: no face to write with --crop-only; leave the option out"
        )
    people = People(replace(found, tracks=(), paths=()) if nobody else found, run.tools, options)
    painter = None
    if run.tools.background is not None and not film.info.hdr:
        painter = Painter(film, run.tools.background, found, run.listen)
    encoder: dict[str, Any] = {"codec": run.encoding.codec, **run.encoding.options}
    part_only = options.start_seconds is not None or options.end_seconds is not None
    if nobody and painter is None and not part_only:
        encoder = {"codec": "copy"}
        warnings += copy_into(film, part, note=run.note)
    elif options.crop_only:
        encoder = {"codec": "libx264", **X264}
        warnings += write_crops(run, part, people)
    else:
        warnings += write_film(run, part, people, painter, work)
    seconds = {
        "looking": round(looked - run.begin, 3),
        "model": round(people.seconds, 3),
        "background": round(painter.seconds, 3) if painter else 0.0,
        "total": round(time.monotonic() - run.begin, 3),
    }
    return Result(
        source=film.info.path,
        output=run.output,
        frames=found.n_frames,
        survey=found,
        faces=tuple(changed(found, people)),
        warnings=(*warnings, *people.warnings(), *(painter.warnings() if painter else [])),
        seconds=seconds,
        cost=people.cost,
        encoder=encoder,
        background_cost=painter.cost if painter else 0,
    )


def write_film(
    run: Run, part: Path, people: People, painter: Painter | None, work: Work
) -> list[str]:
    """Paste the faces of each frame into it and encode it, from where the work stands.

    Returns warnings.
    """
    film, options = run.film, run.options
    overlap = work.known(people, painter)
    listen = painter.hear if painter else run.listen
    pieces = restored_faces(film, people, options, listen, first=work.frames, overlap=overlap)
    frames = enumerate(film.frames(options.start_seconds, options.end_seconds))
    frames = islice(frames, work.frames, None)
    with written(
        run.target,
        part,
        encoding=run.encoding,
        folder=work.folder,
        note=run.note,
        start_seconds=options.start_seconds,
        end_seconds=options.end_seconds,
    ) as sink:
        for piece in pieces:
            for faces in piece.faces:
                number, frame = next(frames)
                if run.target is not film:
                    frame = with_chroma(frame)
                before = painter.paint(frame, number) if painter else None
                sink.write(paste(frame, faces, run, before))
            if sink.waiting >= SEGMENT_FRAMES:
                work.keep(sink, people, piece.overlap, painter)
                check_room(work.folder, sink.stored_bytes)  # the film to be joined
    return sink.warnings


def with_room_for_colour(film: Film, options: RestoreOptions, tools: Tools) -> Film:
    """The film as it is written: a grey one that is to be coloured gets chroma planes."""
    colours = options.tasks.color or (tools.background is not None and tools.background.colours)
    if not (colours and film.info.pix_fmt.startswith("gray")):
        return film
    return Film(replace(film.info, pix_fmt=colour_format(film.info.pix_fmt)))


def paste(
    frame: VideoFrame, faces: list[FaceCrop], run: Run, before: Layout | None = None
) -> VideoFrame:
    """The frame with its faces blended in, in place, in its own planes.

    before: its samples as the film has them, where a background has changed it; the faces were cut
    from those, and under them the background goes, except for its colours where faces get none
    """
    if not faces:
        return frame
    frame.make_writable()
    options, behind = run.options, run.tools.background
    coloured = behind is not None and behind.colours and not options.tasks.color
    for face in faces:
        patch = make_patch(
            face.restored,
            face.source,
            options.tasks,
            holes=face.holes,
            skin=face.skin,
            strength=options.strength * face.strength,
        )
        if before is not None and coloured:
            patch = replace(patch, chroma=np.zeros_like(patch.chroma))
        to_coded = run.film.info.to_coded
        blend(frame, patch, face.matrix, to_coded=to_coded, field=face.field, film=before)
    return frame


def write_crops(run: Run, part: Path, people: People) -> list[str]:
    """The restored squares alone, as a film of their own with the frames' times; warnings."""
    film, options = run.film, run.options
    pieces = restored_faces(film, people, options, run.listen)
    faces = (found for piece in pieces for found in piece.faces)
    frames = film.frames(options.start_seconds, options.end_seconds)
    pairs = ((f.pts, found[0]) for f, found in zip(frames, faces, strict=True) if found)
    times, pictures = tee(pairs)
    write_rgb_into(
        part,
        (face.restored for _, face in pictures),
        pts=(pts or 0 for pts, _ in times),
        time_base=film.info.time_base,
        rate=film.info.rate,
    )
    if film.info.other:
        return ["--crop-only writes the picture alone: no sound, no other streams"]
    return []
