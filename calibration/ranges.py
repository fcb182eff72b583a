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
_ENTROPY_LEVELS = 128
_ENTROPY_STEP = 8


def amax(
    histogram: MagnitudeHistogram,
    method: Method,
    target: Format = "int8",
    percentile: float = PERCENTILE,
) -> float:
    """The magnitude that maps to the format's largest value; larger ones saturate.

    `minmax`: the largest that was seen. `percentile`: that many percent of the values lie below.
    `mse`: the least squared error of the rounded values. `entropy`: the least Kullback-Leibler
    divergence of the histogram. 0 where only zeros were seen.
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
    """TensorRT's search (GTC 2017, S7310), on magnitudes.

    ONNX Runtime has it too, in Python loops whose time grows with the square of the bins: minutes
    for a model, at a resolution that outliers spoil.
    """
    counts = histogram.counts.astype(np.float64)
    bins = len(counts)
    last = int(np.flatnonzero(counts)[-1]) + 1
    best, least = last, np.inf
    for stop in range(min(_ENTROPY_LEVELS, last), last + 1, _ENTROPY_STEP):
        inside = counts[:stop]
        reference = inside.copy()
        reference[-1] += counts[stop:].sum()
        group = np.minimum(np.arange(stop) * _ENTROPY_LEVELS // stop, _ENTROPY_LEVELS - 1)
        sums = np.bincount(group, inside, _ENTROPY_LEVELS)
        filled = np.bincount(group, inside > 0, _ENTROPY_LEVELS)
        rounded = np.where(inside > 0, (sums / np.maximum(filled, 1))[group], 0.0)
        divergence = _divergence(reference, rounded)
        if divergence < least:
            best, least = stop, divergence
    return float(min(histogram.upper * best / bins, histogram.amax))


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of two counts; bins that only p fills weigh much, not all."""
    p, q = p / p.sum(), q / q.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-9))).sum())
