"""Kill a batch with -9 at random moments, start it again each time, compare with a calm run.

    python benchmarks/kills.py FOLDER_OF_CLIPS [--films 40] [--kills 10] [--seconds 1.0]

Films are parts of the clips, each in one of the profiles; the model is `mini`. Every output must be
whole and equal to the undisturbed one: planes and times for lossless profiles, all packets for all.
No more than one segment may be restored twice per kill. Prints JSON; the exit code is 1 if anything
differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from facerestore.video.layout import plane_views
from facerestore.video.profiles import PROFILES


def command(profile: str, root: Path, out: Path) -> list[str]:
    """The command a user would type."""
    base = [sys.executable, "-m", "facerestore", "restore", str(root), "-o", str(out)]
    return [*base, "--profile", profile, "-m", "mini", "--quiet"]


def cut_films(clips: list[Path], root: Path, count: int, seconds: float) -> None:
    """So many parts of clips, copied stream by stream, in a folder per profile."""
    for number in range(count):
        clip = clips[number % len(clips)]
        profile = PROFILES[number % len(PROFILES)]
        target = root / profile / f"{number:02}_{clip.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(clip)) as source, av.open(str(target), "w") as out:
            streams = [s for s in source.streams if s.type in ("video", "audio")]
            new = {s.index: out.add_stream_from_template(s, opaque=True) for s in streams}
            for packet in source.demux(*streams):
                if packet.dts is None or float(packet.dts * packet.time_base) > seconds:
                    continue
                packet.stream = new[packet.stream.index]
                out.mux(packet)


def contents(path: Path) -> tuple[list, list]:
    """Times and planes of all frames; stream, times and bytes of all packets."""
    with av.open(str(path)) as film:
        frames = [
            (f.pts, [v.copy() for v in plane_views(f)])
            for f in film.decode(video=0)
            if isinstance(f, av.VideoFrame)
        ]
    with av.open(str(path)) as film:
        packets = [(p.stream.index, p.pts, p.dts, bytes(p)) for p in film.demux() if p.size]
    return frames, packets


def difference(one: Path, two: Path) -> str:
    """What differs between two films, "" if nothing."""
    (frames, packets), (others, other_packets) = contents(one), contents(two)
    if [t for t, _ in frames] != [t for t, _ in others]:
        return "times"
    pairs = zip(frames, others, strict=True)
    if not all(np.array_equal(x, y) for (_, a), (_, b) in pairs for x, y in zip(a, b, strict=True)):
        return "samples"
    return "" if packets == other_packets else "packets"


def finished_frames(out: Path) -> int:
    """Frames of films and of finished segments."""
    total = 0
    for index in out.rglob("[0-9]*.json"):
        if not index.name.endswith(".facerestore.json"):
            total += json.loads(index.read_text())["frames"]
    for sidecar in out.rglob("*.facerestore.json"):
        total += json.loads(sidecar.read_text())["frames"]
    return total


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    chance = random.Random(wish.seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        cut_films(sorted(wish.clips.glob("*.mp4")), root / "in", wish.films, wish.seconds)
        profiles = sorted(path.name for path in (root / "in").iterdir())
        begin = time.monotonic()
        for profile in profiles:
            subprocess.run(command(profile, root / "in" / profile, root / "calm" / profile))
        calm = time.monotonic() - begin
        kills, lost = 0, []
        for profile in profiles:
            share = max(1, wish.kills // len(profiles))
            out = root / "killed" / profile
            while True:
                process = subprocess.Popen(command(profile, root / "in" / profile, out))
                span = calm / len(profiles) / max(share, 1)
                wait = chance.uniform(0.3, 1.0) * span if share else None
                try:
                    process.wait(wait)
                    break
                except subprocess.TimeoutExpired:
                    before = finished_frames(out)
                    process.kill()
                    process.wait()
                    time.sleep(1)  # its sandbox notices and ends
                    share, kills = share - 1, kills + 1
                    lost.append(before - finished_frames(out))
        films = sorted((root / "calm").rglob("*.m[kpo][v4]"))
        differing = {}
        for film in films:
            other = root / "killed" / film.relative_to(root / "calm")
            what = difference(film, other) if other.is_file() else "missing"
            if what:
                differing[str(film.relative_to(root / "calm"))] = what
        left = [path.name for path in (root / "killed").rglob(".*")]
        facts = {
            "films": len(films),
            "kills": kills,
            "differing": differing,
            "finished_frames_lost_by_a_kill": max(lost, default=0),
            "left_behind": left,
            "seconds_undisturbed": round(calm, 1),
        }
        print(json.dumps(facts, indent=1))
    return int(bool(differing or left or len(films) != wish.films))


if __name__ == "__main__":
    sys.exit(main())
