"""From what was observed of a graph to a plan: smoothing of blocks, and a scheme for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from ..export.errors import ExportError
from . import bias, outliers, smooth
from .formats import Format
from .insert import LayerPlan, Scheme
from .linear import LinearLayer, linear_layers
from .observe import Observations
from .ranges import amax
from .settings import Settings


def search_smoothing(
    component: str, graph: ir.Model, seen: Observations, settings: Settings
) -> dict[str, smooth.Smoothing]:
    """An alpha for each block of a float graph that was observed."""
    return {
        block.name: smooth.search(block, seen.layers[block.name], settings.method, settings.target)
        for block in smooth.blocks(linear_layers(component, graph))
        if block.name in seen.layers
    }


def fold_smoothing(
    component: str, graph: ir.Model, found: Mapping[str, smooth.Smoothing]
) -> ir.Model:
    """Folds what was found into a float graph, in place; what it computes stays the same."""
    for block in smooth.blocks(linear_layers(component, graph)):
        smoothing = found.get(block.name)
        if smoothing is not None and smoothing.alpha is not None:
            smooth.apply(graph.graph, block, smoothing.s)
    return graph


def range_of(name: str, seen: Observations, settings: Settings) -> float:
    """The magnitude that an input is quantised up to; 0 where it was never seen."""
    of = seen.layers.get(name)
    if of is None:
        return 0.0
    return amax(of.histogram, settings.method, settings.target, settings.percentile)


def plan_layers(
    layers: Iterable[LinearLayer],
    seen: Observations,
    settings: Settings,
    schemes: Mapping[str, Scheme] | None = None,
) -> dict[str, LayerPlan]:
    """How each layer is stored; those that `schemes` doesn't name are as the settings say.

    ExportError for a layer whose input was always 0.
    """
    usual: Scheme = "weights" if settings.weights_only else "full"
    plan = {}
    for layer in layers:
        scheme = (schemes or {}).get(layer.name, usual)
        limit = _limit(layer, seen, settings) if scheme == "full" and not layer.pool else 0.0
        of = seen.layers.get(layer.name)
        shift, floats = None, tuple[int, ...]()
        if settings.outliers and limit and of is not None:
            floats = outliers.search(layer, of, settings.method, settings.target)
            if floats:
                limit = outliers.limit(of, floats)
        # Computed with in float, E4M3 has nothing over INT8, whose steps are finer.
        stored: Format | None = None
        if scheme == "weights" and not settings.weights_only:
            stored = "int8"
        if settings.bias_correction and scheme != "float" and not layer.pool and of is not None:
            shift = bias.correction(layer, of, scheme, limit, stored or settings.target, floats)
        plan[layer.name] = LayerPlan(scheme, limit, shift, floats, stored)
    return plan


def _limit(layer: LinearLayer, seen: Observations, settings: Settings) -> float:
    if layer.from_bytes is not None:
        return 255.0  # pixels have a range by their type
    limit = range_of(layer.name, seen, settings)
    if not limit > 0:
        raise ExportError(
            f"{layer.name}: its input was 0 on all windows, which gives no range",
            "calibrate on clips that show more",
        )
    return limit
