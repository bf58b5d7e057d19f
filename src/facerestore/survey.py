"""The first look at a film: shots, people, and where each face is in every frame. Only numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facerestore.faces.crop import crop_path
from facerestore.faces.track import Ignored, ShotTracker, largest
from facerestore.frames import Face
from facerestore.video.planes import detector_picture
from facerestore.video.shots import LATE_FRAMES, ShotFinder, shots_from_cuts

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.faces.detect import Detector
    from facerestore.frames import Bytes, CropPath, FaceTrack, Shot
    from facerestore.video.reader import Film, FilmInfo, VideoFrame

MOST_SIDE = 2400  # px; detectors reduce what is larger than this anyway
MOTION_SIDE = 320  # long side of the pictures that motion is measured in
CUT_SIDE = 160  # and of those that cuts are looked for in


@dataclass(frozen=True)
class Step:
    """How far a film is.

    stage: "looking", "restoring" or "degrading";  frame: frames done, of about `frames`
    shot:  the one at work, of `shots` (0 = not known yet);  faces: faces followed so far
    """

    stage: str
    frame: float
    frames: int
    shot: int
    shots: int
    faces: int


@dataclass(frozen=True)
class Survey:
    """What is in a film. Frame numbers count from the first frame looked at.

    tracks, paths: one of each per face and shot
    ignored:       faces left alone, counted by reason;  rate: frames per second
    """

    n_frames: int
    shots: tuple[Shot, ...]
    tracks: tuple[FaceTrack, ...]
    paths: tuple[CropPath, ...]
    ignored: Ignored
    rate: float

    def summary(self) -> dict[str, Any]:
        """The numbers, for people and for JSON."""
        return {
            "frames": self.n_frames,
            "shots": [
                {
                    "first": shot.first,
                    "last": shot.last,
                    "faces": sum(track.shot == shot.index for track in self.tracks),
                }
                for shot in self.shots
            ],
            "face_frames": sum(len(track) for track in self.tracks),
            "left_alone": asdict(self.ignored),
        }


def survey(
    film: Film,
    detector: Detector,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    largest_only: bool = False,
    listen: Callable[[Step], None] = lambda step: None,
) -> Survey:
    """Decode the film once and follow every face.

    largest_only: of faces seen together keep only the largest
    """
    finder, follower = ShotFinder(rate=film.info.rate), _Follower(film.info, detector)
    waiting: deque[tuple[VideoFrame, Bytes]] = deque()
    expected = expected_frames(film.info, start_seconds, end_seconds)
    for count, frame in enumerate(film.frames(start_seconds, end_seconds), start=1):
        picture, _ = detector_picture(frame, film.info, long_side=MOTION_SIDE)
        waiting.append((frame, picture))
        follower.cuts.update(finder.push(_shrunk(picture, CUT_SIDE)))
        if len(waiting) > LATE_FRAMES:  # only now is it known whether this frame begins a shot
            follower.push(*waiting.popleft())
        shots = len(follower.cuts) + 1
        listen(Step("looking", count, max(expected, count), shots, 0, follower.faces()))
    follower.cuts.update(finder.finish())
    for frame, picture in waiting:
        follower.push(frame, picture)
    return follower.survey(largest_only=largest_only)


def expected_frames(info: FilmInfo, start: float | None, end: float | None) -> int:
    """About how many frames the part has, 0 if the header does not tell."""
    whole = info.frames_estimate
    if end is not None:
        wanted = round(end * info.rate)
        whole = wanted if whole is None else min(whole, wanted)
    return max(0, (whole or 0) - round((start or 0.0) * info.rate))


class _Follower:
    """One shot after the other through a tracker of its own."""

    def __init__(self, info: FilmInfo, detector: Detector) -> None:
        self.info, self.detector = info, detector
        self.cuts: set[int] = set()
        self.count = 0
        self.tracks: list[FaceTrack] = []
        self.ignored = Ignored()
        self.tracker: ShotTracker | None = None
        self.shot = 0

    def faces(self) -> int:
        return len(self.tracks) + (self.tracker.followed if self.tracker else 0)

    def push(self, frame: VideoFrame, picture: Bytes) -> None:
        if self.count in self.cuts:
            self._end_shot()
        if self.tracker is None:
            scale = picture.shape[1] / self.info.display_width
            self.tracker = ShotTracker(
                self.shot, first=self.count, scale=scale, rate=float(self.info.rate)
            )
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
        found = self._detect(frame) if self.tracker.wants_detection(self.count) else None
        self.tracker.push(self.count, grey, found)
        self.count += 1

    def _detect(self, frame: VideoFrame) -> list[Face]:
        side = min(MOST_SIDE, max(self.info.display_width, self.info.display_height))
        picture, scale = detector_picture(frame, self.info, long_side=side)
        return [
            Face(face.box * scale, face.landmarks * scale, face.score)
            for face in self.detector.detect(picture)
        ]

    def _end_shot(self) -> None:
        if self.tracker is not None:
            done = self.tracker.finish()
            self.tracks += done.tracks
            self.ignored += done.ignored
            self.shot, self.tracker = self.shot + 1, None

    def survey(self, *, largest_only: bool) -> Survey:
        self._end_shot()
        tracks = largest(self.tracks) if largest_only else self.tracks
        tracks = [replace(track, person=number) for number, track in enumerate(tracks)]
        rate = float(self.info.rate)
        return Survey(
            n_frames=self.count,
            shots=tuple(shots_from_cuts(self.cuts, self.count)),
            tracks=tuple(tracks),
            paths=tuple(crop_path(track, rate=rate) for track in tracks),
            ignored=self.ignored,
            rate=rate,
        )


def _shrunk(picture: Bytes, side: int) -> Bytes:
    scale = side / max(picture.shape[:2])
    size = [max(8, round(n * scale)) for n in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
