"""The job: one film in, the same film out with its faces restored.

    survey          where every face is, in every frame (numbers only)
    cropped         a second pass cuts the faces out
    restored_faces  the model restores them, chunk by chunk
    restore         a third, trailing pass pastes them and writes

Three readers of the same film instead of one: decoding costs little, and memory then depends on
the length of a chunk, never on the film's.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import repeat, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import facerestore
from facerestore.clips import restored_faces
from facerestore.errors import BadInputError
from facerestore.faces.paste import make_patch
from facerestore.options import RestoreOptions, Tools, load_tools
from facerestore.people import People, chosen_guard
from facerestore.plan import look, plan_output, warnings_of
from facerestore.record import Result, changed, write_sidecar
from facerestore.video.layout import colour_format, with_chroma
from facerestore.video.planes import blend
from facerestore.video.reader import Film, open_video
from facerestore.video.simple import X264, write_rgb
from facerestore.video.writer import copy_film, create_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facerestore.clips import FaceCrop
    from facerestore.survey import Step
    from facerestore.video.reader import VideoFrame


def restore(
    source: Path,
    output: Path | None = None,
    options: RestoreOptions | None = None,
    *,
    tools: Callable[[], Tools] | None = None,
    listen: Callable[[Step], None] = lambda step: None,
) -> Result:
    """Restore one film and write its sidecar; nothing is left behind where that fails.

    output: None = `NAME.restored.EXT` beside the source
    tools:  called once the film is known to be readable; None = `load_tools(options)`
    Raises the errors of `facerestore.errors`.
    """
    begin = time.monotonic()
    options = options or RestoreOptions()
    film = open_video(Path(source))
    output = plan_output(film, output, options)
    loaded = tools() if tools else load_tools(options)
    chosen_guard(options, loaded)  # looking takes long; what is impossible should be said before
    found = look(film, loaded.detector, options, listen)
    looked = time.monotonic()
    warnings = warnings_of(film, found, options, loaded)
    cost = loaded.restorer.cost
    people = People(found, loaded, options)
    note = f"facerestore {facerestore.__version__}: {options.tasks} ({loaded.model['name']})"
    encoder: dict[str, Any] = {"codec": "copy"}
    whole = options.start_seconds is None and options.end_seconds is None
    alone = film.info.hdr or not found.tracks
    if alone and options.crop_only:
        raise BadInputError(f"{source}: no face to write with --crop-only; leave the option out")
    if alone and whole:
        warnings += copy_film(film, output, note=note, overwrite=options.overwrite)
    elif options.crop_only:
        write_crops(film, output, restored_faces(film, people, options, listen), options)
        encoder = {"codec": "libx264", **X264}
        if film.info.other:
            warnings.append("--crop-only writes the picture alone: no sound, no other streams")
    else:
        faces = restored_faces(film, people, options, listen)
        if alone:
            faces = repeat([], found.n_frames)
        encoder = write_film(film, output, faces, options, note, warnings)
    warnings += people.warnings()
    seconds = {
        "looking": round(looked - begin, 3),
        "model": round(people.seconds, 3),
        "total": round(time.monotonic() - begin, 3),
    }
    result = Result(
        source=film.info.path,
        output=output,
        frames=found.n_frames,
        survey=found,
        faces=tuple(changed(found, people)),
        warnings=tuple(warnings),
        seconds=seconds,
        cost=loaded.restorer.cost - cost,
        encoder=encoder,
    )
    write_sidecar(result, options, loaded)
    return result


def write_film(
    film: Film,
    output: Path,
    faces: Iterator[list[FaceCrop]],
    options: RestoreOptions,
    note: str,
    warnings: list[str],
) -> dict[str, Any]:
    """Paste the faces of each frame into it and encode it; returns what encoded it."""
    colour = options.tasks.color and film.info.pix_fmt.startswith("gray")
    target = Film(replace(film.info, pix_fmt=colour_format(film.info.pix_fmt))) if colour else film
    with create_like(
        target,
        output,
        profile=options.profile,
        note=note,
        start_seconds=options.start_seconds,
        end_seconds=options.end_seconds,
        overwrite=options.overwrite,
    ) as sink:
        frames = film.frames(options.start_seconds, options.end_seconds)
        for frame, pasted in zip(frames, faces, strict=True):
            sink.write(paste(with_chroma(frame) if colour else frame, pasted, film, options))
    warnings += sink.warnings
    return {"codec": sink.encoding.codec, **sink.encoding.options}


def paste(
    frame: VideoFrame, faces: list[FaceCrop], film: Film, options: RestoreOptions
) -> VideoFrame:
    """The frame with its faces blended in, in place, in its own planes."""
    if not faces:
        return frame
    frame.make_writable()
    for face in faces:
        patch = make_patch(
            face.restored,
            face.source,
            options.tasks,
            holes=face.holes,
            landmarks=face.landmarks,
            strength=options.strength * face.strength,
        )
        blend(frame, patch, face.matrix, to_coded=film.info.to_coded, field=face.field)
    return frame


def write_crops(
    film: Film, output: Path, faces: Iterator[list[FaceCrop]], options: RestoreOptions
) -> None:
    """The restored squares alone, as a film of their own with the frames' times."""
    frames = film.frames(options.start_seconds, options.end_seconds)
    pairs = ((f.pts, found[0]) for f, found in zip(frames, faces, strict=True) if found)
    times, pictures = tee(pairs)
    write_rgb(
        output,
        (face.restored for _, face in pictures),
        pts=(pts or 0 for pts, _ in times),
        time_base=film.info.time_base,
        rate=film.info.rate,
        overwrite=options.overwrite,
    )
