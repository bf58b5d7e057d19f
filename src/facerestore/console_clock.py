"""How fast a film is, and how much time is left, in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facerestore.survey import Step


class Clock:
    """How fast the stage at work is, counted from its first step: a film may be taken up again."""

    def __init__(self) -> None:
        self.stage, self.first, self.begin = "", 0.0, 0.0

    def see(self, step: Step) -> None:
        """A step; goes before its numbers are asked for."""
        if step.stage != self.stage or step.frame < self.first:
            self.stage, self.first, self.begin = step.stage, step.frame, time.monotonic()

    def rate(self, step: Step) -> float:
        """Frames per second, 0 before there are any."""
        return (step.frame - self.first) / max(time.monotonic() - self.begin, 1e-3)

    def left(self, step: Step) -> list[str]:
        """`about 2 min left`, as soon as that can be said."""
        rate = self.rate(step)
        if rate <= 0 or step.frame > step.frames:
            return []
        seconds = (step.frames - step.frame) / rate
        minutes = seconds / 60
        time_left = f"{seconds:.0f} s" if seconds < 90 else f"{minutes:.0f} min"
        return [f"about {time_left if minutes < 90 else f'{minutes / 60:.1f} h'} left"]


def describe(step: Step, clock: Clock) -> str:
    """`frame 120/600 · shot 2 · 3 faces · 11.2 fps`."""
    shots = f"shot {step.shot}/{step.shots}" if step.shots else f"shot {step.shot}"
    faces = "1 face" if step.faces == 1 else f"{step.faces} faces"
    rate = clock.rate(step)
    speed = [f"{rate:.1f} fps"] if rate else []
    return " · ".join([f"frame {step.frame:.0f}/{step.frames}", shots, faces, *speed])
