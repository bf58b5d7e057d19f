"""What batches, the sandbox and segments cost, with `mini` on short clips.

    python benchmarks/throughput.py FOLDER_OF_CLIPS [--films 8] [--seconds 1.0] [--rounds 1]

Each film is restored three ways: in this process with one segment a film, in this process with
segments as always, in the sandbox. Prints JSON: seconds of each (the fastest of the rounds, loading
the model left out), and the share of the batch that is the films themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from facerestore.attempt import DONE, attempt
from facerestore.console import choose_reporter
from facerestore.films import Job
from facerestore.options import RestoreOptions, load_tools
from facerestore.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerestore.attempt import Outcome


def timed(films: list[Path], one: Callable[[Job], Outcome]) -> tuple[float, float]:
    """Seconds for all films, and of these the model's."""
    with tempfile.TemporaryDirectory() as place:
        begin, model = time.monotonic(), 0.0
        for number, film in enumerate(films):
            outcome = one(Job(film, Path(place), str(number)))
            if outcome.status != DONE or outcome.result is None:
                raise SystemExit(outcome.message)
            model += outcome.result.seconds["model"]
        return time.monotonic() - begin, model


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=1)
    wish = parser.parse_args()
    clips = sorted(wish.clips.glob("*.mp4"))
    films = [clips[i % len(clips)] for i in range(wish.films)]
    options = RestoreOptions(model="mini", end_seconds=wish.seconds, overwrite=True)
    quiet, tools = choose_reporter(as_json=False, quiet=True), load_tools(options)
    box = Sandbox(options, Limits())

    def here(job: Job) -> Outcome:
        return attempt(job, options, lambda: tools, quiet)

    def apart(job: Job) -> Outcome:
        return box.attempt(job, quiet)

    timed(films[:1], here), timed(films[:1], apart)  # loads and warms up
    job_module = import_module("facerestore.restore")
    usual = job_module.SEGMENT_FRAMES
    rounds = []
    for _ in range(wish.rounds):
        job_module.SEGMENT_FRAMES = sys.maxsize
        whole = timed(films, here)
        job_module.SEGMENT_FRAMES = usual
        rounds.append((whole, timed(films, here), timed(films, apart)))
    box.close()
    whole, segments, sandbox = (min(column) for column in zip(*rounds, strict=True))
    facts = {
        "films": len(films),
        "seconds_one_segment": round(whole[0], 2),
        "seconds_segments": round(segments[0], 2),
        "seconds_sandbox": round(sandbox[0], 2),
        "model_seconds": round(sandbox[1], 2),
        "overhead_of_sandbox_and_segments": round(sandbox[0] / whole[0] - 1, 4),
        "model_share_of_batch": round(sandbox[1] / sandbox[0], 4),
    }
    print(json.dumps(facts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
