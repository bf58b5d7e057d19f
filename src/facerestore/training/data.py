"""Training samples: tar files of aligned pictures or clips -> examples of good and bad clips.

A tar file is read as WebDataset shards are: members of one name before the first dot (folders
apart) belong together. A sample is one picture (`a.jpg`) or the frames of a clip (`a.0000.jpg`,
`a.0001.jpg`, ...), with `a.json` beside them where landmarks are known. Pictures are square crops
like those of `restore` (the 512-px template of facexlib's FaceRestoreHelper, scaled). `prepare`
makes such files.

Everything drawn for example number n comes from (seed, n): the order of loading, the number of
workers and a restart do not matter.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.errors import BadInputError
from facerestore.frames import BLIND, TASK_NAMES, Tasks
from facerestore.models.fill import fill_holes
from facerestore.training.damage import draw_stock
from facerestore.training.degrade import cut_out, degrade
from facerestore.training.look import like_film
from facerestore.training.motion import TEMPLATE_POINTS, moving_clip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facerestore.frames import Bytes, Floats
    from facerestore.training.degrade import Degraded

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
MIXES = tuple(
    ",".join(name for bit, name in enumerate(TASK_NAMES) if number >> bit & 1)
    for number in range(1, 2 ** len(TASK_NAMES))
)
LARGE_SHARE = 0.5  # of the clips of blind restoration alone, where a model takes `large` crops
REFERENCE_BLUR = (0.3, 1.2)  # px; when restoring, the reference is the model's own, softer frame


@dataclass(frozen=True)
class Sample:
    """One picture or clip of a tar file.

    members: byte ranges (offset, length) of the frames' files;  facts: what its JSON says
    """

    tar: Path
    key: str
    members: tuple[tuple[int, int], ...]
    facts: Mapping[str, object]


@dataclass(frozen=True)
class Example:
    """One training clip.

    target, bad: uint8 RGB [F, S, S, 3], what to give back and what is shown
    other:       a second degradation of the same clip and tasks with the same target, or None
    holes, other_holes: bool [F, S, S] of the two, or None
    reference:   uint8 RGB [S, S, 3] or None;  tasks: the mix
    landmarks:   float64 [F, K, 2], fractions of the side, NaN where unknown
    reference_landmarks: float64 [5, 2], the same of the reference
    """

    target: Bytes
    bad: Bytes
    other: Bytes | None
    holes: NDArray[np.bool_] | None
    other_holes: NDArray[np.bool_] | None
    reference: Bytes | None
    tasks: Tasks
    landmarks: Floats
    reference_landmarks: Floats


@dataclass(frozen=True)
class Drawing:
    """How examples are drawn.

    size, frames: of the clips;  zoomed: share that shows a part of the face at twice the detail
    mixes:    weight of each mix of tasks ("bfr,color": 0.2)
    reference_dropout: share of examples without a reference (SVFR paper section 4.3: 0.5)
    large:    px of the crop's side when it is of a large face, see `crop_size`, or None
    own_references: share of the references that are like the model's own frames, somewhere between
              a spoilt frame and the true one; the others are true frames
    pairs:    whether a second degradation is wanted;  points: landmarks a face
    filled:   whether holes are shown filled instead of white
    film:     range of the film's pixels a pixel of the crop: clips are spoilt as part of a film of
              that resolution and then cut out
    """

    size: int
    frames: int
    zoomed: float
    mixes: Mapping[str, float]
    reference_dropout: float
    pairs: bool
    points: int
    filled: bool = False
    film: tuple[float, float] = (1.0, 1.0)
    large: int | None = None
    own_references: float = 0.0


def read_samples(tars: Sequence[Path]) -> list[Sample]:
    """The samples of tar files in name order; raises BadInputError for files without any."""
    found = [sample for tar in tars for sample in _index(tar)]
    if not found:
        names = ", ".join(str(tar) for tar in tars) or "no file"
        raise BadInputError(f"{names}: no pictures to train on; make some with: train prepare")
    return found


def _index(path: Path) -> list[Sample]:
    pictures: dict[str, list[tuple[str, int, int]]] = {}
    facts: dict[str, Mapping[str, object]] = {}
    try:
        with tarfile.open(path, "r:") as tar:  # not compressed: frames are read by their offset
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                key = folder + slash + key  # folders may have dots: ./faces/a.jpg
                if member.name.lower().endswith(PICTURES):
                    entry = (ending, member.offset_data, member.size)
                    pictures.setdefault(key, []).append(entry)
                elif ending == "json" and (content := tar.extractfile(member)):
                    facts[key] = dict(json.loads(content.read()))
    except (OSError, tarfile.TarError, ValueError, TypeError) as error:
        raise BadInputError(f"{path}: not a readable tar file ({error}); make it again") from None
    return [
        Sample(path, key, tuple((o, n) for _, o, n in sorted(entries)), facts.get(key, {}))
        for key, entries in sorted(pictures.items())
    ]


def read_frames(sample: Sample, size: int, numbers: Sequence[int]) -> Bytes:
    """uint8 RGB [F, S, S, 3] of these frames; raises BadInputError for what is no picture."""
    frames = []
    with sample.tar.open("rb") as file:
        for number in numbers:
            offset, length = sample.members[number]
            file.seek(offset)
            data = np.frombuffer(file.read(length), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
            if picture is None:
                raise BadInputError(
                    f"{sample.tar}: {sample.key} is not a readable picture; remove it"
                )
            larger = len(picture) > size
            how = cv2.INTER_AREA if larger else cv2.INTER_CUBIC
            picture = cv2.resize(picture, (size, size), interpolation=how)
            frames.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.stack(frames).astype(np.uint8, copy=False)


def clean_clip(
    sample: Sample, n_frames: int, drawing: Drawing, rng: np.random.Generator, *, full: int
) -> tuple[Bytes, Floats]:
    """uint8 RGB [n, S, S, 3] and landmarks [n, K, 2] in fractions of the side.

    full: px of the crop's side when it is not zoomed
    """
    zoom = full / drawing.size if rng.random() < drawing.zoomed else 1.0
    if len(sample.members) == 1:
        picture = read_frames(sample, full, [0])[0]
        points = _landmarks(sample, 1, drawing.points)[0]
        if np.isnan(points).all() and drawing.points == len(TEMPLATE_POINTS):
            points = TEMPLATE_POINTS
        return moving_clip(
            picture, n_frames=n_frames, size=drawing.size, rng=rng, zoom=zoom, points=points
        )
    numbers = _walk(len(sample.members), n_frames, rng)
    side = round(drawing.size * zoom)
    frames = read_frames(sample, side, numbers)
    points = _landmarks(sample, len(sample.members), drawing.points)[numbers]
    left, top = rng.integers(0, side - drawing.size + 1, 2)
    frames = frames[:, top : top + drawing.size, left : left + drawing.size]
    return frames, (points * side - (left, top)) / drawing.size


def _walk(total: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Frame numbers of a stretch of a clip, there and back again where it is too short."""
    around = list(range(total)) + list(range(total - 2, 0, -1))
    start = int(rng.integers(0, max(1, total - wanted + 1)))
    return [around[(start + i) % len(around)] for i in range(wanted)]


def knows_landmarks(sample: Sample, points: int) -> bool:
    """Whether a sample has landmarks of this number; five of aligned pictures are known anyway."""
    still = len(sample.members) == 1 and points == len(TEMPLATE_POINTS)
    return still or not np.isnan(_landmarks(sample, len(sample.members), points)).all()


def _landmarks(sample: Sample, frames: int, points: int) -> Floats:
    try:
        known = np.asarray(sample.facts.get("landmarks", ()), np.float64)
    except (ValueError, TypeError):
        text = f"{sample.tar}: the landmarks of {sample.key} are no table of points; remove them"
        raise BadInputError(text) from None
    if known.shape == (frames, points, 2):
        return known
    return np.full((frames, points, 2), np.nan)


def draw_example(
    samples: Sequence[Sample], drawing: Drawing, rng: np.random.Generator, *, full: int
) -> Example:
    """Draw one training example; see `clean_clip` for `full`."""
    sample = samples[int(rng.integers(len(samples)))]
    n, size = drawing.frames, drawing.size
    weights = np.array([drawing.mixes.get(mix, 0.0) for mix in MIXES])
    tasks = Tasks.parse(str(rng.choice(MIXES, p=weights / weights.sum())))
    coarse = 1.0
    if drawing.large and tasks == BLIND and rng.random() < LARGE_SHARE:
        coarse = drawing.large / full
        drawing = replace(drawing, zoomed=1.0)
    side = 2 * round(size * np.exp(rng.uniform(*np.log(drawing.film))) / 2)
    clean, landmarks = clean_clip(
        sample, n + 1, replace(drawing, size=side), rng, full=round(coarse * full * side / size)
    )
    clean = like_film(clean, rng)
    chosen = int(rng.integers(n + 1))  # the frame that is the reference
    stock = draw_stock(rng)  # part of the target, so both degradations share it
    how: Any = {"stock": stock, "size": size, "coarse": coarse}
    first = degrade(clean, tasks, rng, **how)
    other = degrade(clean, tasks, rng, **how) if drawing.pairs else None
    shown = _shown(first, drawing)
    reference = None
    if rng.random() >= drawing.reference_dropout:
        if rng.random() < drawing.own_references:
            reference = _between(shown[chosen], first.target[chosen], rng)
        else:
            reference = _soften(cut_out(clean[chosen : chosen + 1], size)[0], rng)
    return Example(
        first.target[:n],
        shown[:n],
        _shown(other, drawing)[:n] if other else None,
        None if first.holes is None else first.holes[:n],
        None if other is None or other.holes is None else other.holes[:n],
        reference,
        tasks,
        landmarks[:n],
        five_points(landmarks[chosen]),
    )


def _shown(degraded: Degraded, drawing: Drawing) -> Bytes:
    if drawing.filled and degraded.holes is not None:
        return fill_holes(degraded.bad, degraded.holes)
    return degraded.bad


def five_points(points: Floats) -> Floats:
    """Eyes, nose tip and mouth corners [5, 2] of 5 or of 68 landmarks (the iBUG 300-W order)."""
    if len(points) == 5:
        return points
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def _between(spoilt: Bytes, true: Bytes, rng: np.random.Generator) -> Bytes:
    """A frame as the model makes it: its faults are those of the spoilt one, smaller."""
    return np.asarray(cv2.addWeighted(true, share := rng.random(), spoilt, 1 - share, 0), np.uint8)


def _soften(reference: Bytes, rng: np.random.Generator) -> Bytes:
    """Half of the time slightly blurred: somebody's picture is not always sharp."""
    if rng.random() < 0.5:
        return reference
    return np.asarray(cv2.GaussianBlur(reference, (0, 0), rng.uniform(*REFERENCE_BLUR)), np.uint8)
