"""Kill a batch with -9 at random moments, start it again each time, compare with a calm run.

    python benchmarks/kills.py FOLDER_OF_CLIPS [--films 40] [--kills 10] [--seconds 1] [--long 6]

Films are parts of the clips, each in one of the profiles; every eighth is `--long` seconds, so that
it has several segments. The model is `mini`. Every other kill takes the sandbox along, as a power
cut would; the rest hit the parent alone. Every output must be whole and equal to the undisturbed
one: planes, times, all packets and the record. No film may be made again that was finished, and no
more than a chunk restored twice per kill. Prints JSON; exit code 1 if any of that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import psutil

from facerestore.video.layout import plane_views
from facerestore.video.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".mp4", ".mkv", ".mov")
CHUNK_FRAMES = 128  # of `mini`
LONG_ONES = 8  # every so many films one is long


def command(profile: str, root: Path, out: Path, model: str = "mini") -> list[str]:
    """The command a user would type."""
    base = [sys.executable, "-m", "facerestore", "restore", str(root), "-o", str(out)]
    return [*base, "--profile", profile, "-m", model, "--json"]


def cut_films(clips: list[Path], root: Path, count: int, seconds: float, long: float) -> None:
    """So many parts of clips, copied stream by stream, in a folder per profile."""
    longest = sorted(clips, key=length, reverse=True)
    for number in range(count):
        is_long = number % LONG_ONES == 0
        clip = longest[number // LONG_ONES % len(clips)] if is_long else clips[number % len(clips)]
        target = root / PROFILES[number % len(PROFILES)] / f"{number:02}_{clip.name}"
        cut(clip, target, long if is_long else seconds)


def length(clip: Path) -> float:
    """As its header says, in microseconds."""
    with av.open(str(clip)) as film:
        return film.duration or 0


def cut(clip: Path, target: Path, seconds: float) -> None:
    """The beginning of a film, copied stream by stream."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        streams = [s for s in source.streams if s.type in ("video", "audio")]
        new = {s.index: out.add_stream_from_template(s, opaque=True) for s in streams}
        for packet in source.demux(*streams):
            if packet.dts is None or float(packet.dts * packet.time_base) > seconds:
                continue
            packet.stream = new[packet.stream.index]
            out.mux(packet)


def frames_of(path: Path) -> Iterator[tuple[int | None, list[np.ndarray]]]:
    """Time and planes of each frame."""
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            if isinstance(frame, av.VideoFrame):
                yield frame.pts, list(plane_views(frame))


def packets_of(path: Path) -> list[tuple]:
    """Stream, times and bytes of all packets."""
    with av.open(str(path)) as film:
        return [(p.stream.index, p.pts, p.dts, bytes(p)) for p in film.demux() if p.size]


def record_of(path: Path) -> dict[str, Any]:
    """What stands beside an output, but for where it is and how long it took."""
    record = json.loads(Path(f"{path}.facerestore.json").read_text())
    return {name: fact for name, fact in record.items() if name not in ("output", "seconds")}


def difference(one: Path, two: Path) -> str:
    """What differs between two outputs, "" if nothing."""
    try:
        for (time_one, planes), (time_two, others) in zip(
            frames_of(one), frames_of(two), strict=True
        ):
            if time_one != time_two:
                return "times"
            if not all(np.array_equal(a, b) for a, b in zip(planes, others, strict=True)):
                return "samples"
    except ValueError:
        return "number of frames"
    if packets_of(one) != packets_of(two):
        return "packets"
    mine, other = record_of(one), record_of(two)
    return ", ".join(f"record ({name})" for name in mine if mine[name] != other[name])


def all_differences(calm: Path, other: Path) -> dict[str, str]:
    """By output below `calm`, what differs in the one of the same name below `other`."""
    found = {}
    for film in sorted(finished(calm)):
        name = film.relative_to(calm)
        what = difference(film, other / name) if (other / name).is_file() else "missing"
        if what:
            found[str(name)] = what
    return found


def finished(out: Path) -> Iterator[Path]:
    """The outputs that have their names; work folders come and go while one looks."""
    for folder, below, names in os.walk(out):
        below[:] = [name for name in below if name[0] != "."]
        yield from (Path(folder, name) for name in names if name.endswith(SUFFIXES))


def stamps(out: Path) -> dict[str, int]:
    """When each finished output was written."""
    return {str(path): path.stat().st_mtime_ns for path in finished(out)}


def events(log: Path) -> list[dict[str, Any]]:
    """What a run said, up to the line it was killed in."""
    lines = log.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


def at_work(run: list[dict[str, Any]]) -> tuple[str, int]:
    """The film a killed run was at, and the frame its model had reached; "" if at none."""
    film, reached = "", 0
    for event in run:
        if event["event"] == "start":
            film, reached = event["input"], 0
        elif event["event"] == "note" and "at frame" in event["message"]:
            reached = int(event["message"].split()[-1])
        elif event["event"] == "progress" and event["stage"] == "restoring":
            reached = event["frame"]
        elif event["event"] == "done":
            film = ""
    return film, reached


def went_on_at(film: str, runs: list[list[dict[str, Any]]]) -> int | None:
    """The frame at which a film was taken up by the runs after a kill; None = it was done."""
    for run in runs:
        here = False
        for event in run:
            here = event["input"] == film if event["event"] == "start" else here
            if here and event["event"] == "note" and "at frame" in event["message"]:
                return int(event["message"].split()[-1])
            if here and event["event"] == "note" and "done already" in event["message"]:
                return None
            if here and event["event"] == "progress":
                return 0
    return None


def kill(process: subprocess.Popen, *, alone: bool) -> None:
    """End a run with -9, and unless `alone` the processes it started."""
    family = [] if alone else psutil.Process(process.pid).children(recursive=True)
    for one in (process, *family):
        one.kill()
    process.wait()
    time.sleep(1)  # its sandbox notices and ends


def killed_batch(
    start: list[str], out: Path, waits: list[float]
) -> tuple[list[list[dict[str, Any]]], int, list[str]]:
    """Run a batch and kill it after each of `waits` seconds, then let it finish.

    Returns what the runs said, how many were killed, and outputs that were written again.
    """
    runs, kills, again = [], 0, []
    out.mkdir(parents=True)
    while True:
        log = out.parent / f"{out.name}-{len(runs)}.log"
        before = stamps(out)
        with log.open("w") as file:
            process = subprocess.Popen(start, stdout=file)
        try:
            process.wait(waits[kills] if kills < len(waits) else None)
        except subprocess.TimeoutExpired:
            kill(process, alone=kills % 2 == 0)
            kills += 1
        now = stamps(out)
        again += [name for name, stamp in before.items() if now.get(name) != stamp]
        runs.append(events(log))
        if process.returncode >= 0:
            return runs, kills, again


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--long", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="Work here, and leave everything.")
    wish = parser.parse_args()
    chance = random.Random(wish.seed)
    with tempfile.TemporaryDirectory() as place:
        root = wish.keep or Path(place)
        clips = sorted(wish.clips.glob("*.mp4"))
        cut_films(clips, root / "in", wish.films, wish.seconds, wish.long)
        profiles = sorted(path.name for path in (root / "in").iterdir())
        kills, again, twice, calm_seconds = 0, [], [], 0.0
        for number, profile in enumerate(profiles):
            begin = time.monotonic()
            calm = command(profile, root / "in" / profile, root / "calm" / profile)
            subprocess.run(calm, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - begin
            calm_seconds += seconds
            share = wish.kills // len(profiles) + (number < wish.kills % len(profiles))
            waits = [chance.uniform(0.3, 1.0) * seconds / share for _ in range(share)]
            out = root / "killed" / profile
            start = command(profile, root / "in" / profile, out)
            runs, killed, redone = killed_batch(start, out, waits)
            kills, again = kills + killed, again + redone
            for place_in, run in enumerate(runs[:-1]):
                film, reached = at_work(run)
                went_on = went_on_at(film, runs[place_in + 1 :])
                twice.append(0 if went_on is None else max(0, reached - went_on))
        differing = all_differences(root / "calm", root / "killed")
        films = list(finished(root / "calm"))
        left = [path.name for path in (root / "killed").rglob(".*")]
        facts = {
            "films": len(films),
            "frames": sum(record_of(path)["frames"] for path in films),
            "kills": kills,
            "differing": differing,
            "finished_films_made_again": again,
            "frames_restored_twice_by_each_kill": twice,
            "left_behind": left,
            "seconds_undisturbed": round(calm_seconds, 1),
        }
        print(json.dumps(facts, indent=1))
    too_much = max(twice, default=0) > CHUNK_FRAMES
    return int(bool(differing or left or again or too_much or len(films) != wish.films))


if __name__ == "__main__":
    sys.exit(main())
