"""A histogram of magnitudes that grows with what it sees, in constant memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 2048
# Bins of a smaller range are too narrow to be counted in float32.
_LEAST = 1e-30


class MagnitudeHistogram:
    """Counts of |x| in equal bins over [0, upper]; `upper` doubles when a larger value comes.

    Doubling merges neighbouring bins, so nothing that was counted is lost and the order in which
    arrays come changes the bins by at most a factor of two in width.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.counts = np.zeros(bins, np.int64)
        self.upper = 0.0
        self.amax = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Counts an array of any shape. ValueError where it holds NaN or infinity."""
        magnitudes = np.abs(values.reshape(-1))
        largest = float(magnitudes.max(initial=0.0))
        if not np.isfinite(largest):
            raise ValueError("it holds NaN or infinity")
        bins = len(self.counts)
        if self.upper == 0.0 and largest > 0.0:
            # What came before was all zero, and lies in bin 0 whatever the width.
            self.upper = max(largest * 1.25, _LEAST)
        while largest >= self.upper > 0.0:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.concatenate((merged, np.zeros(bins - len(merged), np.int64)))
            self.upper *= 2
        self.amax = max(self.amax, largest)
        scale = bins / self.upper if self.upper > 0.0 else 0.0
        index = np.minimum((magnitudes * np.float32(scale)).astype(np.int32), bins - 1)
        self.counts += np.bincount(index, minlength=bins)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The magnitude that each bin stands for, float64 [bins]."""
        bins = len(self.counts)
        return (np.arange(bins, dtype=np.float64) + 0.5) * (self.upper / bins)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Upper edge of each bin, float64 [bins]."""
        bins = len(self.counts)
        return (np.arange(bins, dtype=np.float64) + 1) * (self.upper / bins)
