"""A figure with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROUNDS = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """One row of a report: the mean over `count` cases with its 95 % interval.

    `unit` is "share" (0..1), "cider" (0..10) or "Hz"; `chance` what guessing gives, where that is
    known. `value` None: not measured, and `note` tells why.
    """

    task: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    count: int
    chance: float | None = None
    unit: str = "share"
    note: str = ""


def interval(values: npt.NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the mean, by whole cases: (low, high) of 95 %."""
    rng = np.random.default_rng(seed)
    count = len(values)
    means = np.empty(ROUNDS)
    for i in range(ROUNDS):
        means[i] = values[rng.integers(0, count, count)].mean()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def score(
    task: str,
    name: str,
    values: Sequence[float] | Sequence[bool] | npt.NDArray[np.generic],
    *,
    chance: float | None = None,
    unit: str = "share",
    note: str = "",
) -> Score:
    """The mean of one value a case; without cases a row that says so."""
    each = np.asarray(values, np.float64)
    if not len(each):
        return missing(task, name, note or "no such case in this world")
    low, high = interval(each)
    return Score(task, name, float(each.mean()), low, high, len(each), chance, unit, note)


def missing(task: str, name: str, why: str) -> Score:
    """A row that could not be measured."""
    return Score(task, name, None, None, None, 0, None, "share", why)
