"""Draw the pictures of docs/how.md and docs/report.md from the shipped example.

    python docs/draw_pictures.py

Everything is done by the program itself, on two seconds of the example, whose face belongs to
nobody. The report page is photographed where there is a Chromium and Playwright. The drawings in
SVG are made by hand.
"""

from __future__ import annotations

import shutil
import tempfile
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from facerestore import RestoreOptions, Tasks, restore
from facerestore.faces.detect import load_detector
from facerestore.faces.paste import soft_mask
from facerestore.survey import survey
from facerestore.video.reader import open_video

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
EXAMPLE, MASK = ROOT / "examples" / "old_clip.mp4", ROOT / "examples" / "old_clip_mask.png"
SECONDS, MOMENTS, SHOWN = 2.0, (2, 20, 38), 20  # how much, which frames, the one that is shown
SIDE, GAP = 256, 6  # px of a crop, and between pictures
GREEN, YELLOW, RED = (70, 200, 90), (250, 210, 60), (235, 90, 80)
STRONGER = 8  # how many times a difference is enlarged to be seen


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = survey(
            open_video(EXAMPLE),
            load_detector(),
            start_seconds=None,
            end_seconds=SECONDS,
            largest_only=False,
            listen=lambda step: None,
        )
        restored = made(EXAMPLE, folder / "bfr.mkv", Tasks(bfr=True))
        before, after = frames(EXAMPLE), frames(restored)
        save("follow", beside([followed(before[n], found, n) for n in MOMENTS], height=240))
        save("face", beside(face_steps(before, after, found)))
        save("changed", beside([after[SHOWN], difference(before[SHOWN], after[SHOWN])], height=300))
        save("tasks", tasks(folder, before, found))
        photograph(folder)


def made(source: Path, output: Path, tasks: Tasks, mask: Path | None = None) -> Path:
    """A restored film, without loss."""
    options = RestoreOptions(tasks=tasks, mask=mask, profile="archive", end_seconds=SECONDS)
    return restore(source, output, options).output


def frames(path: Path) -> list[np.ndarray]:
    """The first frames of a film, uint8 RGB."""
    with av.open(str(path)) as film:
        shown = islice(film.decode(video=0), int(SECONDS * 25))
        return [frame.to_ndarray(format="rgb24") for frame in shown]


def followed(picture: np.ndarray, found, number: int) -> np.ndarray:
    """A frame with what was found in it: box and landmarks, and the square that is cut out."""
    track, path = found.tracks[0], found.paths[0]
    i = number - track.first
    drawn = picture.copy()
    box, corner = track.boxes[i], path.centre[i] - path.side[i] / 2
    line(drawn, corner, corner + path.side[i], YELLOW, 3)
    line(drawn, box[:2], box[2:], GREEN, 2)
    for x, y in track.landmarks[i]:
        cv2.circle(drawn, (round(x), round(y)), 4, RED, -1, cv2.LINE_AA)
    return drawn


def line(picture: np.ndarray, one, other, colour, width: int) -> None:
    """A rectangle from corner to corner."""
    corners = [tuple(round(v) for v in corner) for corner in (one, other)]
    cv2.rectangle(picture, *corners, colour, width, cv2.LINE_AA)


def cut(picture: np.ndarray, found, number: int) -> np.ndarray:
    """The square around the face, `SIDE` px."""
    matrix = found.paths[0].matrix(number, SIDE)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=flags, borderMode=border)


def face_steps(before, after, found) -> list[np.ndarray]:
    """The square as it was, the mask, and as it is in the new film."""
    mask = np.repeat((soft_mask(SIDE) * 255).astype(np.uint8)[..., None], 3, axis=2)
    return [cut(before[SHOWN], found, SHOWN), mask, cut(after[SHOWN], found, SHOWN)]


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What was changed, stronger, around grey."""
    change = after.astype(int) - before.astype(int)
    return np.clip(128 + STRONGER * change, 0, 255).astype(np.uint8)


def tasks(folder: Path, before: list[np.ndarray], found) -> np.ndarray:
    """Above a black-and-white frame and a scratched one, below what becomes of them."""
    hole = cv2.imread(str(MASK), cv2.IMREAD_GRAYSCALE) > 127
    grey = [np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for p in before]
    scratched = [np.where(hole[..., None], np.uint8(255), picture) for picture in before]
    above, below = [], []
    for name, pictures, wish, mask in (
        ("color", grey, Tasks(color=True), None),
        ("inpaint", scratched, Tasks(bfr=True, inpaint=True), MASK),
    ):
        bad = write(folder / f"{name}.mkv", pictures)
        new = frames(made(bad, folder / f"{name}.new.mkv", wish, mask))
        above.append(cut(pictures[SHOWN], found, SHOWN))
        below.append(cut(new[SHOWN], found, SHOWN))
    pairs = [one for pair in zip(above, below, strict=True) for one in pair]
    return beside(pairs)


def write(path: Path, pictures: list[np.ndarray]) -> Path:
    """A film of these pictures, without loss."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv444p")))
        out.mux(stream.encode(None))
    return path


def beside(pictures: list[np.ndarray], height: int = SIDE) -> np.ndarray:
    """Pictures in a row, of one height, white between."""
    scaled = [
        cv2.resize(
            p, (round(p.shape[1] * height / p.shape[0]), height), interpolation=cv2.INTER_AREA
        )
        for p in pictures
    ]
    white = np.full((height, GAP, 3), 255, np.uint8)
    row = [part for picture in scaled for part in (picture, white)]
    return np.concatenate(row[:-1], axis=1)


def save(name: str, picture: np.ndarray) -> None:
    """Write a picture as WebP."""
    options = [cv2.IMWRITE_WEBP_QUALITY, 88]
    cv2.imwrite(str(PICTURES / f"{name}.webp"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)


def photograph(folder: Path) -> None:
    """The top of the report page, as a browser shows it."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no chromium on the PATH: report.webp stays as it is")
        return
    from playwright.sync_api import sync_playwright

    restore(EXAMPLE, folder / "new.mp4", RestoreOptions(report=True))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto((folder / "new.mp4.report.html").as_uri())
        page.wait_for_timeout(2000)
        shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1200, "height": 1080})
        browser.close()
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    save("report", cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    main()
