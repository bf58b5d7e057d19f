"""What a film is, what would be done to it, and where the result goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import UsageError
from facerestore.frames import FaceClip, Tasks
from facerestore.masks import check_mask
from facerestore.people import sides_of
from facerestore.places import sidecar_path
from facerestore.survey import Step, Survey, survey
from facerestore.video.output import check_place
from facerestore.video.profiles import SUFFIX_OF, choose_encoding
from facerestore.video.reader import Film, open_video
from facerestore.video.simple import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facerestore.faces.detect import Detector
    from facerestore.models.background import Background
    from facerestore.models.restorer import Restorer
    from facerestore.options import RestoreOptions, Tools
    from facerestore.video.profiles import Encoding
    from facerestore.video.reader import FilmInfo

    Listener = Callable[[Step], None]

SLOW_SECONDS = 0.5  # for one frame-forward: not worth a second measurement
LEAST_SHARE = 0.4  # of the input's size: `share` and `small` of an input of high quality
LEAST_SHARE_LOSSLESS = 0.1  # of the samples, FFV1 of a clean drawn film
OTHER_SECONDS = 0.03  # a frame's share of looking, cutting, pasting and encoding, at 720p


def plan_output(
    film: Film, output: Path | None, options: RestoreOptions, name: str | None = None
) -> Path:
    """Where the result goes; raises UsageError early for what cannot be written.

    output: a file, a folder, or None = beside the source
    name:   in that folder, without the suffix; None = the film keeps its name
    """
    source, suffix = film.info.path, ".mp4"
    folder = output is not None and (name is not None or output.is_dir() or not output.suffix)
    if not options.crop_only:
        named = "" if output is None or folder else output.suffix
        encoding = choose_encoding(film.info, options.profile, suffix=named)
        suffix = SUFFIX_OF[encoding.container]
    if output is None:
        output = source.with_name(f"{source.stem}.restored{suffix}")
    elif folder:
        output = output / f"{name or source.stem}{suffix}"
    if output.exists() and output.samefile(source):
        raise UsageError(f"{output}: is the input itself; name another output")
    if output.exists() and not options.overwrite and not sidecar_path(output).exists():
        raise UsageError(f"{output}: exists already; remove it or add --overwrite")
    check_place(output)
    if options.mask is not None:
        check_mask(options.mask, film.info)
    if options.reference is not None:
        read_picture(options.reference)
    return output


def least_bytes(film: Film, options: RestoreOptions, encoding: Encoding) -> float:
    """What restoring a film takes on the disk at the very least, twice: segments and the film."""
    if options.start_seconds is not None or options.end_seconds is not None:
        return 0.0
    info = film.info
    if encoding.codec in ("ffv1", "prores_ks") or "qp" in encoding.options:
        frame = info.width * info.height * info.bit_depth / 8
        return 2 * LEAST_SHARE_LOSSLESS * frame * (info.frames_estimate or 0)
    return 2 * LEAST_SHARE * info.path.stat().st_size


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


def plan(
    source: Path,
    output: Path | None,
    options: RestoreOptions,
    *,
    name: str | None = None,
    tools: Callable[[], Tools],
    listen: Listener,
) -> dict[str, Any]:
    """Look at a film and say what `restore` would do, without writing anything."""
    film = open_video(source)
    target = plan_output(film, output, options, name)
    encoding = choose_encoding(film.info, options.profile, suffix=target.suffix)
    loaded = tools()
    found = look(film, loaded.detector, options, listen)
    summary = found.summary()
    # each face is taken for a new person; who comes back costs a little less
    costs = [loaded.restorer.forwards(len(track), options.tasks) for track in found.tracks]
    sides, forwards = sides_of(found, loaded.restorer, options), sum(costs)
    each = {side: seconds_per_forward(loaded.restorer, options.tasks, side) for side in {*sides}}
    seconds = sum(cost * each[side] for cost, side in zip(costs, sides, strict=True))
    seconds += found.n_frames * OTHER_SECONDS
    painted = loaded.background is not None and not film.info.hdr
    if loaded.background is not None and painted:
        seconds += found.n_frames * seconds_per_picture(loaded.background, film.info)
    copied = film.info.hdr or not (found.tracks or painted)
    would = [f"restore {options.tasks}"] * bool(found.tracks)
    would += [f"background {options.background}"] * painted
    return {
        "input": source,
        "output": target,
        "picture": describe_picture(film.info),
        "other_streams": [vars(stream) for stream in film.info.other],
        **summary,
        "would": "copy all streams" if copied else ", ".join(would),
        "encoder": "copy" if copied else encoding.codec,
        "model": loaded.model["name"],
        "frame_forwards": forwards,
        "frame_forwards_per_face_frame": round(forwards / max(summary["face_frames"], 1), 2),
        "detector": loaded.detector.name,
        "expected_seconds": round(seconds, 1),
        "warnings": warnings_of(film, found, options, loaded),
    }


def seconds_per_forward(restorer: Restorer, tasks: Tasks, side: int) -> float:
    """Measured time of the model for one frame's way through the network once."""
    frames = np.full((restorer.window, side, side, 3), 128, np.uint8)
    clip, times = FaceClip(frames, 0), []
    while not times or (len(times) < 2 and times[0] < SLOW_SECONDS):  # the first one warms up
        begin, before = time.monotonic(), restorer.cost
        restorer.restore(clip, tasks, None, seed=0)
        times.append((time.monotonic() - begin) / max(restorer.cost - before, 1))
    return min(times)


def seconds_per_picture(background: Background, info: FilmInfo) -> float:
    """Measured time of the background's network for one frame."""
    fields = 2 if info.interlaced else 1
    passes = fields * background.passes(-(-info.height // fields), info.width)
    background.try_out()  # the first one warms up
    begin = time.monotonic()
    background.try_out()
    return passes * (time.monotonic() - begin)


def describe_picture(info: FilmInfo) -> str:
    """`h264 1280x720 yuv420p 25 fps`, and what is special."""
    parts = [info.codec, f"{info.width}x{info.height}", info.pix_fmt, f"{float(info.rate):g} fps"]
    parts += [f"SAR {info.sar}"] * (info.sar != 1)
    parts += [f"rotated {info.rotation_degrees} degrees"] * bool(info.rotation_degrees)
    parts += ["interlaced"] * info.interlaced + ["HDR"] * info.hdr
    return " ".join(parts)


def warnings_of(film: Film, found: Survey, options: RestoreOptions, tools: Tools) -> list[str]:
    """What the user should know about a film before it is restored."""
    words = film.troubles()
    left = found.ignored
    if left:
        words.append(
            f"faces left alone: {left.small} too small, {left.blurred} too blurred, "
            f"{left.short} too short"
        )
    if film.info.hdr:
        words.append("is HDR (PQ or HLG), which the model does not know: no face restored")
        if tools.background is not None:
            words.append("the background is not changed either: its network knows no HDR")
    elif not found.tracks and left:
        words.append("no other face found, none restored")
    elif not found.tracks:
        words.append("no face found, none restored")
    whole = tools.background is not None and tools.background.colours
    if options.tasks.color and found.tracks and not whole:
        words.append("colour is given to the faces only, not to the whole picture")
    if tools.reference is not None and len(found.tracks) > 1:
        words.append("the reference picture is used for the person with the largest face only")
    return words
