"""Percentiles with a stated rule, bootstrap intervals, and when a measurement counts as valid.

Rule: the p-th percentile of n sorted samples is the ceil(p/100 * n)-th (nearest rank), as LoadGen
and SPEC have it: always a latency that was seen, never an interpolated one. It is told only from
ceil(10 / (1 - p/100)) samples on, so that at least ten lie at or beyond it: 20 for p50, 100 for
p90, 200 for p95, 1,000 for p99, 10,000 for p99.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
BEYOND = 10  # samples that must lie at or beyond a percentile
MIN_SAMPLES = 20  # fewer say nothing at all
BOOTSTRAP_ROUNDS = 1000
CONFIDENCE = 0.95

# A machine is busy when so many cores' worth of other work ran meanwhile.
BACKGROUND_CORES = 0.25
# The clock fell when it ended below this share of where it began.
THROTTLED = 0.93
# Latency drifted when the last third's median lies this far from the first third's.
DRIFTED = 0.10


def samples_needed(percentile: float) -> int:
    """Samples from which on a percentile is told."""
    return math.ceil(round(BEYOND / (1 - percentile / 100), 6))


def percentile(samples: Sequence[float] | Floats, p: float) -> float:
    """Nearest rank. Raises ValueError without samples."""
    ordered = np.sort(np.asarray(samples, np.float64))
    if not len(ordered):
        raise ValueError("no samples")
    rank = math.ceil(round(p / 100 * len(ordered), 9))
    return float(ordered[max(1, rank) - 1])


def bootstrap_interval(
    samples: Sequence[float] | Floats, p: float = 50.0, *, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the p-th percentile, by resampling with a fixed seed.

    Back-to-back latencies are not independent: blocks of sqrt(n) neighbours are drawn together.
    """
    values = np.asarray(samples, np.float64)
    n = len(values)
    if n < 2:
        raise ValueError("an interval needs at least two samples")
    rng = np.random.default_rng(seed)
    block = max(1, math.isqrt(n))
    starts = rng.integers(0, n, (BOOTSTRAP_ROUNDS, math.ceil(n / block)))
    picked = (starts[:, :, None] + np.arange(block)) % n
    drawn = np.sort(values[picked.reshape(BOOTSTRAP_ROUNDS, -1)[:, :n]], axis=1)
    rank = max(1, math.ceil(round(p / 100 * n, 9))) - 1
    tail = (1 - CONFIDENCE) / 2 * 100
    estimates = drawn[:, rank]
    return percentile(estimates, tail), percentile(estimates, 100 - tail)


@dataclass(frozen=True)
class Summary:
    """Latencies in milliseconds. Percentiles that lack samples are None, never guessed."""

    count: int
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    p50_interval: tuple[float, float] | None = None


def summarize(samples_ms: Sequence[float] | Floats) -> Summary:
    """Everything that the samples are enough for."""
    values = np.asarray(samples_ms, np.float64)
    if not len(values):
        return Summary(0)
    told = {
        name: percentile(values, p) if len(values) >= samples_needed(p) else None
        for name, p in zip(("p50", "p90", "p95", "p99", "p999"), PERCENTILES, strict=True)
    }
    interval = bootstrap_interval(values) if len(values) >= samples_needed(50) else None
    return Summary(
        len(values),
        float(values.min()),
        float(values.mean()),
        float(values.max()),
        **told,
        p50_interval=interval,
    )


@dataclass(frozen=True)
class Validity:
    """Whether a measurement may be quoted, and why not."""

    reasons: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """No reason against it."""
        return not self.reasons

    def __str__(self) -> str:
        return "VALID" if self.valid else "INVALID: " + "; ".join(self.reasons)


def judge(
    samples: Sequence[float] | Floats,
    *,
    needed: int = MIN_SAMPLES,
    background_cores: float | None = None,
    clock_start_mhz: float | None = None,
    clock_end_mhz: float | None = None,
    throttle_events: int | None = None,
    interrupted: bool = False,
    drift_matters: bool = True,
) -> Validity:
    """Looks for everything that makes figures worthless. None: not known, and not held against."""
    values = np.asarray(samples, np.float64)
    reasons = []
    if interrupted:
        reasons.append("interrupted before it was done")
    if len(values) < needed:
        reasons.append(f"too few samples: {len(values)}, wanted {needed}")
    if background_cores is not None and background_cores > BACKGROUND_CORES:
        reasons.append(f"background load: other processes took {background_cores:.2f} cores")
    if throttle_events:
        reasons.append(f"throttling seen: {throttle_events} events")
    if clock_start_mhz and clock_end_mhz and clock_end_mhz < THROTTLED * clock_start_mhz:
        reasons.append(
            f"throttling seen: clock fell from {clock_start_mhz:.0f} to {clock_end_mhz:.0f} MHz"
        )
    if drift_matters and len(values) >= 60:
        change = drift(values)
        if abs(change) > DRIFTED:
            reasons.append(f"latency drifted by {change:+.0%} from the first third to the last")
    return Validity(reasons)


def drift(samples: Sequence[float] | Floats) -> float:
    """Median of the last third over that of the first, less one."""
    values = np.asarray(samples, np.float64)
    third = max(1, len(values) // 3)
    return float(np.median(values[-third:]) / np.median(values[:third])) - 1


def slope_per_hour(times_s: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope; None with fewer than three points or no time between them."""
    if len(times_s) < 3 or times_s[-1] <= times_s[0]:
        return None
    return float(np.polyfit(np.asarray(times_s), np.asarray(values), 1)[0]) * 3600
