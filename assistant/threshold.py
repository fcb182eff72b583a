"""Where an alert's threshold lies: from how near ordinary windows come, to a rate of false alarms.

Scores of windows in which the event is not seen are cosines with an upper tail. Peaks over a high
level u, taken once per alert (an alert doesn't fire again while it cools down), come at some rate.
Extreme-value theory (Pickands 1975) gives their excess a generalised Pareto tail; a cosine ends at
1, so ours is the one that does: with y = (score - u) / (1 - u), -ln(1 - y) falls off exponentially.
Its mean tells how far above u a peak comes once in `per_hour`, without an hour of waiting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHORTEST_S = 20.0  # of ordinary stream before a threshold is told
# u is the quantile above which so many windows lie, and at least this one: the tail's form is the
# better known the higher it begins, and its mean the more peaks there are.
_TAIL_WINDOWS = 60
_LEAST_TAIL = 0.90
_FEWEST_PEAKS = 3
_SMALLEST_EXCESS = 1e-3  # a tail without spread says nothing of what lies above it

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what it was told from."""

    threshold: float
    level: float  # u
    peaks: int
    mean_excess: float  # of -ln(1 - y)
    observed_s: float


def calibrate(
    scores: Floats, times_s: Floats, *, per_hour: float = 1.0, cool_down_s: float = 10.0
) -> Calibration | None:
    """The threshold of cosines that ordinary windows pass about `per_hour` times an hour.

    `scores` [N] at `times_s` [N], ascending. None: less than `SHORTEST_S` was observed.
    """
    if per_hour <= 0:
        raise ValueError(f"per_hour is {per_hour}, wanted more than 0")
    if len(scores) < 2:
        return None
    steps = np.diff(times_s)
    # A stream that stopped and came back was not observed in between.
    observed_s = float(steps[steps < 5.0].sum())
    if observed_s < SHORTEST_S:
        return None
    level = float(np.quantile(scores, max(_LEAST_TAIL, 1 - _TAIL_WINDOWS / len(scores))))
    peaks = _peaks(scores, times_s, level, cool_down_s)
    room = max(1.0 - level, _SMALLEST_EXCESS)
    excess = (
        float(np.mean(-np.log1p(-np.minimum((peaks - level) / room, 0.999)))) if len(peaks) else 0
    )
    excess = max(excess, _SMALLEST_EXCESS)
    rate = max(len(peaks), _FEWEST_PEAKS) * 3600.0 / observed_s
    steps_up = excess * max(0.0, math.log(rate / per_hour))
    threshold = level + room * (1.0 - math.exp(-steps_up))
    return Calibration(threshold, level, len(peaks), excess, observed_s)


def _peaks(scores: Floats, times_s: Floats, level: float, apart_s: float) -> Floats:
    """The highest score of each group of exceedances that lie within `apart_s` of its first."""
    peaks: list[float] = []
    began = -math.inf
    for at in np.flatnonzero(scores > level):
        score, time = float(scores[at]), float(times_s[at])
        if time - began >= apart_s:
            peaks.append(score)
            began = time
        else:
            peaks[-1] = max(peaks[-1], score)
    return np.asarray(peaks, np.float64)
