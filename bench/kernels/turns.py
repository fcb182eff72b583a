"""Times several ways to do one thing in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Turns:
    """Milliseconds of each contender, one for each round; all on one thread."""

    what: str
    samples_ms: dict[str, list[float]]

    def median_ms(self, name: str) -> float:
        """Half of this contender's rounds were faster."""
        return float(np.median(self.samples_ms[name]))

    def ratio(self, slower: str, faster: str) -> float:
        """Median over the rounds of slower / faster, each pair a moment apart."""
        pairs = np.divide(self.samples_ms[slower], self.samples_ms[faster])
        return float(np.median(pairs))

    def to_json(self, ours: str, **more: Any) -> dict[str, Any]:
        """Medians, ratios of all others to `ours`, and the raw samples."""
        others = [name for name in self.samples_ms if name != ours]
        return {
            "what": self.what,
            "median_ms": {name: round(self.median_ms(name), 4) for name in self.samples_ms},
            f"ratio_to_{ours}": {name: round(self.ratio(name, ours), 3) for name in others},
            **more,
            "samples_ms": {n: [round(s, 4) for s in all_] for n, all_ in self.samples_ms.items()},
        }


def take_turns(
    what: str, contenders: Mapping[str, Callable[[], object]], rounds: int, repeats: int = 1
) -> Turns:
    """`rounds` rounds after one that warms up; a sample is the mean of `repeats` calls."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            taken_ms = (time.perf_counter() - start) * 1e3 / repeats
            if turn > 0:
                samples[name].append(taken_ms)
    return Turns(what, samples)
