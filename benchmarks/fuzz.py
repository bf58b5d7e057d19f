"""Damage films at random and restore them with random options and a restorer that does nothing.

    python benchmarks/fuzz.py FOLDER_OF_CLIPS [--minutes 10] [--seed 0] [--limit 60]

Films are damaged by bit flips, truncation, zeroed and repeated blocks, swapped atoms and swapped
halves. Whatever comes, the parent must live, no film may take longer than the limit, and an output
exists only if it decodes as far as its record says and has the sum that is written there. Prints
JSON; the exit code is 1 if anything of that fails. `--keep` stores the films that did it. A busy
machine needs a higher `--limit`: loading is left out, but seconds are those of the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from facerestore.attempt import Outcome
from facerestore.bench import Unchanged
from facerestore.console import choose_reporter
from facerestore.errors import FaceRestoreError
from facerestore.faces.detect import Detector, Found
from facerestore.films import Job
from facerestore.options import RestoreOptions, Tools
from facerestore.places import sidecar_path
from facerestore.sandbox import Limits, Sandbox
from facerestore.video.profiles import PROFILES
from facerestore.video.reader import open_video

LOADING_SECONDS = 600.0
FILMS_PER_PROCESS = 10
MOST_BYTES = 400_000  # of a clip, so that many can be tried


def null_tools(options: RestoreOptions) -> Tools:
    """A restorer that returns its input, a detector that sees a face in the middle."""
    detector = Detector("middle", "0" * 64, middle_face, "1")
    return Tools(Unchanged(64), detector, None, {"name": "null", "version": "1", "sha256": {}})


def middle_face(picture: np.ndarray) -> Found:
    """A face half as high as the picture."""
    height, width = picture.shape[:2]
    side = min(height, width) / 4
    centre = np.array([width / 2, height / 2])
    marks = np.array([[-0.4, -0.3], [0.4, -0.3], [0, 0.1], [-0.3, 0.5], [0.3, 0.5]])
    box = np.concatenate([centre - side, centre + side])
    return Found(box[None], (centre + marks * side)[None], np.array([0.9]))


def damaged(content: bytes, chance: random.Random) -> tuple[bytes, str]:
    """A film with one kind of damage, and its name."""
    data, kind = bytearray(content), chance.choice(DAMAGES)
    size = len(data)
    if kind == "flips":
        for _ in range(chance.choice((1, 10, 100, 1000))):
            data[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind in ("head", "tail"):  # where MP4 keeps its tables
        for _ in range(chance.choice((1, 5, 20))):
            place = chance.randrange(min(size, 4000))
            data[place if kind == "head" else -1 - place] = chance.randrange(256)
    elif kind == "truncated":
        del data[chance.randrange(size) :]
    elif kind in ("zeros", "repeated"):
        start, length = chance.randrange(size), chance.randrange(1, 20_000)
        block = data[start : start + length]
        data[start : start + length] = bytes(len(block)) if kind == "zeros" else block * 2
    elif kind == "atoms":
        data = swapped_atoms(data, chance)
    elif kind == "halves":
        data = data[size // 2 :] + data[: size // 2]
    return bytes(data), kind


DAMAGES = ("flips", "head", "tail", "truncated", "zeros", "repeated", "atoms", "halves", "none")


def swapped_atoms(data: bytearray, chance: random.Random) -> bytearray:
    """The top atoms of an MP4 in another order."""
    atoms, place = [], 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length < 8:
            break
        atoms.append(data[place : place + length])
        place += length
    chance.shuffle(atoms)
    return bytearray(b"".join(atoms)) + data[place:]


def random_options(chance: random.Random) -> RestoreOptions:
    """Options that a user could give."""
    start = chance.choice((None, None, 0.1, 5.0))
    return RestoreOptions(
        profile=chance.choice(PROFILES),
        start_seconds=start,
        end_seconds=chance.choice((None, (start or 0) + 0.5)),
        strength=chance.choice((1.0, 0.3)),
        crop_only=chance.random() < 0.1,
        resume=chance.random() < 0.5,
        overwrite=True,
    )


def loaded_box(options: RestoreOptions, clip: bytes, folder: Path) -> Sandbox:
    """A sandbox that has restored a film: what it loads takes longer than any of the films."""
    box = Sandbox(options, Limits(4.0, LOADING_SECONDS), load=null_tools)
    film = folder / "first.mp4"
    film.write_bytes(clip)
    box.attempt(Job(film, folder / "first"), choose_reporter(as_json=False, quiet=True))
    return box


def lie(output: Path) -> str:
    """What an output claims and is not; "" if it is what its record says."""
    try:
        record = json.loads(sidecar_path(output).read_text())
    except (OSError, ValueError) as error:
        return f"no record: {error}"
    if hashlib.sha256(output.read_bytes()).hexdigest() != record["output"]["sha256"]:
        return "another sum"
    try:
        frames = sum(1 for _ in open_video(output).frames())
    except FaceRestoreError as error:
        return f"does not decode: {error}"
    copied = record["encoder"]["codec"] == "copy"  # as damaged as its source was
    return (
        "" if copied or frames == record["frames"] or record["options"]["crop_only"] else "frames"
    )


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60.0, help="Seconds for one film.")
    parser.add_argument("--keep", type=Path)
    wish = parser.parse_args()
    chance, quiet = random.Random(wish.seed), choose_reporter(as_json=False, quiet=True)
    clips = [
        p.read_bytes() for p in sorted(wish.clips.glob("*.mp4")) if p.stat().st_size < MOST_BYTES
    ]
    statuses: Counter[str] = Counter()
    problems, slowest, count = [], 0.0, 0
    end = time.monotonic() + 60 * wish.minutes
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < end:
            options = random_options(chance)
            box = loaded_box(options, clips[0], Path(place))
            box.limits = Limits(memory_gib=4.0, stall_seconds=wish.limit)
            for _ in range(FILMS_PER_PROCESS):
                folder = Path(place, str(count))
                folder.mkdir()
                content, kind = damaged(chance.choice(clips), chance)
                film = folder / "in.mp4"
                film.write_bytes(content)
                begin = time.monotonic()
                outcome: Outcome = box.attempt(Job(film, folder / "out", "film"), quiet)
                seconds, count = time.monotonic() - begin, count + 1
                slowest = max(slowest, seconds)
                statuses[outcome.status if outcome.code != 1 else "crash, hang or unforeseen"] += 1
                wrong = [
                    lie(path) for path in (folder / "out").glob("film.*") if path.suffix != ".json"
                ]
                wrong += ["too slow"] * (seconds > wish.limit + 10)
                wrong += [outcome.message] * (outcome.code == 1)
                if any(wrong):
                    problems.append({"damage": kind, "options": str(options), "what": wrong})
                    if wish.keep:
                        shutil.copytree(folder, wish.keep / str(count))
                shutil.rmtree(folder)
            box.close()
    serious = [p for p in problems if any("process crashed" not in w for w in p["what"])]
    print(json.dumps({"films": count, **statuses, "slowest_seconds": round(slowest, 1),
                      "problems": problems}, indent=1))  # fmt: skip
    return int(bool(serious))


if __name__ == "__main__":
    sys.exit(main())
