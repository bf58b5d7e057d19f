"""Follow the faces of one shot from a few detections and the motion between them.

Faces are detected every few frames; in between, and where a detection fails, the picture's own
motion inside the face box (optical flow on a small grey picture) carries them on. Only numbers are
kept. When the shot is over, each frame between two detections gets the earlier one carried forward
and the later one carried back, weighted by nearness: at a detection the track is the detection,
and nothing lags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facerestore.faces.flow import Motion, motions, sharpness
from facerestore.faces.strand import Strand, fused
from facerestore.frames import Bytes, Face, FaceTrack, Floats

DETECT_EVERY = 5  # frames; 0.2 s at 25 fps
GAP_SECONDS = 0.5  # longest time without a detection inside one track
RETRIES = 3  # frames in a row looked at again where a known face was missed or the flow was lost
MIN_FACE = 40  # box height in display px; below, a restored face is invention
MIN_FRAMES = 5  # shorter appearances are flicker, unless the shot itself is shorter
LEAST_OVERLAP = 0.2  # IoU of a face and where it was expected; heads turn between detections
BLUR_SCORE = 0.75  # a face is too blurred to track below this score (the detector is unsure)
BLUR_SHARPNESS = 0.12  # and below this sharpness: a blur of 1/16 of its height, eyes are smears


@dataclass(frozen=True)
class Ignored:
    """How many faces (tracks) were left alone, and why."""

    small: int = 0
    blurred: int = 0
    short: int = 0

    def __add__(self, other: Ignored) -> Ignored:
        return Ignored(
            self.small + other.small, self.blurred + other.blurred, self.short + other.short
        )

    def __bool__(self) -> bool:
        return bool(self.small or self.blurred or self.short)


@dataclass(frozen=True)
class ShotFaces:
    """The tracks of one shot in order of their numbers, and what was left alone."""

    tracks: tuple[FaceTrack, ...]
    ignored: Ignored


class ShotTracker:
    """Follows all faces of one shot; frames are pushed in order, one after the other.

    for each frame:  faces = detector.detect(frame) if tracker.wants_detection(number) else None
                     tracker.push(number, small_grey_picture, faces)
    at the cut:      tracker.finish(last)

    scale: grey-picture pixels per display pixel, the same in x and y
    rate:  frames a second, for GAP_SECONDS
    """

    def __init__(
        self,
        shot: int,
        *,
        first: int,
        scale: float,
        rate: float,
        every: int = DETECT_EVERY,
        min_face: float = MIN_FACE,
    ) -> None:
        if every < 1 or not rate > 0 or not scale > 0:
            raise ValueError(
                f"expected every >= 1, rate > 0 and scale > 0, got {every, rate, scale}"
            )
        self._shot, self._first, self._scale = shot, first, scale
        self._every, self._min_face = every, min_face
        self._gap = max(round(GAP_SECONDS * rate), every)
        self._next = first
        self._recent: list[Bytes] = []  # grey pictures since the last detection, it included
        self._open: list[Strand] = []
        self._closed: list[Strand] = []
        self._retries = 0

    def wants_detection(self, frame: int) -> bool:
        """Whether `frame`, the next to be pushed, should be searched for faces.

        True for the shot's first frame and every `every`-th after it, and for up to RETRIES frames
        in a row while a known face is missed or its motion is lost.
        """
        if (frame - self._first) % self._every == 0:
            return True
        return self._retries < RETRIES and any(strand.unsure for strand in self._open)

    @property
    def followed(self) -> int:
        """Faces in view now."""
        return len(self._open)

    def push(self, frame: int, grey: Bytes, faces: Sequence[Face] | None) -> None:
        """Take the next frame: its small grey picture, uint8 [h, w], and its faces if searched.

        Detections are welcome at any frame, wanted or not.
        """
        if frame != self._next:
            raise ValueError(f"expected frame {self._next}, got {frame}")
        self._next += 1
        if self._recent and self._open:
            boxes = [strand.box for strand in self._open]
            found = motions(self._recent[-1], grey, boxes, scale=self._scale)
            for strand, motion in zip(self._open, found, strict=True):
                strand.moved(motion)
        self._recent = [*self._recent, grey][-self._gap :]
        if faces is not None:
            self._meet(frame, grey, faces)
        self._close(frame)

    def finish(self, last: int | None = None) -> ShotFaces:
        """The tracks of the shot, which ends with frame `last` (by default the last one pushed).

        A cut may be noticed late: what was pushed after `last` is forgotten as if never seen.
        Tracks are numbered from 0 by time and place; whoever knows the film renumbers them.
        """
        end = self._next - 1 if last is None else last
        kept: list[FaceTrack] = []
        ignored = Ignored()
        for strand in sorted([*self._closed, *self._open], key=lambda s: (s.first, *s.box)):
            track = fused(strand, self._shot, end, self._gap)
            if track is None:
                continue
            reason = self._why_ignored(strand, track, end)
            kept.extend([] if reason else [track])
            ignored += reason or Ignored()
        return ShotFaces(tuple(replace(t, person=i) for i, t in enumerate(kept)), ignored)

    def _meet(self, frame: int, grey: Bytes, faces: Sequence[Face]) -> None:
        """Give each detection to the strand that expected it, or begin a new strand."""
        scheduled = (frame - self._first) % self._every == 0
        self._retries = 0 if scheduled else self._retries + 1
        pairs = _pairs([strand.box for strand in self._open], [face.box for face in faces])
        for strand, index in zip(self._open, pairs, strict=True):
            if index is None:
                strand.missed.append(frame)
            else:
                face = faces[index]
                strand.met(frame, face, sharpness(grey, face.box, scale=self._scale))
        new = [face for index, face in enumerate(faces) if index not in pairs]
        self._open.extend(self._begun(frame, face) for face in new)
        self._recent = [grey]

    def _begun(self, frame: int, face: Face) -> Strand:
        """A new strand, followed back to where the last search for faces had not found it yet."""
        back: list[Motion] = []
        later, box = self._recent[-1], face.box
        for earlier in self._recent[-2:0:-1]:
            (motion,) = motions(later, earlier, [box], scale=self._scale)
            if motion is None:
                break
            back.append(motion)
            later, box = earlier, motion.of_box(box)
        onward = [motion.reversed() for motion in reversed(back)]
        strand = Strand(frame - len(back), face.box, [*onward])
        strand.met(frame, face, sharpness(self._recent[-1], face.box, scale=self._scale))
        return strand

    def _close(self, frame: int) -> None:
        """Give up the strands not seen for too long."""
        lost = [strand for strand in self._open if frame - strand.last_seen > self._gap]
        self._open = [strand for strand in self._open if strand not in lost]
        self._closed.extend(lost)

    def _why_ignored(self, strand: Strand, track: FaceTrack, end: int) -> Ignored | None:
        """One count if the face is to be left alone, None if it is to be restored.

        Left alone is a face that is small in the median; one that is both blurred and scored low
        in the median; one of too few frames, or found once and not the next time.
        """
        at = strand.seen_until(end)
        height = np.median([strand.seen[f].box[3] - strand.seen[f].box[1] for f in at])
        score = np.median([strand.seen[f].score for f in at])
        sharp = np.median([strand.sharp[f] for f in at])
        if height < self._min_face:
            return Ignored(small=1)
        if score < BLUR_SCORE and sharp < BLUR_SHARPNESS:
            return Ignored(blurred=1)
        flicker = len(at) == 1 and strand.missed_since(at[0], end)
        if flicker or len(track) < min(MIN_FRAMES, end - self._first + 1):
            return Ignored(short=1)
        return None


def largest(tracks: Iterable[FaceTrack]) -> list[FaceTrack]:
    """At most one face at a time: of tracks that share frames only the largest (area x frames)."""
    kept: list[FaceTrack] = []
    for track in sorted(tracks, key=_weight, reverse=True):
        if all(track.last < other.first or other.last < track.first for other in kept):
            kept.append(track)
    return sorted(kept, key=lambda track: track.first)


def _weight(track: FaceTrack) -> float:
    return float(np.prod(track.boxes[:, 2:] - track.boxes[:, :2], axis=1).sum())


def _pairs(expected: Sequence[Floats], found: Sequence[Floats]) -> list[int | None]:
    """For each expected box the index of the found box that is it, at the most overlap in total."""
    from scipy.optimize import linear_sum_assignment

    pairs: list[int | None] = [None] * len(expected)
    if not expected or not found:
        return pairs
    overlap = np.array([[_iou(one, other) for other in found] for one in expected])
    # What overlaps too little is worth nothing, so that it cannot displace a true pair.
    worth = np.where(overlap >= LEAST_OVERLAP, overlap, 0.0)
    for i, j in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
        pairs[i] = int(j) if worth[i, j] > 0 else None
    return pairs


def _iou(one: Floats, other: Floats) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / float(sum(np.prod(box[2:] - box[:2]) for box in (one, other)) - common)
