"""Measure restoration on clean films: spoil them, restore them, compare. Writes docs/quality.md.

    python benchmarks/quality.py FOLDER_OF_CLEAN_FILMS [--frames 50] [--keep FOLDER]

Numbers are taken inside the face squares (256 px): PSNR (dB) and SSIM against the clean film, and
the mean absolute difference between neighbouring frames (8-bit codes), which shows flicker: it
should be near that of the clean film. `--keep` stores the spoilt and restored films to look at.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from facerestore.frames import Tasks
from facerestore.options import RestoreOptions, load_tools
from facerestore.restore import restore
from facerestore.survey import survey
from facerestore.training.degrade import to_grey
from facerestore.video.compress import recompress
from facerestore.video.planes import crop_rgb
from facerestore.video.reader import open_video
from facerestore.video.simple import write_rgb

REPORT = Path(__file__).parent.parent / "docs" / "quality.md"
MIXES = ("bfr", "color", "bfr,color", "inpaint", "bfr,color,inpaint")
SIZE = 256


@dataclass(frozen=True)
class Scores:
    """PSNR in dB, SSIM, and mean difference of neighbouring frames in codes."""

    psnr: float
    ssim: float
    change: float


def clean_frames(path, count):
    """The first frames of a film, uint8 RGB [F, H, W, 3], and its rate."""
    film = open_video(path)
    frames = [f.to_ndarray(format="rgb24") for f in islice(film.frames(), count)]
    return np.stack(frames), film.info.rate


def spoil(frames, tasks, rng):
    """The film as `tasks` have to undo it, and the mask of the holes or None."""
    bad, (height, width) = frames, frames.shape[1:3]
    if tasks.bfr:
        small = [
            cv2.resize(cv2.GaussianBlur(f, (0, 0), height / 256), (width // 4 * 2, height // 4 * 2))
            for f in bad
        ]
        noisy = np.stack(small) + rng.normal(0, 6, (len(small), *small[0].shape[:2], 1))
        grainy = np.clip(noisy, 0, 255).astype(np.uint8)
        codec = recompress(grainy, codec="libx264", quantizer=27)
        bad = np.stack(
            [cv2.resize(f, (width, height), interpolation=cv2.INTER_CUBIC) for f in codec]
        )
    if tasks.color:
        bad = to_grey(bad)
    if not tasks.inpaint:
        return bad, None
    mask = np.zeros((height, width), np.uint8)
    points = [(0.3, 0.2), (0.45, 0.5), (0.62, 0.62), (0.7, 0.9)]
    line = np.array([(x * width, y * height) for x, y in points], np.int32)
    cv2.polylines(mask, [line], False, 255, max(3, height // 40))
    return np.where(mask[None, ..., None] > 0, np.uint8(255), bad), mask


def face_squares(path, paths, count):
    """uint8 [F, 256, 256, 3] cut out of a film along the paths of its clean version."""
    film = open_video(path)
    crops = []
    for number, frame in enumerate(film.frames()):
        if number < count and paths.first <= number < paths.first + len(paths):
            matrix = paths.matrix(number, SIZE)
            crops.append(crop_rgb(frame, matrix, to_coded=film.info.to_coded, size=SIZE))
    return np.stack(crops)


def score(crops, clean):
    """Scores of crops against the clean ones, in the middle of the squares."""
    inner = np.s_[:, 40:232, 48:208]
    a, b = crops[inner].astype(np.float64), clean[inner].astype(np.float64)
    mse = np.maximum(((a - b) ** 2).mean((1, 2, 3)), 1e-6)  # equal pictures: 108 dB
    ssim = [
        structural_similarity(x, y, channel_axis=-1, data_range=255)
        for x, y in zip(crops[inner][::5], clean[inner][::5], strict=True)
    ]
    return Scores(
        float((10 * np.log10(255**2 / mse)).mean()),
        float(np.mean(ssim)),
        float(np.abs(np.diff(a, axis=0)).mean()),
    )


def measure(source, mix, tools, folder, count):
    """Scores of the spoilt, the restored and the clean film for one mix of tasks."""
    tasks = Tasks.parse(mix)
    frames, rate = clean_frames(source, count)
    frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    bad, mask = spoil(frames, tasks, np.random.default_rng(0))
    name = f"{source.stem}-{mix.replace(',', '-')}"
    spoilt, clean, output = (folder / f"{name}.{kind}.mp4" for kind in ("bad", "clean", "out"))
    for path, pictures in ((spoilt, bad), (clean, frames)):
        times = range(len(pictures))
        write_rgb(path, pictures, pts=times, time_base=1 / rate, rate=rate, overwrite=True)
    mask_path = None
    if mask is not None:
        mask_path = folder / f"{name}.png"
        cv2.imwrite(str(mask_path), mask)
    options = RestoreOptions(tasks=tasks, mask=mask_path, profile="lossless", overwrite=True)
    restore(spoilt, output, options, tools=lambda: tools)
    paths = survey(open_video(clean), tools.detector, largest_only=True).paths[0]
    truth = face_squares(clean, paths, count)
    return [score(face_squares(p, paths, count), truth) for p in (spoilt, output, clean)]


def report(rows, model, count):
    """The table as Markdown."""
    lines = [
        "# Quality of the bundled model",
        "",
        f"Written by `benchmarks/quality.py`: the first {count} frames of clean films, spoilt, "
        f"restored with `mini` {model['version']} in one step, compared inside the face square. "
        "Spoilt for bfr: blurred (sigma = height / 256), halved, grain of 6 codes, H.264 crf 27; "
        "for color: made grey; for inpaint: a white scratch across the face. Change is the mean "
        "difference between neighbouring frames in 8-bit codes (flicker and motion together).",
        "",
        "| film | task | PSNR in -> out (dB) | SSIM in -> out | change in / out / clean |",
        "| --- | --- | --- | --- | --- |",
    ]
    for film, mix, bad, out, clean in rows:
        lines.append(
            f"| {film} | {mix} | {bad.psnr:.2f} -> {out.psnr:.2f} | {bad.ssim:.3f} -> "
            f"{out.ssim:.3f} | {bad.change:.2f} / {out.change:.2f} / {clean.change:.2f} |"
        )
    for mix in MIXES:
        chosen = [row for row in rows if row[1] == mix]
        if chosen:
            gain = np.mean([out.psnr - bad.psnr for _, _, bad, out, _ in chosen])
            ssim = np.mean([out.ssim - bad.ssim for _, _, bad, out, _ in chosen])
            lines.append(f"| **mean gain** | {mix} | {gain:+.2f} | {ssim:+.3f} | |")
    return "\n".join(lines) + "\n"


def main():
    """Measure every film of a folder and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--pattern", default="*.mp4")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    tools = load_tools(RestoreOptions())
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for film in sorted(options.films.glob(options.pattern)):
            for mix in MIXES:
                rows.append((film.stem, mix, *measure(film, mix, tools, folder, options.frames)))
                print(*rows[-1])
    REPORT.write_text(report(rows, tools.model, options.frames))


if __name__ == "__main__":
    main()
