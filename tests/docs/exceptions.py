"""All exceptions of tests/docs/test_commands.py: what is not run as it stands, and why.

Every command of README.md and docs/ that is not named here is run as it stands. A new command that
cannot be run goes here with a reason. What is not run is still parsed by the real command line.
"""

from __future__ import annotations

# Regular expressions of whole commands -> why they are not run.
NOT_RUN = {
    r"(python3 -m venv .*|source \.venv.*|pip install .*|git clone .*)": "installs; CI does it",
    r"facerestore models pull .*": "downloads weights",
    r"facerestore models remove svfr": "svfr's weights are not here",
    r"facerestore models convert .*": "the authors' files are not here; see tests/models",
    r"facerestore models selfcheck .*": "the recordings are not part of the project",
    r"facerestore bench --against released.*": "takes minutes; tests/test_bench.py",
    r"facerestore restore .*-m (svfr|gfpgan|codeformer|restoreformer).*": "needs their weights",
    r"facerestore restore .* --background .*": "needs its weights; tests/test_background.py",
    r"(?s).*--device cuda.*": "needs a graphics card",
    r"(?s)#!/bin/bash\n#SBATCH.*": "a script for Slurm",
    r"ray start .*": "starts servers; tests/test_ray.py has a cluster",
    r"facerestore restore .* --ray .*": "needs a Ray cluster; tests/test_ray.py has one",
    r"accelerate launch .*": "needs several cards",
    r"facerestore train configs/svfr\.toml .*": "needs Stable Video Diffusion; tests/training",
    r"facerestore train configs/mini\.toml": "how the bundled model was made: 100 minutes",
    r"tensorboard --logdir runs": "a server that does not end",
    r"facerestore serve.*": "a server that does not end; tests/serve",
    r"(?s).*(\.venv/bin/|pytest|\bruff\b|pyright|lint-imports|mkdocs).*": "CI does just this",
}

# Whole commands -> what is run in their place, because it is the same in less time.
INSTEAD = {
    # 100 drawn frames take a minute; the same script with 8
    "python examples/make_example.py --clean clean.mp4": (
        "python short_example.py --clean clean.mp4"
    ),
    # the time of a model that is quick
    "facerestore bench film.mp4": "facerestore bench film.mp4 -m classic",
    # batches restore in a process of their own; docs/usage.md keeps it, here once is enough
    "facerestore restore ARCHIVE -o RESTORED --profile archive": (
        "facerestore restore ARCHIVE -o RESTORED --profile archive --no-sandbox"
    ),
    "facerestore restore spoilt/ -o DATA/mini/bfr -m mini": (
        "facerestore restore spoilt/ -o DATA/mini/bfr -m mini --no-sandbox"
    ),
    "facerestore restore spoilt/ -o DATA/classic/bfr -m classic": (
        "facerestore restore spoilt/ -o DATA/classic/bfr -m classic --no-sandbox"
    ),
}

# The user's folder, see conftest.py, has small things under the names of large ones: films of eight
# frames, and as configs/short.toml, mine.toml and student.toml networks that train in a second.
