"""What all stages of training share: learning rates, the log, what a checkpoint keeps."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .recipe import EncoderStage, Stage

Progress = Callable[[str, int, int, float], None]  # stage, step, steps, loss


def rate_at(stage: Stage | EncoderStage, step: int) -> float:
    """Learning rate: linear warm-up, then constant, or cosine down to 2 %."""
    rate = stage.learning_rate * min(1.0, (step + 1) / max(1, min(stage.warmup, stage.steps // 4)))
    if stage.cosine:
        rate *= 0.02 + 0.98 * (1 + math.cos(math.pi * step / stage.steps)) / 2
    return rate


class Resumable(Protocol):
    """What a checkpoint keeps of an optimiser."""

    def state_dict(self) -> Any:
        """Its state, of plain values and tensors."""


class Log:
    """`log.csv`: stage, step, loss, learning rate, samples per second. None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None and not path.exists():
            self._append(["stage", "step", "loss", "learning_rate", "samples_per_s"])

    def _append(self, row: list[Any]) -> None:
        if self.path is None:
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)

    def write(self, stage: str, step: int, loss: float, rate: float, speed: float) -> None:
        """Appends one row."""
        self._append([stage, step, f"{loss:.4f}", f"{rate:.2e}", f"{speed:.1f}"])


# Called with (steps done, what resumes the stage).
Save = Callable[[int, Resumable | None], None]
