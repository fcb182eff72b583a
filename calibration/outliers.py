"""Outlier channels (LLM.int8(), arXiv 2208.07339): a few channels of an input stay float.

A gated MLP may multiply a handful of channels up to hundreds of times what all others hold. One
scale for all then leaves most values two or three steps, and smoothing only moves the trouble into
the weights. So those channels go through a small float product of their own, beside the 8-bit one,
whose weight has zeros in their rows. Searched on sampled inputs, and done only where it takes half
of a layer's error away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .formats import FORMATS, Format
from .histogram import MagnitudeHistogram
from .linear import LinearLayer
from .observe import InputStatistics
from .ranges import Method, amax

Floats = npt.NDArray[np.float32]
COUNTS = (1, 2, 4, 8, 16)
# At most one channel in so many.
_RARE = 16
# The squared error that must be left at most, and how near the best fewer channels are enough.
_LEFT = 0.5
_NEAR = 1.5


def search(
    layer: LinearLayer, statistics: InputStatistics, method: Method, target: Format
) -> tuple[int, ...]:
    """Which channels of a layer's input stay float, largest first; mostly none.

    Judged across the two halves of the windows, as smoothing is.
    """
    weight = layer.array
    if layer.pool or layer.from_bytes is not None or len(layer.weight.uses()) > 1:
        return ()
    order = np.argsort(-statistics.channel_amax, kind="stable")
    without = _error(weight, statistics, (), method, target)
    counts = [count for count in COUNTS if count * _RARE <= len(weight)]
    errors = [_error(weight, statistics, order[:count], method, target) for count in counts]
    if not errors or not min(errors) < _LEFT * without:
        return ()
    best = next(c for c, e in zip(counts, errors, strict=True) if e <= _NEAR * min(errors))
    return tuple(int(channel) for channel in order[:best])


def limit(statistics: InputStatistics, channels: Sequence[int]) -> float:
    """The magnitude that the other channels are quantised up to: the largest that was seen.

    The histogram is of all channels together, and the sampled rows alone promise too little.
    """
    return float(np.delete(statistics.channel_amax, list(channels)).max(initial=0.0))


def rest(weight: Floats, channels: Sequence[int]) -> Floats:
    """A weight [in, out] without the rows of its outlier channels, which become 0."""
    kept: Floats = weight.copy()
    kept[list(channels)] = 0.0
    return kept


def _error(
    weight: Floats,
    statistics: InputStatistics,
    channels: Sequence[int] | npt.NDArray[np.int64],
    method: Method,
    target: Format,
) -> float:
    """Squared error of the layer's output where these channels are float."""
    number_format = FORMATS[target]
    early, late = statistics.halves()
    kept = rest(weight, [int(channel) for channel in channels])
    largest = np.abs(kept).max(0)
    steps = np.where(largest > 0, largest / number_format.largest, 1.0).astype(np.float32)
    rounded = number_format.fake(kept, steps)
    others = np.ones(len(weight), bool)
    others[list(channels)] = False
    total = 0.0
    for known, judged in ((early, late), (late, early)):
        reach = float(np.abs(known[:, others]).max(initial=0.0))
        if others.all():  # as the layer's range is found where none stay float
            histogram = MagnitudeHistogram()
            histogram.add(known)
            reach = amax(histogram, "mse" if method == "entropy" else method, target)
        if reach == 0.0:
            continue
        inputs = judged[:, others]
        rough = number_format.fake(inputs, reach / number_format.largest) @ rounded[others]
        total += float(((rough - inputs @ kept[others]) ** 2).sum())
    return total
