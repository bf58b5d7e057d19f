"""Measures that are taken view by view while both films go by; only numbers are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from facerestore.evaluation import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facerestore.evaluation.views import View
    from facerestore.faces.detect import Detector
    from facerestore.frames import Bytes, Floats

    Numbers = dict[str, float | int | None]

Item = TypeVar("Item")
SMALLEST = 11  # px, SSIM's window
CENTRED = 0.25  # of the side: a face farther from the middle of its square is somebody else's
LEAST_APART = 0.1  # of the side: in a profile the eyes meet, and any distance would be infinite


class Meter(Protocol):
    """Something that measures: views in order of time, then the results by field of `Scores`."""

    def push(self, view: View) -> None:
        """Measure a view."""
        ...

    def results(self) -> Numbers:
        """Means over all views so far; None where there was nothing to measure."""
        ...


class Neighbours(Generic[Item]):
    """Remembers what was seen in the frame before, of each thread; never more than two frames."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Item]] = {}

    def swap(self, view: View, item: Item) -> Item | None:
        """Remember the item of a view; returns that of the same thread one frame before, if any."""
        self._seen = {t: kept for t, kept in self._seen.items() if kept[0] >= view.frame - 1}
        before = self._seen.get(view.thread)
        self._seen[view.thread] = (view.frame, item)
        return before[1] if before is not None and before[0] == view.frame - 1 else None


class Pictures:
    """PSNR, chroma PSNR, SSIM and temporal error of views, or of the holes in them."""

    def __init__(self, *, in_holes: bool = False) -> None:
        self.in_holes = in_holes
        self.psnr: list[float] = []
        self.chroma: list[float] = []
        self.ssim: list[float] = []
        self.temporal: list[float] = []
        self.neighbours: Neighbours[View] = Neighbours()

    def push(self, view: View) -> None:
        before = self.neighbours.swap(view, view)
        out, ref, holes = view.out[None], view.ref[None], None
        if self.in_holes:
            assert view.holes is not None
            holes = view.holes[None]
        self.psnr.append(metrics.psnr(out, ref, holes=holes)[0])
        self.chroma.append(metrics.chroma_psnr(out, ref, holes=holes)[0])
        if min(view.out.shape[:2]) >= SMALLEST:
            self.ssim.append(metrics.ssim(out, ref, holes=holes)[0])
        if before is not None:
            both = np.stack([before.out, view.out]), np.stack([before.ref, view.ref])
            pair = None if holes is None else np.concatenate([holes, holes])
            self.temporal.append(metrics.temporal_error(*both, holes=pair)[0])

    def results(self) -> Numbers:
        found: Numbers = {
            "views": len(self.psnr) - int(np.isnan(self.psnr).sum()),
            "psnr": mean(self.psnr),
            "chroma_psnr": mean(self.chroma),
            "ssim": mean(self.ssim),
            "temporal_error": mean(self.temporal),
            "equal": int(np.isposinf(self.psnr).sum()),
            "equal_chroma": int(np.isposinf(self.chroma).sum()),
        }
        return {f"hole_{name}": value for name, value in found.items()} if self.in_holes else found


class Landmarks:
    """How far the detector's points lie from those in the reference, in eye distances."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.eyes: list[float] = []
        self.mouth: list[float] = []
        self.one_sided = 0

    def push(self, view: View) -> None:
        out, ref = (self._points(picture) for picture in (view.out, view.ref))
        self.one_sided += (out is None) != (ref is None)
        if out is None or ref is None:
            return
        apart = max(float(np.linalg.norm(ref[1] - ref[0])), LEAST_APART * len(view.ref))
        off = np.linalg.norm(out - ref, axis=1) / apart  # [5]
        self.eyes.append(float(off[:2].mean()))
        self.mouth.append(float(off[3:].mean()))

    def _points(self, picture: Bytes) -> Floats | None:
        """float64 [5, 2]: the landmarks of the face in the middle of a square, if there is one."""
        side = len(picture)
        faces = self.detector.detect(np.ascontiguousarray(picture[..., ::-1]))
        off = [
            float(np.abs((face.box[:2] + face.box[2:]) / 2 - side / 2).max()) / side
            for face in faces
        ]
        nearest = int(np.argmin(off)) if off else None
        return None if nearest is None or off[nearest] > CENTRED else faces[nearest].landmarks

    def results(self) -> Numbers:
        return {
            "eyes_distance": mean(self.eyes),
            "mouth_distance": mean(self.mouth),
            "landmark_views": len(self.eyes),
            "found_in_one": self.one_sided,
        }


def mean(values: Iterable[float]) -> float | None:
    """Mean of the finite values; None if there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None
