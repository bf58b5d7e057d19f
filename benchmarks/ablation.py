"""The paper's ablation (section 5, table 4) on a network small enough for a CPU. Prints Markdown.

    python benchmarks/ablation.py PORTRAITS_FOLDER WORK_FOLDER [--steps 1500] [--seeds 0 1]

Four runs of the same number of steps, crops and parameters of the UNet: blind restoration alone,
all mixes of tasks, with unified latent regularization, with the facial prior, too. A run with
regularization sees two degradations of half as many clips. What is compared is blind restoration of
held-out portraits, one step.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from facerestore.training.config import Stage, read_config
from facerestore.training.data import MIXES
from facerestore.training.train import train

CONFIG = Path(__file__).parent.parent / "configs" / "mini.toml"
EVEN = dict.fromkeys(MIXES, 1.0)
# name -> mixes, weight of ULR, weight of the prior
RUNS = {
    "single-task": ({"bfr": 1.0}, 0.0, 0.0),
    "multi-task": (EVEN, 0.0, 0.0),
    "+ ULR": (EVEN, 0.01, 0.0),
    "+ facial prior": (EVEN, 0.01, 0.1),
}


def settings(name, steps, seed):
    """The configuration of one run."""
    base = read_config(CONFIG)
    mixes, ulr, prior = RUNS[name]
    clips = 4 if ulr else 8
    return replace(
        base,
        seed=seed,
        model=replace(base.model, name="ablation", size=128),
        data=replace(base.data, mixes=mixes, workers=0),
        network=replace(base.network, widths=(64, 64)),
        losses=replace(base.losses, ulr=ulr, prior=prior),
        stages=(Stage(until=steps, size=64, frames=1, batch=clips, zoomed=0.7),),
        optimizer=replace(base.optimizer, decay_from=steps // 3),
        saving=replace(base.saving, validation_minutes=1e9, clips=24, frames=2),
    )


def measured(work):
    """The last validation of blind restoration: (given, restored) of each measure."""
    lines = [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]
    return next(line["validation"]["bfr"] for line in reversed(lines) if "validation" in line)


def main():
    """Train what is not trained yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    print("| run | PSNR dB | SSIM | temporal error |\n| --- | --- | --- | --- |")
    for number, name in enumerate(RUNS):
        found = []
        for seed in options.seeds:
            work = options.work / f"{number}-{seed}"
            config = settings(name, options.steps, seed)
            train(config, data=options.portraits, work=work, device="cpu")
            found.append(measured(work))
        if not number:
            given = [found[0][m][0] for m in ("psnr", "ssim", "temporal")]
            print("| as given | {:.2f} | {:.4f} | {:.2f} |".format(*given))
        means = [np.mean([f[m][1] for f in found]) for m in ("psnr", "ssim", "temporal")]
        print(f"| {name} | {means[0]:.2f} | {means[1]:.4f} | {means[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
