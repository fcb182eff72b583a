"""What a quantised bundle must reach to stand in for full precision."""

from __future__ import annotations

from dataclasses import dataclass

from .fidelity import Fidelity
from .report import table


@dataclass(frozen=True)
class Goal:
    """One limit. `found` None: the comparison did not tell it, which is a miss."""

    what: str
    found: float | None
    limit: float
    least: bool  # whether `found` must not be below the limit, or not above it
    form: str  # of numbers, as str.format takes it

    @property
    def reached(self) -> bool:
        """Whether the limit is kept."""
        if self.found is None:
            return False
        return self.found >= self.limit if self.least else self.found <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """A line of a table: what, found, limit, whether it is kept."""
        found = "not told" if self.found is None else self.form.format(self.found)
        sign = "≥" if self.least else "≤"
        told = "yes" if self.reached else "**no**"
        return self.what, found, f"{sign} {self.form.format(self.limit)}", told


def goals(f: Fidelity) -> list[Goal]:
    """The limits of a packaged bundle, and what a comparison found. Points may rise freely."""
    return [
        Goal("cosine of predicted embeddings, mean", f.cosine_mean, 0.995, True, "{:.5f}"),
        Goal("classification top-1, points", f.classification_points, -1.0, True, "{:+.1f}"),
        Goal("retrieval R@1, points", f.retrieval_points, -1.5, True, "{:+.1f}"),
        Goal("shifts, F1 within one window", f.trigger_f1, 0.95, True, "{:.3f}"),
        Goal("decoded texts equal", f.decoded_exact, 0.90, True, "{:.1%}"),
        Goal("size of full precision's", f.size_share, 0.30, False, "{:.1%}"),
    ]


def markdown(found: list[Goal]) -> str:
    """The goals as a table."""
    return table(["goal", "found", "limit", "kept"], [goal.row() for goal in found]) + "\n"
