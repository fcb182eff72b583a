"""From a histogram of magnitudes to the largest one that quantised values should reach."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .formats import FORMATS, Format
from .histogram import MagnitudeHistogram

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[str, ...] = get_args(Method)
PERCENTILE = 99.99
_CANDIDATES = 128
# ONNX Runtime's search takes time in the square of this.
_ENTROPY_BINS = 256
_ENTROPY_LEVELS = 128


def amax(
    histogram: MagnitudeHistogram,
    method: Method,
    target: Format = "int8",
    percentile: float = PERCENTILE,
) -> float:
    """The magnitude that maps to the format's largest value; larger ones saturate.

    `minmax`: the largest that was seen. `percentile`: that many percent of the values lie below.
    `mse`: the least squared error of the rounded values. `entropy`: the least Kullback-Leibler
    divergence, by ONNX Runtime's own search. 0 where only zeros were seen.
    """
    if histogram.amax == 0.0:
        return 0.0
    if method == "minmax":
        return histogram.amax
    if method == "percentile":
        return _percentile(histogram, percentile)
    if method == "mse":
        return _least_error(histogram, target)
    return _entropy(histogram)


def _percentile(histogram: MagnitudeHistogram, percentile: float) -> float:
    cumulative = np.cumsum(histogram.counts)
    at = int(np.searchsorted(cumulative, percentile / 100 * cumulative[-1]))
    return float(min(histogram.edges[min(at, len(histogram.edges) - 1)], histogram.amax))


def _least_error(histogram: MagnitudeHistogram, target: Format) -> float:
    filled = histogram.counts > 0
    values, counts = histogram.centres[filled], histogram.counts[filled].astype(np.float64)
    number_format = FORMATS[target]
    best, least = histogram.amax, np.inf
    for share in np.linspace(1.0, 0.05, _CANDIDATES):
        limit = float(histogram.amax * share)
        error = number_format.fake(values, limit / number_format.largest) - values
        total = float((counts * error**2).sum())
        if total < least:
            best, least = limit, total
    return best


def _entropy(histogram: MagnitudeHistogram) -> float:
    from onnxruntime.quantization.calibrate import HistogramCollector

    merged = histogram.counts.reshape(_ENTROPY_BINS, -1).sum(1)
    two_sided = np.concatenate((merged[::-1], [0], merged))
    half = np.arange(1, _ENTROPY_BINS + 1) * (histogram.upper / _ENTROPY_BINS)
    width = float(half[0])
    edges: npt.NDArray[np.float64] = np.concatenate((-half[::-1] - width / 2, [-width / 2]))
    edges = np.concatenate((edges, [width / 2], half + width / 2))
    collector = HistogramCollector("entropy", True, len(two_sided), _ENTROPY_LEVELS, 0.0, "same")
    seen = np.float64(histogram.amax)
    _, upper = collector.get_entropy_threshold((two_sided, edges, -seen, seen), _ENTROPY_LEVELS)
    return float(min(float(upper), histogram.amax))
