"""From films and pictures to training samples: aligned face clips in tar files (WebDataset shards).

Each sample holds the frames of one clip as JPEG and a JSON of facts: landmarks, quality, where it
comes from. All clips of one source go to the same split, so that no person is in both.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from facerestore.clips import cropped
from facerestore.errors import BadInputError, FaceRestoreError, UsageError
from facerestore.faces.crop import face_squares
from facerestore.faces.landmarks import Points, load_points
from facerestore.options import RestoreOptions
from facerestore.survey import survey
from facerestore.training.data import PICTURES
from facerestore.training.quality import Quality, load_quality
from facerestore.video.reader import open_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from facerestore.clips import FaceCrop
    from facerestore.faces.detect import Detector
    from facerestore.frames import Bytes, Floats

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]  # 4:4:4
SHARD_SAMPLES = 500
SPLITS = ("train", "val")


@dataclass(frozen=True)
class Preparation:
    """What is made of the inputs.

    size:   px of the crops;  frames: of a clip; shorter ones are left out
    min_quality: clips below are left out, see `quality`;  validation: share of the sources
    """

    size: int = 256
    frames: int = 16
    min_quality: float = 0.0
    validation: float = 0.05


@dataclass
class Count:
    """What came of the inputs: clips written per split, and clips and inputs left out."""

    train: int = 0
    val: int = 0
    poor: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Clip:
    """frames: uint8 RGB [F, S, S, 3];  landmarks: [F, 5, 2] in px;  facts: where it comes from"""

    frames: Bytes
    landmarks: Floats
    facts: dict[str, Any]


def prepare(
    inputs: Iterable[Path],
    out: Path,
    wish: Preparation,
    *,
    detector: Detector,
    listen: Callable[[str], None] = lambda text: None,
) -> Count:
    """Write `out`/train-000000.tar and so on; an input that cannot be read does not stop the rest.

    Raises UsageError where `out` holds shards already, BadInputError where nothing came of it.
    """
    if any(out.glob("*.tar")):
        raise UsageError(f"{out}: holds tar files already; name another folder")
    quality, points = load_quality(), load_points()
    listen(f"quality by {quality.name}; {points.count} landmarks a face")
    work = _Work(out, wish, quality, points, listen)
    try:
        for path in sources(inputs):
            with work.going_on():
                for clips in opened(path, wish, detector):
                    with work.going_on():
                        for clip in clips:
                            work.keep(clip)
        work.close()
    finally:
        work.drop()
    count = work.count
    if not count.train + count.val:
        named = ", ".join(map(str, inputs))
        raise BadInputError(f"{named}: no face clip found; nothing was written to {out}")
    if not (count.train and count.val):
        side = "trained on" if count.val else "held out"
        listen(f"all clips went to one side, none is {side}: try another --validation")
    return count


class _Work:
    """The clips that are kept, in shards of their split, and the count of all."""

    def __init__(
        self,
        out: Path,
        wish: Preparation,
        quality: Quality,
        points: Points,
        listen: Callable[[str], None],
    ) -> None:
        self.wish, self.quality, self.points, self.listen = wish, quality, points, listen
        self.count = Count()
        self.shards = {split: Shards(out, split) for split in SPLITS}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What cannot be read is told and counted."""
        try:
            yield
        except FaceRestoreError as error:
            self.count.failed.append(str(error))
            self.listen(str(error))

    def keep(self, clip: Clip) -> None:
        """Write the clip if it is good enough."""
        score = self.quality.score(clip.frames)
        if score < self.wish.min_quality:
            self.count.poor += 1
            return
        split = "val" if _share(clip.facts["source"]) < self.wish.validation else "train"
        self.shards[split].add(clip, score, self.points)
        setattr(self.count, split, getattr(self.count, split) + 1)

    def close(self) -> None:
        """Finish the files at work."""
        for shard in self.shards.values():
            shard.close()

    def drop(self) -> None:
        """Delete the files at work."""
        for shard in self.shards.values():
            shard.drop()


def sources(inputs: Iterable[Path]) -> Iterator[Path]:
    """Files, and those of folders, in name order; raises BadInputError for what is not there."""
    for path in inputs:
        if not path.exists():
            raise BadInputError(f"{path}: no such file or folder; check the name")
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _share(source: str) -> float:
    """0..1, the same for a source at every run."""
    return int.from_bytes(blake2b(source.encode(), digest_size=4).digest()) / 2**32


def opened(path: Path, wish: Preparation, detector: Detector) -> Iterator[Iterator[Clip]]:
    """The face clips of a film, or those of each picture of a tar file, or of a picture."""
    name = path.name.lower()
    if name.endswith(".tar"):
        for member, data in _members(path):
            yield _still_faces(data, f"{path.name}/{member}", wish, detector)
    elif name.endswith(PICTURES):
        yield _still_faces(path.read_bytes(), path.name, wish, detector)
    else:
        yield _film_clips(path, wish, detector)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content and member.name.lower().endswith(PICTURES):
                    yield member.name, content.read()
    except (OSError, tarfile.TarError) as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"{path}: not a readable tar file ({reason}); make it again") from None


def _still_faces(data: bytes, name: str, wish: Preparation, detector: Detector) -> Iterator[Clip]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise BadInputError(f"{name}: not a readable picture; remove it")
    bgr = np.asarray(picture, np.uint8)
    for number, face in enumerate(detector.detect(bgr)):
        centre, side = (v[0] for v in face_squares(face.box[None], face.landmarks[None]))
        scale = float(side) / wish.size
        corner = centre - side / 2
        matrix = np.array(
            [[scale, 0, corner[0] + scale / 2 - 0.5], [0, scale, corner[1] + scale / 2 - 0.5]]
        )
        crop = cv2.warpAffine(
            _smoothed(bgr, scale),
            matrix,
            (wish.size, wish.size),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        points = (face.landmarks - corner) / scale
        facts = {"source": name, "face": number}
        yield Clip(np.asarray(crop[None, ..., ::-1], np.uint8), points[None], facts)


def _smoothed(picture: Bytes, scale: float) -> Bytes:
    """Without what is too fine for a picture that is reduced by `scale`."""
    if scale <= 1:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.5 * (scale**2 - 1) ** 0.5), np.uint8)


def _film_clips(path: Path, wish: Preparation, detector: Detector) -> Iterator[Clip]:
    """Runs of `wish.frames` crops of each face, one after the other, never across a cut."""
    film = open_video(path)
    if film.info.interlaced or film.info.hdr:
        raise BadInputError(f"{path}: interlaced or HDR; training takes progressive SDR films")
    found = survey(film, detector)
    waiting: dict[int, list[FaceCrop]] = {}
    sides = [wish.size] * len(found.paths)
    for faces in cropped(film, found, RestoreOptions(), sides=sides):
        for face in faces:
            run = waiting.setdefault(face.track, [])
            run.append(face)
            if len(run) == wish.frames:
                yield _clip(waiting.pop(face.track), path)


def _clip(run: list[FaceCrop], path: Path) -> Clip:
    facts = {"source": path.name, "first": run[0].frame, "face": run[0].track}
    landmarks = np.stack([cast("Any", face.landmarks) for face in run])
    return Clip(np.stack([face.source for face in run]), landmarks, facts)


class Shards:
    """Tar files of one split, SHARD_SAMPLES each; each appears under its name when it is whole."""

    def __init__(self, out: Path, split: str) -> None:
        self.out, self.split = out, split
        self.number = self.count = 0
        self.tar: tarfile.TarFile | None = None

    def add(self, clip: Clip, score: float, points: Points) -> None:
        """One sample: frames as JPEG, facts as JSON."""
        if self.tar is None:
            self.out.mkdir(parents=True, exist_ok=True)
            self.tar = tarfile.open(self._part(), "w")  # noqa: SIM115, closed in `close`
        key = f"{self.split}{self.number:06d}-{self.count:04d}"
        side = clip.frames.shape[1]
        landmarks = points.find(clip.frames, clip.landmarks) / side
        for index, frame in enumerate(clip.frames):
            data = cv2.imencode(".jpg", frame[..., ::-1], JPEG)[1].tobytes()
            self._write(f"{key}.{index:04d}.jpg", data)
        facts = clip.facts | {
            "quality": round(score, 4),
            "size": side,
            "landmarks": np.round(landmarks, 5).tolist(),
        }
        self._write(f"{key}.json", json.dumps(facts).encode())
        self.count += 1
        if self.count == SHARD_SAMPLES:
            self.close()

    def _part(self) -> Path:
        return self.out / f".{self.split}-{self.number:06d}.tar.part"

    def _write(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        cast("tarfile.TarFile", self.tar).addfile(entry, io.BytesIO(data))

    def close(self) -> None:
        """Finish the file at work."""
        if self.tar is None:
            return
        self.tar.close()
        os.replace(self._part(), self.out / f"{self.split}-{self.number:06d}.tar")
        self.tar, self.number, self.count = None, self.number + 1, 0

    def drop(self) -> None:
        """Delete the file at work."""
        if self.tar is not None:
            self.tar.close()
            self._part().unlink()
            self.tar = None
