"""Meters of what moves, and of what is sharp: nothing here needs weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerestore.evaluation.flow import LEAST_SIDE, flow_between, seen_in_both, warp_error
from facerestore.evaluation.meters import Neighbours, mean
from facerestore.faces.identity import crop_sharpness

if TYPE_CHECKING:
    from facerestore.evaluation.meters import Numbers
    from facerestore.evaluation.views import View


class Warp:
    """Temporal error against optical flow; both films along the motion of the reference."""

    def __init__(self) -> None:
        self.views = 0
        self.out: list[float] = []
        self.ref: list[float] = []
        self.neighbours: Neighbours[View] = Neighbours()

    def push(self, view: View) -> None:
        self.views += 1
        before = self.neighbours.swap(view, view)
        if before is None or min(view.ref.shape[:2]) < LEAST_SIDE:
            return
        flow = flow_between(before.ref, view.ref)
        seen = seen_in_both(flow, flow_between(view.ref, before.ref))
        self.out.append(warp_error(before.out, view.out, flow, seen))
        self.ref.append(warp_error(before.ref, view.ref, flow, seen))

    def results(self) -> Numbers:
        found: Numbers = {"warp_error": mean(self.out), "ref_warp_error": mean(self.ref)}
        return found | {"views": self.views}


class Sharpness:
    """Fine detail of faces, of squares only."""

    def __init__(self) -> None:
        self.out: list[float] = []
        self.ref: list[float] = []

    def push(self, view: View) -> None:
        self.out.append(crop_sharpness(view.out))
        self.ref.append(crop_sharpness(view.ref))

    def results(self) -> Numbers:
        return {"sharpness": mean(self.out), "ref_sharpness": mean(self.ref)}
