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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import facerestore
from facerestore.clips import People, restored_faces
from facerestore.errors import UsageError
from facerestore.faces.paste import make_patch
from facerestore.frames import FaceClip, Tasks
from facerestore.masks import check_mask
from facerestore.record import changed, write_sidecar
from facerestore.survey import Step, Survey, survey
from facerestore.video.planes import blend, colour_format, with_chroma
from facerestore.video.profiles import PROFILES, SUFFIX_OF, choose_encoding
from facerestore.video.reader import Film, open_video
from facerestore.video.simple import write_rgb
from facerestore.video.writer import copy_film, create_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.video.frame import VideoFrame

    from facerestore.clips import FaceCrop
    from facerestore.faces.detect import Detector
    from facerestore.frames import Reference
    from facerestore.models.svfr import Restorer
    from facerestore.video.reader import FilmInfo

    Listener = Callable[[Step], None]
OTHER_SECONDS = 0.03  # a frame's share of looking, cutting, pasting and encoding, at 720p


@dataclass(frozen=True)
class RestoreOptions:
    """What to do to a film; every field is an option of `facerestore restore`.

    start_seconds, end_seconds: the part to restore, None = the whole film
    strength: 0..1;  steps: network passes per window, None = the model's own
    """

    tasks: Tasks = field(default_factory=lambda: Tasks(bfr=True))
    model: str = "mini"
    mask: Path | None = None
    reference: Path | None = None
    faces: str = "all"
    strength: float = 1.0
    steps: int | None = None
    seed: int = 0
    profile: str = "share"
    start_seconds: float | None = None
    end_seconds: float | None = None
    crop_only: bool = False
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength {self.strength} is outside 0..1")
        if self.profile not in PROFILES:
            raise UsageError(f"unknown profile '{self.profile}'; choose from {', '.join(PROFILES)}")
        if self.tasks.inpaint and self.mask is None:
            raise UsageError("task inpaint needs --mask: a picture or video, white where to fill")
        if self.mask is not None and not self.tasks.inpaint:
            raise UsageError("--mask is only used by task inpaint; add it to --task")
        start, end = self.start_seconds or 0.0, self.end_seconds
        if end is not None and end <= start:
            raise UsageError(f"the part from {start} s to {end} s is empty")


@dataclass(frozen=True)
class Tools:
    """What is loaded once for many films.

    restorer, detector: see there;  reference: the picture given by the user, if any
    model: name, version and sha256 of the weights, for the record
    """

    restorer: Restorer
    detector: Detector
    reference: Reference | None
    model: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What was done to one film.

    faces:   per face and shot: person, shot, first and last frame, crop squares
    seconds: looking, model, total;  cost: frames through the network, summed over passes
    """

    source: Path
    output: Path
    frames: int
    survey: Survey
    faces: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    cost: int
    encoder: dict[str, Any]

    def people(self) -> set[int]:
        """Numbers of the people whose face was restored."""
        return {face["person"] for face in self.faces}

    def summary(self) -> dict[str, Any]:
        """The result in a few words, for JSON lines."""
        return {
            "input": self.source,
            "output": self.output,
            "frames": self.frames,
            "shots": len(self.survey.shots),
            "people": len(self.people()),
            "warnings": self.warnings,
            "seconds": self.seconds,
        }


def load_tools(options: RestoreOptions) -> Tools:
    """Load model, detector and reference picture; raises ModelError and the like."""
    from facerestore.clips import reference_from
    from facerestore.faces.detect import load_detector
    from facerestore.models.checkpoint import find_model, load_model, read_config

    folder = find_model(options.model)
    config, sums = read_config(folder)
    detector = load_detector()
    restorer = load_model(folder, device=options.device)
    reference = None
    if options.reference is not None:
        reference = reference_from(options.reference, detector, size=restorer.size)
    model = {"name": config.name, "version": config.version, "sha256": sums}
    return Tools(restorer, detector, reference, model)


def restore(
    source: Path,
    output: Path | None = None,
    options: RestoreOptions | None = None,
    *,
    tools: Tools | None = None,
    listen: Listener = lambda step: None,
) -> Result:
    """Restore one film and write its sidecar; nothing is left behind where that fails.

    output: None = `NAME.restored.EXT` beside the source
    Raises the errors of `facerestore.errors`.
    """
    begin = time.monotonic()
    options = options or RestoreOptions()
    film = open_video(Path(source))
    output = plan_output(film, output, options)
    tools = tools or load_tools(options)
    found = look(film, tools.detector, options, listen)
    looked = time.monotonic()
    warnings = _warnings_of(film, found, options, tools)
    cost = tools.restorer.cost
    people = People(found, tools, options)
    note = f"facerestore {facerestore.__version__}: {options.tasks} ({tools.model['name']})"
    encoder: dict[str, Any] = {"codec": "copy"}
    if film.info.hdr or not found.tracks:
        warnings += copy_film(film, output, note=note, overwrite=options.overwrite)
    else:
        faces = restored_faces(film, people, options, listen)
        if options.crop_only:
            write_crops(film, output, faces, options)
        else:
            encoder = write_film(film, output, faces, options, note, warnings)
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
        faces=tuple(changed(found, people.numbers)),
        warnings=tuple(warnings),
        seconds=seconds,
        cost=tools.restorer.cost - cost,
        encoder=encoder,
    )
    write_sidecar(result, options, tools)
    return result


def plan_output(film: Film, output: Path | None, options: RestoreOptions) -> Path:
    """Where the result goes; raises UsageError early for what cannot be written.

    output: a file, a folder (there, the film keeps its name), or None = beside the source
    """
    source, suffix = film.info.path, ".mp4"
    folder = output is not None and (output.is_dir() or not output.suffix)
    if not options.crop_only:
        named = "" if output is None or folder else output.suffix
        encoding = choose_encoding(film.info, options.profile, suffix=named)
        suffix = SUFFIX_OF[encoding.container]
    if output is None:
        output = source.with_name(f"{source.stem}.restored{suffix}")
    elif folder:
        output = output / f"{source.stem}{suffix}"
    if output.exists() and output.samefile(source):
        raise UsageError(f"{output}: is the input itself; name another output")
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists already; remove it or add --overwrite")
    if options.mask is not None:
        check_mask(options.mask, film.info)
    return output


def plan(
    source: Path, output: Path | None, options: RestoreOptions, tools: Tools, *, listen: Listener
) -> dict[str, Any]:
    """Look at a film and say what `restore` would do, without writing anything."""
    film = open_video(source)
    target = plan_output(film, output, options)
    encoding = choose_encoding(film.info, options.profile, suffix=target.suffix)
    found = look(film, tools.detector, options, listen)
    summary = found.summary()
    seconds = summary["face_frames"] * seconds_per_face(tools.restorer, options)
    seconds += found.n_frames * OTHER_SECONDS
    copied = film.info.hdr or not found.tracks
    return {
        "input": source,
        "output": target,
        "picture": describe_picture(film.info),
        "other_streams": [vars(stream) for stream in film.info.other],
        **summary,
        "would": "copy all streams" if copied else f"restore {options.tasks}",
        "encoder": "copy" if copied else encoding.codec,
        "model": tools.model["name"],
        "detector": tools.detector.name,
        "expected_seconds": round(seconds, 1),
        "warnings": _warnings_of(film, found, options, tools),
    }


def seconds_per_face(restorer: Restorer, options: RestoreOptions) -> float:
    """Measured time of the model for one face in one frame, overlap of windows included."""
    frames = np.full((restorer.window, restorer.size, restorer.size, 3), 128, np.uint8)
    clip, times = FaceClip(frames, 0), []
    for _ in range(2):
        begin = time.monotonic()
        restorer.restore(clip, Tasks(bfr=True), None, seed=0, steps=options.steps)
        times.append(time.monotonic() - begin)
    return min(times) / restorer.window * 2


def describe_picture(info: FilmInfo) -> str:
    """`h264 1280x720 yuv420p 25 fps`, and what is special."""
    parts = [info.codec, f"{info.width}x{info.height}", info.pix_fmt, f"{float(info.rate):g} fps"]
    parts += [f"SAR {info.sar}"] * (info.sar != 1)
    parts += [f"rotated {info.rotation_degrees} degrees"] * bool(info.rotation_degrees)
    parts += ["interlaced"] * info.interlaced + ["HDR"] * info.hdr
    return " ".join(parts)


def look(film: Film, detector: Detector, options: RestoreOptions, listen: Listener) -> Survey:
    """The survey of the part of the film that the options name."""
    return survey(
        film,
        detector,
        start_seconds=options.start_seconds,
        end_seconds=options.end_seconds,
        largest_only=options.faces == "largest" or options.crop_only,
        listen=listen,
    )


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
            strength=options.strength,
        )
        blend(frame, patch, face.matrix, to_coded=film.info.to_coded, field=face.field)
    return frame


def write_crops(
    film: Film, output: Path, faces: Iterator[list[FaceCrop]], options: RestoreOptions
) -> None:
    """The restored squares alone, as a film of their own with the frames' times."""
    from itertools import tee

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


def _warnings_of(film: Film, found: Survey, options: RestoreOptions, tools: Tools) -> list[str]:
    words = film.troubles()
    left = found.ignored
    if left:
        words.append(
            f"faces left alone: {left.small} too small, {left.blurred} too blurred, "
            f"{left.short} too short"
        )
    if film.info.hdr:
        words.append("is HDR (PQ or HLG), which the model does not know: copied unchanged")
    elif not found.tracks:
        words.append("no face found: all streams copied unchanged")
    if options.tasks.color and found.tracks:
        words.append("colour is given to the faces only, not to the whole picture")
    if tools.reference is not None and len(found.tracks) > 1:
        words.append("the reference picture is used for the person with the largest face only")
    return words
