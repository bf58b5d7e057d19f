"""`facerestore degrade`: make a bad film from a good one, with the same code as in training."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.survey import Step, expected_frames, survey
from facerestore.training.damage import draw_stock, grey_stock
from facerestore.training.degrade import CROP_SIZE, WHITE, degrade_blind, draw_blind
from facerestore.training.holes import draw_holes
from facerestore.video.layout import as_rgb
from facerestore.video.output import atomic
from facerestore.video.planes import with_picture
from facerestore.video.reader import open_video
from facerestore.video.writer import create_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.faces.detect import Detector
    from facerestore.frames import Floats, Tasks
    from facerestore.survey import Survey
    from facerestore.video.reader import Film

CHUNK_PIXELS = 30_000_000  # of frames held at a time
CHUNK_FRAMES = 75  # parameters drift over three seconds; noise and scratches begin anew
LOOKED_AT_SECONDS = 10.0


@dataclass(frozen=True)
class Spoilt:
    """output, mask: the files (mask None without inpaint);  frames: how many

    draw: what was drawn, for the record;  face_side: px of the face square the sizes refer to
    """

    output: Path
    mask: Path | None
    frames: int
    draw: dict[str, Any]
    face_side: float


def degrade_film(
    source: Path,
    output: Path,
    tasks: Tasks,
    *,
    detector: Detector,
    severity: str | None = None,
    seed: int = 0,
    profile: str = "lossless",
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    overwrite: bool = False,
    listen: Callable[[Step], None] = lambda step: None,
) -> Spoilt:
    """Spoil the whole picture of a film, or of a part; sound, times and other streams stay.

    severity: of blind degradation, None = drawn
    Sizes of blur, dirt and holes go by the largest face of the first seconds (without a face, by
    the picture's shorter side). Nothing fades, as no task undoes that. With inpaint the holes'
    mask is written beside the output.
    Raises BadInputError for interlaced and HDR films, UsageError for an unknown severity.
    """
    film = open_video(source)
    if film.info.interlaced or film.info.hdr:
        raise BadInputError(f"{source}: interlaced or HDR; degrade takes progressive SDR films")
    rng = np.random.default_rng(seed)
    stock, draw = replace(draw_stock(rng), fade=0.0), draw_blind(rng, severity=severity)
    part = {"start_seconds": start_seconds, "end_seconds": end_seconds}
    first = (start_seconds or 0.0) + LOOKED_AT_SECONDS
    looked_at = part | {"end_seconds": first if end_seconds is None else min(first, end_seconds)}
    found = survey(film, detector, **looked_at, largest_only=True, listen=listen)
    corner, side = _face_square(film, found)
    hole, mask = None, None
    if tasks.inpaint:
        hole = hole_mask((film.info.height, film.info.width), corner, side, rng)
        mask = output.with_name(f"{output.stem}.mask.png")
    count, total = 0, expected_frames(film.info, start_seconds, end_seconds)
    note = f"facerestore degrade: {tasks}, seed {seed}"
    with ExitStack() as outputs:  # the mask appears with the film or not at all
        if mask is not None and hole is not None:
            hidden = outputs.enter_context(atomic(mask, source, overwrite=overwrite))
            hidden.write_bytes(cv2.imencode(".png", hole.astype(np.uint8) * 255)[1].tobytes())
        sink = outputs.enter_context(
            create_like(film, output, profile=profile, note=note, overwrite=overwrite, **part)
        )
        for number, frames in enumerate(_chunks(film, **part)):
            pictures = np.stack([as_rgb(frame) for frame in frames])
            if tasks.bfr:
                drawn = np.random.default_rng([seed, number])
                pictures = degrade_blind(pictures, draw, drawn, scale=side / CROP_SIZE, first=count)
            if tasks.color:
                pictures = grey_stock(pictures, stock)
            for frame, picture in zip(frames, pictures, strict=True):
                if hole is not None:
                    picture[hole] = WHITE
                sink.write(with_picture(frame, picture))
            count += len(frames)
            listen(Step("degrading", count, max(total, count), 0, 0, 0))
    record = {"stock": vars(stock)} if tasks.color else {}
    record |= {"blind": _plain(draw)} if tasks.bfr else {}
    return Spoilt(output, mask, count, record, side)


def _chunks(
    film: Film, start_seconds: float | None, end_seconds: float | None
) -> Iterator[list[Any]]:
    """Frames of the film, some seconds at a time, fewer where they are large."""
    most = CHUNK_PIXELS // (film.info.width * film.info.height)
    frames = film.frames(start_seconds, end_seconds)
    while chunk := list(islice(frames, min(CHUNK_FRAMES, max(4, most)))):
        yield chunk


def _face_square(film: Film, found: Survey) -> tuple[Floats, float]:
    """Corner [2] and side in coded px of the face square in the middle of its track."""
    height, width = film.info.height, film.info.width
    if not found.paths:
        side = float(min(height, width))
        return np.array([(width - side) / 2, (height - side) / 2]), side
    path = max(found.paths, key=len)
    middle = len(path) // 2
    side = float(np.median(path.side)) / float(film.info.sar)
    turn = film.info.to_coded
    centre = turn[:, :2] @ path.centre[middle] + turn[:, 2]
    return centre - side / 2, side


def hole_mask(
    shape: tuple[int, int], corner: Floats, side: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [H, W]: strokes and boxes within the square at `corner` (x, y) with `side`, in px."""
    drawn = draw_holes(1, (CROP_SIZE, CROP_SIZE), rng)[0].astype(np.uint8)
    scale = side / CROP_SIZE
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    moved = cv2.warpAffine(drawn, matrix, shape[::-1], flags=cv2.INTER_NEAREST)
    return np.asarray(moved, np.uint8) > 0


def _plain(draw: Any) -> dict[str, Any]:
    """What was drawn, for the record; what had no effect is null."""
    idle = ["quantizer"] * (draw.codec is None) + ["blur_angle"] * (draw.blur != "motion")
    draw = replace(draw, **dict.fromkeys(idle))
    return {name: vars(v) if hasattr(v, "__dict__") else v for name, v in vars(draw).items()}
