"""Bias correction (arXiv 1906.04721): gives back the mean that rounding takes from a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import outliers
from .formats import FORMATS, Format
from .insert import PIXEL_OFFSET, Scheme
from .linear import LinearLayer
from .observe import InputStatistics


def correction(
    layer: LinearLayer,
    statistics: InputStatistics,
    scheme: Scheme,
    amax: float,
    target: Format,
    floats: Sequence[int] = (),
) -> npt.NDArray[np.float32]:
    """What to add to the layer's output [out] so that its mean is that of float; `floats` are input
    channels that lose nothing.

    E[x W - Q(x) Q(W)] = E[x] (W - Q(W)) + E[x - Q(x)] Q(W); the second from sampled rows.
    """
    number_format = FORMATS[layer.stored_as(target)]
    weight = outliers.rest(layer.array, floats).astype(np.float64)
    largest = np.abs(weight).max(0)
    steps = np.where(largest > 0, largest / number_format.largest, 1.0)
    rounded = number_format.fake(weight, steps)
    mean = statistics.mean
    if layer.from_bytes is not None:  # pixels themselves lose nothing
        offset = PIXEL_OFFSET if scheme == "full" else 0
        shift = (mean - offset) @ (weight - rounded)
    else:
        shift = mean @ (weight - rounded)
        if scheme == "full":
            sample = statistics.sample
            lost = sample - number_format.fake(sample, amax / number_format.largest)
            shift = shift + lost.mean(0, dtype=np.float64) @ rounded
    return shift.astype(np.float32)
