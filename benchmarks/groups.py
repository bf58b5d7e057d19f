"""Is the model worse for some people? Held-out portraits by tone of skin, age and source.

    python benchmarks/groups.py PORTRAITS_FOLDER [--model FOLDER]

Prints Markdown. PORTRAITS_FOLDER holds portraits-val.tar and metadata.csv (file, origin, caption).
Skin tone is measured: the individual typology angle of the cheeks (Chardon et al. 1991), in three
groups of the same size. Age is known where a caption names it. Every portrait becomes a short clip,
is spoilt as in training, and restored in one step.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from facerestore.evaluation.metrics import chroma_psnr, psnr
from facerestore.frames import FaceClip, Tasks
from facerestore.models.checkpoint import find_model
from facerestore.models.load import load_model
from facerestore.training.data import Drawing, clean_clip, read_samples
from facerestore.training.degrade import degrade

CHEEKS = (slice(0.56, 0.68), (slice(0.34, 0.44), slice(0.56, 0.66)))  # rows, columns; of the side
YOUNG = ("baby", "toddler", "child", "kid", "teen")
OLD = ("senior", "elderly", "wrinkl", "70 year", "80 year", "60 year", "gray hair", "white beard")
MEASURES = {"bfr": psnr, "color": chroma_psnr, "inpaint": psnr}
FRAMES, SEED = 2, 11


def typology_angle(picture):
    """Degrees, high for light skin: arctan((L* - 50) / b*) of the cheeks of a crop [S, S, 3]."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    rows, columns = CHEEKS
    parts = [lab[_pixels(rows, picture)][:, _pixels(c, picture)].reshape(-1, 3) for c in columns]
    light, _, yellow = np.median(np.concatenate(parts), axis=0)
    return float(np.degrees(np.arctan2(light - 50, yellow)))


def _pixels(part, picture):
    return slice(int(part.start * len(picture)), int(part.stop * len(picture)))


def age(caption):
    """young, old or other, by the words of a caption."""
    words = caption.lower()
    if any(word in words for word in YOUNG):
        return "young"
    return "old" if any(word in words for word in OLD) else "other or unknown"


def gains(model, sample, number):
    """Gain in dB by task of one portrait."""
    found = {}
    for task, measure in MEASURES.items():
        rng = np.random.default_rng([SEED, number])
        tasks = Tasks.parse(task)
        drawing = Drawing(model.config.size, FRAMES, 0.0, {task: 1.0}, 1.0, False, 5)
        clean, _ = clean_clip(sample, FRAMES, drawing, rng, full=model.config.size)
        bad = degrade(clean, tasks, rng)
        out = model.restore(FaceClip(bad.bad, 0, holes=bad.holes), tasks, None, seed=0)
        before, after = (np.minimum(measure(f, bad.target), 60).mean() for f in (bad.bad, out))
        found[task] = float(after - before)
    return found, typology_angle(clean[0])


def main():
    """One line a group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    model = load_model(find_model(options.model), device="cpu")
    with (options.portraits / "metadata.csv").open() as file:
        facts = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    samples = read_samples([options.portraits / "portraits-val.tar"])
    found = [gains(model, sample, number) for number, sample in enumerate(samples)]
    angles = np.array([angle for _, angle in found])
    bounds = np.quantile(angles, [1 / 3, 2 / 3])
    tones = np.array(["darker skin", "medium skin", "lighter skin"])[
        np.searchsorted(bounds, angles)
    ]
    rows = [facts[Path(sample.key).name] for sample in samples]
    groups = {
        "all": ["all"] * len(rows),
        "skin tone": tones,
        "age": [age(row["caption"]) for row in rows],
        "source": [row["file"].partition("-")[0] for row in rows],
    }
    print("| group | portraits | bfr dB | color, chroma dB | inpaint dB |")
    print("| --- | --- | --- | --- | --- |")
    for names in groups.values():
        for name in sorted(set(names)):
            chosen = [g for (g, _), n in zip(found, names, strict=True) if n == name]
            means = [np.mean([g[task] for g in chosen]) for task in MEASURES]
            print(f"| {name} | {len(chosen)} | " + " | ".join(f"{m:+.2f}" for m in means) + " |")


if __name__ == "__main__":
    main()
