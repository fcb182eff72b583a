"""What SmoothQuant and bias correction buy, each switched on alone and together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from .calibrator import Calibrator
from .sensitivity import Judge, Measure

Progress = Callable[[str, int, int], None]
VARIANTS = (
    ("plain", False, False),
    ("bias correction", False, True),
    ("SmoothQuant", True, False),
    ("SmoothQuant, bias correction", True, True),
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
        for name, smoothed, corrected in VARIANTS:
            if smoothed == smooth:
                other.settings = dataclasses.replace(settings, bias_correction=corrected)
                results.append(Variant(name, judge.of_schemes({})))
    return results
