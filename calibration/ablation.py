"""What SmoothQuant, bias correction and outlier channels buy, each alone and all together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from .calibrator import Calibrator
from .sensitivity import Judge, Measure

Progress = Callable[[str, int, int], None]
VARIANTS = (
    ("plain", False, False, False),
    ("bias correction", False, True, False),
    ("SmoothQuant", True, False, False),
    ("SmoothQuant, bias correction", True, True, False),
    ("outlier channels", False, False, True),
    ("SmoothQuant, bias correction, outlier channels", True, True, True),
)


@dataclass(frozen=True)
class Variant:
    """One line of the table."""

    name: str
    measure: Measure


def ablate(calibrator: Calibrator, windows: int, progress: Progress | None = None) -> list[Variant]:
    """Calibrates with each part on and off, and judges on held-out windows."""
    results: list[Variant] = []
    for smooth in (False, True):
        settings = dataclasses.replace(calibrator.settings, smooth=smooth)
        other = Calibrator(calibrator.folder, settings)
        other.observe(progress=progress)
        judge = Judge(other, windows)
        for name, smoothed, corrected, outliers in VARIANTS:
            if smoothed == smooth:
                other.settings = dataclasses.replace(
                    settings, bias_correction=corrected, outliers=outliers
                )
                results.append(Variant(name, judge.of_schemes({})))
    return results
