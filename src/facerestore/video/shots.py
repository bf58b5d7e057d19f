"""Find the cuts of a film while its frames go by, and the shots between them."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from facerestore.frames import Shot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facerestore.frames import Bytes

LATE_FRAMES = 2  # AdaptiveDetector looks at two frames on each side before it reports a cut
MIN_SHOT_FRAMES = 5  # its guard against two cuts at once; its own default of 15 misses quick cuts
FLASH_RETURN = 0.5  # a flash is over when this share of the change, or less, remains


class ShotFinder:
    """Push small pictures of all frames in order; says where new shots begin, 2 frames late.

    A bright flash that leaves the same scene behind is no cut.
    """

    def __init__(self, *, rate: Fraction = Fraction(25)) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self._detector = AdaptiveDetector(min_scene_len=MIN_SHOT_FRAMES, window_width=LATE_FRAMES)
        self._rate = rate
        self._count = 0
        self._recent: deque[Bytes] = deque(maxlen=LATE_FRAMES + 2)

    def push(self, picture: Bytes) -> list[int]:
        """Numbers of the frames, up to this one, that begin a new shot.

        picture: uint8 BGR [h, w, 3], always of the same size; 160 pixels wide is enough
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"expected uint8 [h, w, 3], got {picture.dtype} {picture.shape}")
        self._recent.append(picture)
        return [cut for cut in self._process(picture) if not self._is_flash()]

    def finish(self) -> list[int]:
        """As `push`, for the last frames, once the film has ended."""
        # Run backwards: a standstill would make the last movement look like a cut.
        count, back = self._count, list(self._recent)[-2::-1][:LATE_FRAMES]
        found = [cut for picture in back for cut in self._process(picture)]
        return [cut for cut in found if cut < count]

    def _process(self, picture: Bytes) -> list[int]:
        from scenedetect import FrameTimecode

        cuts = self._detector.process_frame(FrameTimecode(self._count, self._rate), picture)
        self._count += 1
        return [cut.frame_num for cut in cuts]

    def _is_flash(self) -> bool:
        """Whether the newest picture looks again like the one before the reported cut."""
        before, begin, *_, newest = (picture.astype(np.int16) for picture in self._recent)
        change, remains = np.abs(begin - before).mean(), np.abs(newest - before).mean()
        return bool(remains <= FLASH_RETURN * change)


def shots_from_cuts(cuts: Iterable[int], n_frames: int) -> list[Shot]:
    """The shots of a film of `n_frames` frames; `cuts` are frame numbers that begin a shot."""
    if n_frames < 1:
        return []
    firsts = sorted({0, *(cut for cut in cuts if 0 < cut < n_frames)})
    lasts = [first - 1 for first in firsts[1:]] + [n_frames - 1]
    return [
        Shot(index=index, first=first, last=last)
        for index, (first, last) in enumerate(zip(firsts, lasts, strict=True))
    ]
