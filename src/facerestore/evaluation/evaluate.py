"""The comparison of a film with the true one, top to bottom.

survey    shots and faces of the reference
paired    frames of both films shown at the same time
Cutter    the same squares, or the whole pictures, of both
meters    measure view by view; the means are the scores
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from facerestore.errors import BadInputError, UsageError
from facerestore.evaluation.fvd import Clips, load_video_network
from facerestore.evaluation.meters import Landmarks, Pictures
from facerestore.evaluation.motion import Sharpness, Warp
from facerestore.evaluation.networks import (
    NO_IDENTITY,
    Identity,
    Keypoints,
    Perceptual,
    load_identity,
    load_perceptual,
    load_points,
)
from facerestore.evaluation.pairs import open_pair, paired, whole
from facerestore.evaluation.scores import Scores
from facerestore.evaluation.views import Cutter
from facerestore.masks import check_mask, masks_from
from facerestore.survey import Step, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from facerestore.evaluation.fvd import Look
    from facerestore.evaluation.meters import Meter
    from facerestore.faces.detect import Detector
    from facerestore.faces.landmarks import Points
    from facerestore.frames import Floats
    from facerestore.models.identity import Identity as IdentityNetwork
    from facerestore.video.reader import Film, VideoFrame

    Mask = NDArray[np.bool_]

REGIONS = ("face", "frame")
ALONE = ("views", "sharpness", "warp_error", "vidd", "identity_drift")  # need no true film
SIZE = 256  # px of the face squares: the bundled model's, and about as large as most faces are
SIZES = (64, 2048)


@dataclass(frozen=True)
class Instruments:
    """What is loaded once for many films; None where weights are not here: `missing` says so."""

    detector: Detector
    device: torch.device
    identity: IdentityNetwork | None = None
    perceptual: Any = None
    points: Points | None = None
    video: Look | None = None
    missing: tuple[str, ...] = ()


def load_instruments(device: str = "auto", *, alone: bool = False) -> Instruments:
    """Detector and networks, as far as their weights are here; downloads nothing.

    alone: only what measures a film without the true one
    Raises ModelError for broken weights, ResourceError where there is no such device.
    """
    from facerestore.faces.detect import load_detector
    from facerestore.models.device import choose_device

    where = choose_device(device)
    identity = load_identity(where)
    missing = [NO_IDENTITY] * (identity is None)
    if alone:
        return Instruments(load_detector(), where, identity, missing=tuple(missing))
    perceptual, no_lpips = load_perceptual(where)
    points, no_akd = load_points()
    video, no_fvd = load_video_network(where)
    missing += [why for why in (no_lpips, no_akd, no_fvd) if why]
    return Instruments(
        load_detector(), where, identity, perceptual, points, video, missing=tuple(missing)
    )


def evaluate(
    out: Path,
    ref: Path | None = None,
    *,
    region: str = "face",
    mask: Path | None = None,
    size: int = SIZE,
    instruments: Callable[[], Instruments] = load_instruments,
    listen: Callable[[Step], None] = lambda step: None,
) -> Scores:
    """Compare a film with the true one, or, without `ref`, measure what can be seen of it alone.

    region: "face" (squares of `size` px that follow the faces of `ref`, as `restore` cuts them
            out) or "frame" (whole pictures); landmarks and identity always look at the squares
    mask:   picture or video, white where `out` was filled: measured apart, too
    instruments: loads or hands over what measures; called once both films are known to be sound
    Raises BadInputError for films that cannot be compared, UsageError for an unknown region.
    """
    if region not in REGIONS:
        raise UsageError(f"unknown region '{region}'; choose from {', '.join(REGIONS)}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"size {size} is outside {SIZES[0]}..{SIZES[1]} px")
    if ref is None and mask is not None:
        raise UsageError("--mask is of use with a true film only; name one, or leave it out")
    restored, true = open_pair(out, ref)
    if mask is not None:
        check_mask(mask, true.info)
    tools = instruments()
    found = survey(true, tools.detector, listen=listen)
    if region == "face" and not found.tracks:
        raise BadInputError(
            f"{true.info.path}: no face found; take the whole picture with --region frame"
        )
    meters = _Meters.of(tools, region, holes=mask is not None, alone=ref is None)
    masks = repeat(None) if mask is None else masks_from(mask, true.info, None)
    counts = _compare(Cutter(restored, true, found, size), meters, masks, listen)
    if not counts.frames:
        raise BadInputError(f"{out}: no frame is shown at the time of one of {ref}; same film?")
    results = meters.results()
    if ref is None:
        seen = {name: results[name] for name in ALONE if name in results}
        warned = tuple(restored.troubles())
        return Scores(
            out, None, region, counts.frames, **seen, warnings=warned, missing=tools.missing
        )
    warnings = (
        *_left_out(restored, true, counts.unpaired_out),
        *_left_out(true, restored, counts.unpaired_ref),
        *_exceptions(results),
    )
    numbers = asdict(counts) | results
    features, missing = meters.features(), tools.missing
    return Scores(
        out, ref, region, **numbers, features=features, warnings=warnings, missing=missing
    )


@dataclass(frozen=True)
class _Counts:
    """Frames compared, and those of each film without a partner; as in `Scores`."""

    frames: int
    unpaired_out: int
    unpaired_ref: int


def _compare(
    cutter: Cutter,
    meters: _Meters,
    masks: Iterator[Mask | None],
    listen: Callable[[Step], None],
) -> _Counts:
    """Show the meters every pair of frames; masks: one for each frame of the reference."""
    frames, unpaired_out, unpaired_ref, found = 0, 0, 0, cutter.found
    alone = cutter.out is cutter.ref
    for pair in whole(cutter.out) if alone else paired(cutter.out, cutter.ref):
        mask = None if pair.ref is None else next(masks)
        if pair.out is None or pair.ref is None:
            unpaired_out += pair.ref is None
            unpaired_ref += pair.out is None
            continue
        meters.push(cutter, pair.number, (pair.out, pair.ref), mask)
        frames += 1
        shot = cutter.shot(pair.number).index + 1
        listen(Step("measuring", frames, found.n_frames, shot, len(found.shots), len(found.tracks)))
    return _Counts(frames, unpaired_out, unpaired_ref)


@dataclass(frozen=True)
class _Meters:
    """The meters at work: of views of the region, and of face squares whatever the region."""

    region: str
    pictures: list[Meter]
    faces: list[Meter]

    @classmethod
    def of(cls, tools: Instruments, region: str, *, holes: bool, alone: bool) -> _Meters:
        pictures: list[Meter] = [Warp()]
        faces: list[Meter] = [Sharpness()]
        if tools.identity is not None:
            faces.append(Identity(tools.identity))
        if alone:
            return cls(region, pictures, faces)
        pictures.append(Pictures())
        faces.append(Landmarks(tools.detector))
        if holes:
            pictures.append(Pictures(in_holes=True))
        if tools.perceptual is not None:
            pictures.append(Perceptual(tools.perceptual, tools.device))
        if tools.video is not None:
            pictures.append(Clips(tools.video))
        if tools.points is not None:
            faces.append(Keypoints(tools.points))
        return cls(region, pictures, faces)

    def push(
        self, cutter: Cutter, number: int, frames: tuple[VideoFrame, VideoFrame], mask: Mask | None
    ) -> None:
        squares = list(cutter.faces(number, frames, mask))
        views = squares if self.region == "face" else [cutter.whole(number, frames, mask)]
        for meters, seen in ((self.pictures, views), (self.faces, squares)):
            for meter in meters:
                for view in seen:
                    meter.push(view)

    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for meter in [*self.pictures, *self.faces]:
            found |= meter.results()
        return found

    def features(self) -> tuple[Floats, Floats] | None:
        """Of the clips, for FVD over many films."""
        return next((m.features for m in self.pictures if isinstance(m, Clips)), None)


def _left_out(film: Film, other: Film, count: int) -> list[str]:
    """What the user should know of the frames of one film."""
    words = [f"{film.info.path}: {text}" for text in film.troubles()]
    if count:
        words.append(
            f"{film.info.path}: frames left out: {count}; {other.info.path} has none at their time"
        )
    return words


def _exceptions(results: dict[str, Any]) -> list[str]:
    """What of the views is not in the means."""
    words = []
    if results["equal"]:
        words.append(
            f"{results['equal']} of {results['views']} views are equal in both films: their PSNR "
            "is infinite and not in the mean"
        )
    if results.get("hole_views") == 0:
        words.append("the mask has no hole in any view: nothing is measured in holes")
    if results["found_in_one"]:
        words.append(
            f"in {results['found_in_one']} views the detector finds the face in only one of the "
            "films: not in the mean of the landmarks"
        )
    return words
