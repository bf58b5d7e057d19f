"""The numbers of the progress line."""

import time

from facerestore.console_clock import Clock, describe
from facerestore.survey import Step


def step(frame, stage="restoring"):
    return Step(stage, frame, 100, 1, 2, 1)


def test_a_film_taken_up_again_is_not_faster(monkeypatch):
    """The frames of the run before are not this run's speed."""
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock()
    clock.see(step(60))
    assert describe(step(60), clock) == "frame 60/100 · shot 1/2 · 1 face"
    assert clock.left(step(60)) == []
    now[0] += 10
    clock.see(step(80))
    assert describe(step(80), clock).endswith("1 face · 2.0 fps")
    assert clock.left(step(80)) == ["about 10 s left"]
    clock.see(step(10, "reporting"))
    assert clock.rate(step(10, "reporting")) == 0
    now[0] += 1
    assert clock.left(step(10.005, "reporting")) == ["about 5.0 h left"]
