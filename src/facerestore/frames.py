"""The data types that travel through the program: shots, faces, tracks, crops, tasks.

Two coordinate systems. *Display* coordinates are pixels of the picture as a person sees it:
rotated upright, square pixels. *Coded* coordinates are samples of the stored luma plane. Faces,
tracks and crop paths are always in display coordinates; only `video` turns them into coded ones.
Coordinates are continuous: the centre of the first sample is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facerestore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

# Shares of red, green and blue in grey, ITU-R BT.601; colorization sees that grey (released code)
LUMA_601 = np.array([0.299, 0.587, 0.114], np.float32)
TASK_NAMES = ("bfr", "color", "inpaint")  # order of the task vector gamma, SVFR paper section 4.1


@dataclass(frozen=True)
class Tasks:
    """Which restorations are asked for: blind face restoration, colorization, inpainting."""

    bfr: bool = False
    color: bool = False
    inpaint: bool = False

    def __post_init__(self) -> None:
        if not (self.bfr or self.color or self.inpaint):
            raise UsageError(f"no task given; choose from {', '.join(TASK_NAMES)}")

    @classmethod
    def parse(cls, text: str) -> Tasks:
        """Read `bfr,color`; raises UsageError naming the first unknown word."""
        words = [word.strip().lower() for word in text.split(",") if word.strip()]
        for word in words:
            if word not in TASK_NAMES:
                raise UsageError(f"unknown task '{word}'; choose from {', '.join(TASK_NAMES)}")
        return cls(**{name: name in words for name in TASK_NAMES})

    @property
    def vector(self) -> tuple[float, float, float]:
        """The task vector gamma = [bfr, color, inpaint] of 0/1 (SVFR paper section 4.1)."""
        return float(self.bfr), float(self.color), float(self.inpaint)

    def any_of(self, names: Sequence[str]) -> bool:
        """Whether one of these tasks is asked for."""
        return any(getattr(self, name) for name in names)

    def __str__(self) -> str:
        return ",".join(name for name in TASK_NAMES if getattr(self, name))


BLIND = Tasks(bfr=True)  # blind face restoration alone


@dataclass(frozen=True)
class Shot:
    """The frames between two cuts.

    first, last: frame numbers in decoding output order, both inclusive
    """

    index: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(
                f"shot frames must be 0 <= first <= last, got {self.first}..{self.last}"
            )

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Face:
    """One detection in one frame, in display coordinates.

    box:       float64 [4], left, top, right, bottom
    landmarks: float64 [5, 2], x and y of left eye, right eye, nose tip, left and right mouth corner
               (left and right as seen in the picture)
    score:     detector confidence, 0..1
    """

    box: Floats
    landmarks: Floats
    score: float

    def __post_init__(self) -> None:
        if self.box.shape != (4,) or self.landmarks.shape != (5, 2):
            raise ValueError(
                f"expected box [4] and landmarks [5, 2], got {self.box.shape} and "
                f"{self.landmarks.shape}"
            )


@dataclass(frozen=True)
class FaceTrack:
    """One person through consecutive frames of one shot, gaps filled, display coordinates.

    person:    number of the person in the film, from 0
    shot:      index of the shot
    first:     frame number of the first entry; entry i is frame first + i
    boxes:     float64 [n, 4]
    landmarks: float64 [n, 5, 2]
    scores:    float64 [n], detector confidence; 0 where the entry was interpolated
    """

    person: int
    shot: int
    first: int
    boxes: Floats
    landmarks: Floats
    scores: Floats

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.landmarks.shape != (n, 5, 2) or n == 0:
            raise ValueError(
                f"expected boxes [n, 4] and landmarks [n, 5, 2] with n > 0, got "
                f"{self.boxes.shape} and {self.landmarks.shape}"
            )
        if self.scores.shape != (n,):
            raise ValueError(f"expected {n} scores, got {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def last(self) -> int:
        return self.first + len(self) - 1


@dataclass(frozen=True)
class CropPath:
    """The upright square that follows one person, one entry per frame, display coordinates.

    first:  frame number of the first entry
    centre: float64 [n, 2], x and y
    side:   float64 [n], side length in display pixels
    """

    first: int
    centre: Floats
    side: Floats

    def __post_init__(self) -> None:
        n = len(self.side)
        if self.centre.shape != (n, 2) or self.side.shape != (n,):
            raise ValueError(
                f"expected centre [n, 2] and side [n], got {self.centre.shape}, {self.side.shape}"
            )

    def __len__(self) -> int:
        return len(self.side)

    def in_crop(self, points: Floats, frame: int, size: int) -> Floats:
        """Display coordinates [..., 2] at `frame` in crop pixels (0..size)."""
        i = frame - self.first
        return (points - self.centre[i] + self.side[i] / 2) * (size / self.side[i])

    def matrix(self, frame: int, size: int) -> Floats:
        """float64 [2, 3]: crop pixel coordinates (0..size) -> display coordinates at `frame`."""
        i = frame - self.first
        scale = self.side[i] / size
        corner = self.centre[i] - self.side[i] / 2
        return np.array([[scale, 0.0, corner[0]], [0.0, scale, corner[1]]])


@dataclass(frozen=True)
class FaceClip:
    """Crops of one person over consecutive frames.

    frames: uint8 RGB [F, S, S, 3]
    first:  frame number of the first crop
    holes:  bool [F, S, S], True where inpainting has to fill; None without a mask
    landmarks: float64 [F, 5, 2] as in `Face`, in crop pixels, or None
    fields: crops of one film frame: 2 for interlaced films, else 1
    """

    frames: Bytes
    first: int
    holes: NDArray[np.bool_] | None = None
    landmarks: Floats | None = None
    fields: int = 1

    def __post_init__(self) -> None:
        f, s = self.frames.shape[:2]
        if self.frames.shape != (f, s, s, 3) or self.frames.dtype != np.uint8:
            raise ValueError(f"expected uint8 [F, S, S, 3], got {self.frames.shape}")
        if self.holes is not None and self.holes.shape != (f, s, s):
            raise ValueError(f"expected holes [{f}, {s}, {s}], got {self.holes.shape}")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Reference:
    """A good picture of the person, cropped like the training crops.

    image:     uint8 RGB [S, S, 3]
    landmarks: float64 [5, 2] as in `Face`, in crop pixels; None where nothing is known of them
    """

    image: Bytes
    landmarks: Floats | None = None

    def __post_init__(self) -> None:
        if self.image.shape != (len(self.image), len(self.image), 3):
            raise ValueError(f"expected uint8 [S, S, 3], got {self.image.shape}")
        if self.landmarks is not None and self.landmarks.shape != (5, 2):
            raise ValueError(f"expected landmarks [5, 2], got {self.landmarks.shape}")


@dataclass(frozen=True)
class Patch:
    """What is blended into one frame: a picture and how much of it, on the crop's grid.

    rgb:    float32 [S, S, 3], 0..1, the new picture
    source: float32 [S, S, 3], 0..1, the crop it was made from
    detail: float32 [S, S], 1 where what is finer than the crop's pixels stays as in the frame, 0
            where it goes too (holes); None = 1 everywhere
    luma:   float32 [S, S], blend weight of the luma samples, 0..1, 0 on the border
    chroma: float32 [S, S], blend weight of the chroma samples, 0..1, 0 on the border
    """

    rgb: NDArray[np.float32]
    source: NDArray[np.float32]
    detail: NDArray[np.float32] | None
    luma: NDArray[np.float32]
    chroma: NDArray[np.float32]
