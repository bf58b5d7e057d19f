"""Measure the bundled model on clean films: spoil, restore, compare. Writes docs/quality.md.

    python benchmarks/quality.py FOLDER_OF_CLEAN_FILMS [--films clean_d0 clean_d3] [--keep FOLDER]

Films are spoilt by `facerestore degrade` with fixed seeds. Numbers are taken in the face (the inner
part of its square), against the clean film, with the measures of `facerestore evaluate`: in squares
of 256 px, and PSNR, SSIM and detail again in squares of as many pixels as the film has there.
Beside the model stand what everybody has: non-local means and unsharp masking (OpenCV), hqdn3d and
unsharp (the `ffmpeg` command, where it is installed), Telea's inpainting (OpenCV).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice, product
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from facerestore.evaluation.metrics import chroma_psnr, psnr, ssim, temporal_error
from facerestore.frames import Tasks
from facerestore.options import RestoreOptions, load_tools
from facerestore.restore import restore
from facerestore.survey import survey
from facerestore.training.spoil import degrade_film
from facerestore.video.layout import as_rgb
from facerestore.video.planes import crop_rgb, with_picture
from facerestore.video.reader import open_video
from facerestore.video.writer import create_like

REPORT = Path(__file__).parent.parent / "docs" / "quality.md"
SIZE = 256
TOP, BOTTOM, LEFT, RIGHT = 40, 232, 48, 208  # the face in its square, at SIZE
SHARPEN = 0.5  # of unsharp masking, the same for all baselines
SEVERITY = "medium"
OTHERS = ("light", "heavy")  # for blind restoration only
LONG = "long"  # medium again, for `--long` frames: what drifts comes round once in three seconds
GROUP = 3  # seeds: what is drawn differs a lot, so blind restoration is measured with three times
# as many as the other tasks, and each three of them have a row of their own
TASKS = ("bfr", "color", "inpaint", "bfr,color", "bfr,color,inpaint")
METHODS = {
    "bfr": ("mini, 1 step", "mini, 4 steps", "nlmeans", "hqdn3d"),
    "inpaint": ("mini, 1 step", "mini, 4 steps", "telea"),
}


@dataclass(frozen=True)
class Scores:
    """Means over the frames: dB, SSIM, dB, temporal difference error in codes, sharpness.

    hole:   PSNR inside the holes, nan without
    own_psnr, own_ssim: in the film's own pixels
    detail: mean absolute Laplacian of the luma there, relative to the clean film's
    """

    psnr: float
    ssim: float
    chroma: float
    temporal: float
    hole: float
    own_psnr: float
    own_ssim: float
    detail: float


def cut(source, output, count):
    """The first frames of a film, lossless and without sound: the truth."""
    film = open_video(source)
    end = count / float(film.info.rate)
    with create_like(film, output, profile="lossless", note="", end_seconds=end) as sink:
        for frame in islice(film.frames(), count):
            sink.write(frame)


def squares(path, face):
    """A film's faces, along the path of its clean version: uint8 [F, 192, 160, 3], and larger.

    The second has as many pixels as the film has there.
    """
    film = open_video(path)
    sizes = SIZE, round(float(np.median(face.side)))
    pairs = [
        [
            crop_rgb(frame, face.matrix(number, size), to_coded=film.info.to_coded, size=size)
            for size in sizes
        ]
        for number, frame in enumerate(film.frames())
        if face.first <= number < face.first + len(face)
    ]
    return [inner(np.stack(same)) for same in zip(*pairs, strict=True)]


def inner(pictures):
    """The face in squares [F, S, S, ...]."""
    share = pictures.shape[1] / SIZE
    top, bottom, left, right = (round(edge * share) for edge in (TOP, BOTTOM, LEFT, RIGHT))
    return pictures[:, top:bottom, left:right]


def score(out, clean, holes=None):
    """Scores of what `squares` gives against the clean film's."""
    (a, own), (b, clean_own) = out, clean
    hole = float("nan")
    if holes is not None and holes.any():
        hole = float(np.nanmean(psnr(a, b, holes=holes)))
    return Scores(
        float(np.minimum(psnr(a, b), 60).mean()),
        float(ssim(a, b).mean()),
        float(np.minimum(chroma_psnr(a, b), 60).mean()),
        float(temporal_error(a, b).mean()),
        hole,
        float(np.minimum(psnr(own, clean_own), 60).mean()),
        float(ssim(own, clean_own).mean()),
        detail(own) / detail(clean_own),
    )


def detail(clip):
    """Mean absolute Laplacian of the luma in codes."""
    greys = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY).astype(np.float32) for f in clip)
    return float(np.mean([np.abs(cv2.Laplacian(g, cv2.CV_32F)).mean() for g in greys]))


def filtered(spoilt, output, change):
    """A film with every picture changed by a function."""
    film = open_video(spoilt)
    with create_like(film, output, profile="lossless", note="", overwrite=True) as sink:
        for frame in film.frames():
            sink.write(with_picture(frame, change(as_rgb(frame))))


def nlmeans(picture):
    """OpenCV's non-local means with its default strength, then unsharp masking."""
    quiet = cv2.fastNlMeansDenoisingColored(picture, None, 3, 3, 7, 21)
    return cv2.addWeighted(quiet, 1 + SHARPEN, cv2.GaussianBlur(quiet, (0, 0), 1.0), -SHARPEN, 0)


def hqdn3d(spoilt, output):
    """FFmpeg's denoiser with its default strength, then its unsharp filter."""
    chain = f"hqdn3d,unsharp=5:5:{SHARPEN}"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-i",
        spoilt,
        "-vf",
        chain,
        "-c:v",
        "libx264",
        "-qp",
        "0",
    ]
    subprocess.run([*command, "-fps_mode", "passthrough", output], check=True)


def apply(method, spoilt, output, tasks, mask, tools):
    """One method on one spoilt film."""
    if method == "nlmeans":
        filtered(spoilt, output, nlmeans)
    elif method == "hqdn3d":
        hqdn3d(spoilt, output)
    elif method == "telea":
        hole = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        filtered(spoilt, output, lambda p: cv2.inpaint(p, hole, 5, cv2.INPAINT_TELEA))
    else:
        options = RestoreOptions(tasks=tasks, mask=mask, profile="lossless", overwrite=True)
        restore(spoilt, output, options, tools=lambda: tools[method])


def measure(truth, mix, seed, tools, folder, *, severity=SEVERITY, all_steps=True):
    """Scores by method of one film, one mix of tasks and one seed; "given" is the spoilt film.

    all_steps: also four, which take four times as long
    """
    tasks = Tasks.parse(mix)
    detector = tools["mini, 1 step"].detector
    face = survey(open_video(truth), detector, largest_only=True).paths[0]
    clean = squares(truth, face)
    name = f"{truth.stem}-{mix.replace(',', '-')}-{severity}-{seed}"
    spoilt, mask = folder / f"{name}.given.mp4", None
    done = degrade_film(
        truth, spoilt, tasks, detector=detector, severity=severity, seed=seed, overwrite=True
    )
    given, holes = squares(spoilt, face), None
    if done.mask:
        mask = done.mask
        hole = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        frames = (
            cv2.warpAffine(
                hole, face.matrix(face.first + i, SIZE), (SIZE, SIZE), flags=cv2.WARP_INVERSE_MAP
            )
            for i in range(len(face))
        )
        holes = inner(np.stack([f > 127 for f in frames]))
    found = {"given": score(given, clean, holes)}
    for method in METHODS.get(mix, ("mini, 1 step",)):
        if method == "hqdn3d" and not shutil.which("ffmpeg"):
            continue
        if method == "mini, 4 steps" and not all_steps:
            continue
        output = folder / f"{name}.{method.replace(', ', '-').replace(' ', '')}.mp4"
        apply(method, spoilt, output, tasks, mask, tools)
        found[method] = score(squares(output, face), clean, holes)
    return found


def untouched(truth, tools, folder):
    """Scores of a clean film's face after it was "restored"."""
    output = folder / f"{truth.stem}-clean.mp4"
    apply("mini, 1 step", truth, output, Tasks(bfr=True), None, tools)
    face = survey(open_video(truth), tools["mini, 1 step"].detector, largest_only=True).paths[0]
    return score(squares(output, face), squares(truth, face))


def table(rows):
    """Mean scores by mix and method as Markdown, then each film."""
    lines = [
        "| task | method | PSNR dB | SSIM | chroma dB | in the hole dB | temporal error "
        "| own PSNR dB | own SSIM | detail |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for mix, seeds in parts(rows):
        found = [scores for _, m, seed, scores in rows if m == mix and seed in seeds]
        for method in found[0] if found else ():
            if any(method not in scores for scores in found):
                continue
            columns = zip(*(vars(f[method]).values() for f in found), strict=True)
            mean = Scores(*map(known_mean, columns))
            lines.append(line((said(mix, seeds), method), mean))
    lines += ["", "Film by film (PSNR dB, SSIM, temporal error; as given -> mini, 1 step):", ""]
    lines += [
        "| film | task | seed | PSNR | SSIM | temporal error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for film, mix, seed, found in sorted(rows, key=lambda row: row[:1]):
        a, b = found["given"], found["mini, 1 step"]
        lines.append(
            f"| {film} | {said(mix)} | {seed} | {a.psnr:.2f} -> {b.psnr:.2f} | {a.ssim:.3f} -> "
            f"{b.ssim:.3f} | {a.temporal:.2f} -> {b.temporal:.2f} |"
        )
    return lines


def known_mean(values):
    """The mean of what is not nan, nan where nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def parts(rows):
    """What gets lines of the table: a mix of tasks and the seeds that count."""
    for mix in (*TASKS, LONG, *OTHERS):
        seeds = sorted({seed for _, m, seed, _ in rows if m == mix})
        yield mix, seeds
        if len(seeds) > GROUP:
            yield from ((mix, seeds[i : i + GROUP]) for i in range(0, len(seeds), GROUP))


def said(mix, seeds=()):
    """The mix of tasks in words, where it is a severity of blind restoration; its seeds."""
    words = f"bfr, {mix}" if mix in (LONG, *OTHERS) else mix
    return words if not seeds else f"{words}, seeds {seeds[0]}-{seeds[-1]}"


def line(names, mean):
    hole = "" if np.isnan(mean.hole) else f"{mean.hole:.2f}"
    return (
        f"| {' | '.join(names)} | {mean.psnr:.2f} | {mean.ssim:.4f} | {mean.chroma:.2f} | {hole} | "
        f"{mean.temporal:.2f} | {mean.own_psnr:.2f} | {mean.own_ssim:.4f} | {mean.detail:.2f} |"
    )


def report(rows, clean, model, frames, long):
    """docs/quality.md."""
    loss = "; ".join(f"{film} {s.psnr:.1f} dB, SSIM {s.ssim:.4f}" for film, s in clean.items())
    return "\n".join(
        [
            "# Quality of the bundled model",
            "",
            f"Written by `benchmarks/quality.py`; `mini` {model['version']}, the first {frames} "
            f"frames of clean films, spoilt by `degrade --severity {SEVERITY}` (blind restoration "
            "by `light` and `heavy`, too) with fixed seeds, restored, and compared with the clean "
            f"film inside the face. `long` is the first {long} frames: blur and noise that drift "
            "come round in them. `given` is the spoilt film. Temporal error and the other "
            "measures are those of [evaluation.md](evaluation.md), in squares of 256 px; `own` is "
            "the same in as many pixels as the film has there, and so is detail, the mean absolute "
            "Laplacian relative to the clean film's. The means are over all films and seeds.",
            "",
            *table(rows),
            "",
            "A clean film that is restored all the same (bfr, 1 step) comes back at: " + loss + ".",
            "",
        ]
    )


@cache
def loaded(model):
    """Tools by method."""
    usual = RestoreOptions(model=model, device="cpu")
    return {
        f"mini, {steps} step{'s' * (steps > 1)}": load_tools(replace(usual, steps=steps))
        for steps in (1, 4)
    }


def measured(unit, model, folder):
    """One row: film, mix of tasks or severity, seed (None = unspoilt), scores by method.

    What an earlier run has kept in the folder is not measured again.
    """
    film, kind, seed = unit
    kept = folder / f"{film}-{kind.replace(',', '-')}-{seed}.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        return *unit, {method: Scores(**values) for method, values in known.items()}
    truth, tools = folder / f"{film}.mp4", loaded(model)
    if seed is None:
        found = {"mini, 1 step": untouched(truth, tools, folder)}
    elif kind == LONG:
        truth = folder / f"{film}-{LONG}.mp4"
        found = measure(truth, "bfr", seed, tools, folder, all_steps=False)
    elif kind in OTHERS:
        found = measure(truth, "bfr", seed, tools, folder, severity=kind, all_steps=False)
    else:
        found = measure(truth, kind, seed, tools, folder, all_steps=seed <= GROUP)
    kept.write_text(json.dumps({method: vars(scores) for method, scores in found.items()}))
    print(*unit, found, flush=True)
    return *unit, found


def units(options):
    """What is to be measured of each film; what takes long comes first."""
    more = [max(options.seeds) + i + 1 for i in range(2 * GROUP)]
    for film in options.films:
        for mix in options.tasks:
            yield from ((film, mix, seed) for seed in options.seeds)
    if "bfr" in options.tasks:
        for film in options.films:
            yield from ((film, "bfr", seed) for seed in more)
            yield from ((film, *one) for one in product((LONG, *OTHERS), options.seeds))
    yield from ((film, "bfr", None) for film in options.films)


def main():
    """Measure every film of a folder and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", nargs="+", default=["clean_d0", "clean_d3", "clean_d10"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--long", type=int, default=75, help="frames of the longer measurement")
    parser.add_argument("--model")
    parser.add_argument("--keep", type=Path, help="folder for films and scores, to go on with")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--jobs", type=int, default=1, help="measured side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for film in options.films:
            for name, count in ((film, options.frames), (f"{film}-{LONG}", options.long)):
                if not (folder / f"{name}.mp4").exists():
                    cut(options.folder / f"{film}.mp4", folder / f"{name}.mp4", count)
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            one = partial(measured, model=options.model or "mini", folder=folder)
            found = list(pool.map(one, units(options)))
    rows = [row for row in found if row[2] is not None]
    clean = {film: same["mini, 1 step"] for film, _, seed, same in found if seed is None}
    model = loaded(options.model or "mini")["mini, 1 step"].model
    options.report.write_text(report(rows, clean, model, options.frames, options.long))


if __name__ == "__main__":
    main()
