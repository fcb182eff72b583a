"""The steps of a stage: gradients, clipping, the optimisers, the log and what is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor, nn

from .optimizers import Optimizers
from .processes import ALONE, Processes
from .recipe import EncoderStage, Recipe, Stage
from .training_log import Log, Progress, Save, rate_at

B = TypeVar("B")
_LOG_EVERY = 20


@dataclass(frozen=True)
class TrainingLoop:
    """One stage's way of going on; `name` is what the log and progress call it."""

    name: str
    stage: Stage | EncoderStage
    recipe: Recipe
    optimizer: Optimizers
    save: Save
    save_every: int
    log: Log
    progress: Progress | None
    processes: Processes = ALONE

    def run(
        self, batches: Iterable[B], loss_of: Callable[[B, int], tuple[Tensor, int]], first: int
    ) -> None:
        """Trains on batches `first`, `first + 1`, ...; `loss_of` gives the loss of a (batch, step)
        and how many samples that was."""
        stage, optimizer = self.stage, self.optimizer
        parameters = optimizer.parameters()
        started, losses, samples = time.monotonic(), [], 0
        for step, batch in enumerate(batches, first):
            rate = rate_at(stage, step)
            loss, count = loss_of(batch, step)
            loss.backward()  # type: ignore[no-untyped-call]
            self.processes.average(parameters)
            nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
            optimizer.step(rate)
            latest = float(loss.detach())
            losses.append(latest)
            samples += count
            if (step + 1) % _LOG_EVERY == 0 or step + 1 == stage.steps:
                speed = samples / (time.monotonic() - started)
                self.log.write(self.name, step + 1, float(np.mean(losses)), rate, speed)
                started, losses, samples = time.monotonic(), [], 0
            if self.progress is not None:
                self.progress(self.name, step + 1, stage.steps, latest)
            if (step + 1) % self.save_every == 0 and step + 1 < stage.steps:
                self.save(step + 1, optimizer)
