"""Quantises one component by itself, on inputs that the caller feeds: no bundle, no other part.

For comparing quantisers on one graph, and for components of gigabytes, where two at a time are too
many. `calibrator.py` does the same for whole bundles, through the C core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from . import plan as planning
from .engines import open_session
from .insert import (
    LayerPlan,
    check_placement,
    quantise_attention,
    quantise_graph,
    store_tables_small,
)
from .linear import AttentionProduct, attention_products, linear_layers
from .observe import Observations
from .settings import Settings
from .smooth import Smoothing

# Inputs of one run by name.
Feed = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Single:
    """A quantised graph, how it was made, and how long that took."""

    graph: ir.Model
    plan: dict[str, LayerPlan]
    smoothing: dict[str, Smoothing]
    seconds: float


def quantise_single(
    component: str,
    fresh: Callable[[], ir.Model],
    feeds: Callable[[], Iterable[Feed]],
    settings: Settings,
) -> Single:
    """Observes, smooths, plans and rounds one graph.

    `fresh` gives the float graph anew each time it is called, `feeds` its inputs. ExportError names
    a layer that has no range, or that stayed float.
    """
    started = time.monotonic()
    smoothing: dict[str, Smoothing] = {}
    if settings.smooth and not settings.weights_only:
        graph = fresh()
        seen = _observe(component, graph, (), feeds(), settings)
        smoothing = planning.search_smoothing(component, graph, seen, settings)
    graph = planning.fold_smoothing(component, fresh(), smoothing)
    products = attention_products(component, graph) if settings.attention else []
    seen = _observe(component, graph, products, feeds(), settings)
    plan = planning.plan_layers(linear_layers(component, graph), seen, settings)
    limits = {
        key: planning.range_of(key, seen, settings)
        for product in products
        for key in product.keys
        if key is not None
    }
    quantise_attention(products, limits, graph, settings.target)
    quantise_graph(component, graph, plan, settings.target)
    store_tables_small(graph)
    check_placement(component, graph)
    return Single(graph, plan, smoothing, time.monotonic() - started)


def _observe(
    component: str,
    graph: ir.Model,
    products: Iterable[AttentionProduct],
    feeds: Iterable[Feed],
    settings: Settings,
) -> Observations:
    """What the inputs of a graph's linear layers and attention products look like."""
    found = Observations("")
    readers: dict[str, list[str]] = {}
    for layer in linear_layers(component, graph):
        assert layer.activation.name is not None
        readers.setdefault(layer.activation.name, []).append(layer.name)
    keys = [key for product in products for key in product.keys if key is not None]
    operands = [key.removeprefix(f"{component}/") for key in keys]
    watched = list(dict.fromkeys([*readers, *operands]))
    session = open_session(graph, threads=settings.threads, more_outputs=watched)
    for feed in feeds:
        names = [name for name in watched if name not in feed]
        values = dict(feed) | dict(zip(names, session.run(names, dict(feed)), strict=True))
        for name in readers:
            for layer_name in readers[name]:
                found.add(layer_name, values[name], values[name].shape[-1])
        for key in dict.fromkeys(keys):
            found.add(key, values[key.removeprefix(f"{component}/")], 0)
        found.windows += 1
    return found
