"""Gate thresholds for one bundle and precision: the best F1, a decode rate, or a recall.

Quantisation moves embedding distances, so thresholds are never carried from one precision to
another; they are fitted on recordings of the very bundle that will run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..runtime.gate import Gate
from ..runtime.options import GateOptions
from .recording import Recording

# A shift may be told this long before the true one (windows overlap it) and this long after.
EARLY_S = 0.25
LATE_S = 1.5


@dataclass(frozen=True)
class GateScore:
    """How well a gate's shifts meet the true ones, over all recordings."""

    options: GateOptions
    precision: float
    recall: float
    delay_s: float  # median of matched shifts, told minus true
    rate_hz: float  # shifts per second, the first window's apart

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def told_shifts(recording: Recording, options: GateOptions) -> npt.NDArray[np.int64]:
    """Times in ns at which the gate tells a shift, the first window's apart."""
    gate = Gate(recording.embeddings.shape[1], options)
    told = [
        int(end)
        for row, end in zip(recording.embeddings, recording.end_ns, strict=True)
        if gate.push(row, int(end)).shift
    ]
    return np.array(told[1:], np.int64)


def match(
    told_ns: npt.NDArray[np.int64],
    true_ns: npt.NDArray[np.int64],
    early_s: float = EARLY_S,
    late_s: float = LATE_S,
) -> list[tuple[int, int]]:
    """Pairs (told index, true index), one to one and in order, as many as the tolerance allows."""
    pairs = []
    i = j = 0
    while i < len(told_ns) and j < len(true_ns):
        delay = (told_ns[i] - true_ns[j]) / 1e9
        if delay < -early_s:
            i += 1
        elif delay > late_s:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def score(
    recordings: Sequence[Recording],
    options: GateOptions,
    early_s: float = EARLY_S,
    late_s: float = LATE_S,
) -> GateScore:
    """Runs the core's own gate over the recordings."""
    told_count = true_count = 0
    delays: list[float] = []
    for recording in recordings:
        told = told_shifts(recording, options)
        pairs = match(told, recording.shifts_ns, early_s, late_s)
        told_count += len(told)
        true_count += len(recording.shifts_ns)
        delays += [(told[i] - recording.shifts_ns[j]) / 1e9 for i, j in pairs]
    seconds = sum(recording.duration_s for recording in recordings)
    return GateScore(
        options,
        precision=len(delays) / told_count if told_count else 0.0,
        recall=len(delays) / true_count if true_count else 0.0,
        delay_s=float(np.median(delays)) if delays else float("nan"),
        rate_hz=told_count / seconds if seconds else 0.0,
    )


def ward_scale(recordings: Sequence[Recording], smoothing: int) -> npt.NDArray[np.float64]:
    """Ward costs that occur in the recordings when nothing ever shifts the gate, ascending."""
    costs = []
    options = GateOptions(
        smoothing=smoothing,
        confirm=1,
        ward_threshold=1e30,
        variance_threshold=-1,
        hysteresis=-1,
        max_interval_ns=-1,
    )
    for recording in recordings:
        gate = Gate(recording.embeddings.shape[1], options)
        for row, end in zip(recording.embeddings, recording.end_ns, strict=True):
            costs.append(gate.push(row, int(end)).ward)
    return np.sort(np.array(costs, np.float64))


def fit(
    recordings: Sequence[Recording],
    *,
    base: GateOptions | None = None,
    target_rate_hz: float | None = None,
    target_recall: float | None = None,
    smoothings: Sequence[int] = (1, 2, 3, 4),
    confirms: Sequence[int] = (1, 2),
    steps: int = 24,
) -> tuple[GateScore, list[GateScore]]:
    """The best gate and all that were tried.

    Thresholds are tried over the span of the costs that occur. The best F1 wins: of all, of those
    that tell at most `target_rate_hz` shifts a second, or of those that find `target_recall` of the
    true shifts. Where none does, the one that comes nearest.
    Raises ValueError without recordings, or where no true shift is known.
    """
    if not recordings:
        raise ValueError("no recordings to fit the gate on")
    if not any(len(recording.shifts_ns) for recording in recordings):
        raise ValueError("the recordings have no true shift: nothing to fit the gate to")
    base = base or GateOptions(
        variance_threshold=-1, hysteresis=-1, min_interval_ns=500_000_000, max_interval_ns=-1
    )
    tried = []
    for smoothing, confirm in itertools.product(smoothings, confirms):
        costs = ward_scale(recordings, smoothing)
        costs = costs[costs > 0]
        if not len(costs):
            raise ValueError("the embedding streams never change: nothing to fit the gate to")
        for threshold in np.geomspace(max(costs[0], costs[-1] / 200), costs[-1], steps):
            options = replace(
                base, smoothing=smoothing, confirm=confirm, ward_threshold=float(threshold)
            )
            tried.append(score(recordings, options))
    allowed = [
        s
        for s in tried
        if (target_rate_hz is None or s.rate_hz <= target_rate_hz)
        and (target_recall is None or s.recall >= target_recall)
    ]
    if not allowed:
        allowed = sorted(tried, key=lambda s: _misses(s, target_rate_hz, target_recall))[:1]
    best = max(allowed, key=lambda s: (s.f1, -s.rate_hz))
    return best, tried


def _misses(score: GateScore, rate_hz: float | None, recall: float | None) -> float:
    """How far a gate is from what is asked for, as shares of that."""
    over = max(0.0, score.rate_hz / rate_hz - 1) if rate_hz else 0.0
    under = max(0.0, 1 - score.recall / recall) if recall else 0.0
    return over + under


def follow(
    reference: Sequence[Recording],
    options: GateOptions,
    recordings: Sequence[Recording],
    window_s: float,
    steps: int = 65,
) -> GateScore:
    """The threshold with which a quantised model's gate decides as full precision's does.

    `reference` and `recordings` are of the same streams; full precision's shifts under `options`
    are the truth, to within one window. All but the Ward threshold stays, which is tried from half
    to double; of equals the one nearest to full precision's is taken.
    """
    true = [
        Recording(r.embeddings, r.end_ns, told_shifts(f, options))
        for f, r in zip(reference, recordings, strict=True)
    ]
    if options.ward_threshold <= 0:
        return score(true, options, window_s, window_s)
    tried = []
    for factor in np.geomspace(0.5, 2.0, steps):
        candidate = replace(options, ward_threshold=float(options.ward_threshold * factor))
        found = score(true, candidate, window_s, window_s)
        tried.append((found.f1, -abs(float(np.log(factor))), found))
    return max(tried, key=lambda t: t[:2])[2]
