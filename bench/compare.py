"""Two results files side by side, with a verdict that continuous integration can fail on.

A run is slower when its median grew by more than the limit and the 95 % intervals of the two
medians don't touch: a difference that repeats alone explain is told, and fails nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from .results import Results, Run

# Settings that must be equal for two runs to be compared; a bundle's folder may differ.
_SETTINGS = ("backend", "threads", "queries", "camera_fps", "stride", "width", "height")


@dataclass(frozen=True)
class Change:
    """One run's headline in both files. `relative` is b over a, less one: positive is slower."""

    subject: str
    scenario: str
    statistic: str
    a_ms: float
    b_ms: float
    intervals_touch: bool
    valid: bool

    @property
    def relative(self) -> float:
        """0.05 where b takes 5 % longer."""
        return self.b_ms / self.a_ms - 1

    def fails(self, limit: float) -> bool:
        """Slower than the limit allows, beyond noise."""
        return self.relative > limit and not self.intervals_touch


@dataclass(frozen=True)
class Comparison:
    """All runs that both files have, and the names of those that only one has."""

    changes: list[Change]
    only_a: list[str]
    only_b: list[str]


def compare(a: Results, b: Results) -> Comparison:
    """Matches runs by scenario, subject and settings."""
    runs_a, runs_b = _by_key(a), _by_key(b)
    changes = []
    for key, run in runs_a.items():
        other = runs_b.get(key)
        if other is None:
            continue
        first, second = run.summary(), other.summary()
        if first.mean is None or second.mean is None:
            continue
        touch = False
        if first.p50 is not None and second.p50 is not None:
            name, before, after = "p50", first.p50, second.p50
            assert first.p50_interval is not None and second.p50_interval is not None
            touch = first.p50_interval[1] >= second.p50_interval[0]
        else:
            name, before, after = "mean", first.mean, second.mean
        valid = run.validity.valid and other.validity.valid
        changes.append(Change(run.subject, run.scenario, name, before, after, touch, valid))
    names_a = [f"{run.subject} {run.scenario}" for k, run in runs_a.items() if k not in runs_b]
    names_b = [f"{run.subject} {run.scenario}" for k, run in runs_b.items() if k not in runs_a]
    return Comparison(changes, names_a, names_b)


def _by_key(results: Results) -> dict[tuple[str, ...], Run]:
    return {
        (run.scenario, run.subject, *(str(run.settings.get(name)) for name in _SETTINGS)): run
        for run in results.runs
    }
