"""What a training run writes down, and when."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import cv2

from facerestore.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from facerestore.frames import Bytes

FIRST_VALIDATION_MINUTES = 1.0


class Clock:
    """Time of this call, and when to save and to validate."""

    def __init__(self, before: float, max_minutes: float, validation_minutes: float) -> None:
        self.before, self.begin = before, time.monotonic()
        self.limit = max_minutes * 60
        self.last_save = self.begin
        self.between = validation_minutes * 60
        self.next_validation = self.begin + min(self.between, FIRST_VALIDATION_MINUTES * 60)

    def trained(self) -> float:
        """Seconds trained, with those of earlier calls."""
        return self.before + time.monotonic() - self.begin

    def over(self) -> bool:
        """Whether the time of this call is used up."""
        return time.monotonic() - self.begin >= self.limit

    def save_due(self, minutes: float) -> bool:
        """Whether the last save is so many minutes ago."""
        return time.monotonic() - self.last_save >= minutes * 60

    def validation_due(self) -> bool:
        """Whether the last validation is long enough ago."""
        return time.monotonic() >= self.next_validation

    def saved(self, *, measured: bool) -> None:
        """Begin to count anew."""
        self.last_save = time.monotonic()
        if measured:
            self.next_validation = self.last_save + self.between


def _step_of(line: str) -> float:
    """The step of a line of the log, infinite for one that was torn when the run was killed."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


class Log:
    """log.jsonl and TensorBoard; lines of steps that are done again are dropped."""

    def __init__(self, work: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError:
            raise UsageError(
                "training writes curves with TensorBoard; pip install 'facerestore[train]'"
            ) from None
        path = work / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        work.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in kept))
        self.file = path.open("a")
        self.board = SummaryWriter(str(work / "tensorboard"), purge_step=step + 1)
        self.samples = work / "samples"

    def losses(self, step: int, facts: dict[str, float]) -> None:
        """A line of numbers."""
        self._line({"step": step} | facts)
        for name, value in facts.items():
            self.board.add_scalar(f"train/{name}", value, step)

    def validation(self, step: int, scores: dict[str, Any], sheet: Bytes) -> None:
        """Scores by mix and measure (as given, as restored), and a picture of samples."""
        self._line({"step": step, "validation": scores})
        self.samples.mkdir(exist_ok=True)
        cv2.imwrite(str(self.samples / f"{step:07d}.png"), sheet[..., ::-1])
        self.board.add_image("samples", sheet, step, dataformats="HWC")
        for mix, score in scores.items():
            for measure, (before, after) in score.items():
                self.board.add_scalar(f"{measure}/{mix}", after, step)
                self.board.add_scalar(f"{measure} as given/{mix}", before, step)
        self.board.flush()

    def _line(self, facts: dict[str, Any]) -> None:
        self.file.write(json.dumps(facts) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Write what is left."""
        self.file.close()
        self.board.close()
