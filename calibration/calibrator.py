"""From a full-precision bundle to quantised graphs: observes, smooths, plans, rounds, corrects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import onnx_ir as ir

from ..export.bundle import check_folder
from ..export.errors import ExportError
from ..runtime.description import ModelDescription
from ..runtime.model import load
from . import plan as planning
from . import smooth
from .engines import load_graphs
from .insert import LayerPlan, Scheme, quantise_attention, quantise_graph, store_tables_small
from .linear import (
    AttentionProduct,
    LinearLayer,
    attention_products,
    check_finite,
    linear_layers,
)
from .observe import Observations, observe
from .settings import Settings
from .windows import Windows, open_windows

# What is being done, steps done, steps in all.
Progress = Callable[[str, int, int], None]
# Attention is quantised only here, where nearly all of it is.
_ATTENTION = ("x_encoder", "predictor")
# Windows of the first pass, which only looks at channels.
_SMOOTH_WINDOWS = 32


class Calibrator:
    """A full-precision bundle with what was observed of it. `observe` first, then `graphs`."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Opens and checks. ExportError for a quantised bundle, or a stored NaN."""
        self.folder, self.settings = folder, settings
        self.manifest = check_folder(folder)
        if self.manifest.precision != "fp32":
            raise ExportError(
                f"{folder}: is {self.manifest.precision} already",
                "calibrate the full-precision bundle that it was made from",
            )
        for name, graph in load_graphs(folder, self.manifest).items():
            check_finite(name, graph)
        with load(folder, backend="callback", engine=_no_engine, verify_hashes=False) as model:
            self.about: ModelDescription = model.description
            self.queries = [query.text for query in model.queries]
            self.bundle_sha256 = self.about.bundle_sha256
        self.world = settings.world or self.manifest.provenance.world
        self.windows: Windows = open_windows(
            settings.data, self.about, settings.windows, settings.seed, self.world
        )
        self.smoothing: dict[str, smooth.Smoothing] = {}
        self.observations = Observations("")

    def float_graphs(self, smoothed: bool = True) -> dict[str, ir.Model]:
        """Fresh float graphs, with the smoothing that was found folded in."""
        graphs = load_graphs(self.folder, self.manifest)
        if smoothed and self.smoothing:
            for name, graph in graphs.items():
                planning.fold_smoothing(name, graph, self.smoothing)
        return graphs

    def layers(self, graphs: Mapping[str, ir.Model] | None = None) -> list[LinearLayer]:
        """Every linear layer of the graphs (fresh ones by default)."""
        graphs = graphs or self.float_graphs()
        return [layer for name, graph in graphs.items() for layer in linear_layers(name, graph)]

    def observe(self, state: Path | None = None, progress: Progress | None = None) -> None:
        """Passes over the windows; with `state`, where an earlier one was cut off is taken up."""
        # Weights that are computed with in float have no activations to smooth.
        if self.settings.smooth and not self.settings.weights_only:
            passed = self._pass("smoothing", False, _SMOOTH_WINDOWS, state, progress)
            for name, graph in self.float_graphs(smoothed=False).items():
                self.smoothing |= planning.search_smoothing(name, graph, passed, self.settings)
        self.observations = self._pass("ranges", True, None, state, progress)

    def _pass(
        self,
        what: str,
        smoothed: bool,
        most: int | None,
        state: Path | None,
        progress: Progress | None,
    ) -> Observations:
        graphs = self.float_graphs(smoothed)
        s = self.settings
        facts = [what, self.bundle_sha256, self.windows.fingerprint, most, s.attention, s.target]
        if smoothed:
            facts += [s.smooth, s.method if s.smooth else ""]
        fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return observe(
            self.folder,
            graphs,
            self.layers(graphs),
            self._products(graphs) if smoothed else (),
            self.windows,
            self.queries,
            state=None if state is None else state.with_name(f"{state.name}.{what}.npz"),
            fingerprint=fingerprint,
            most=most,
            threads=s.threads,
            progress=None if progress is None else lambda done, all_: progress(what, done, all_),
        )

    def _products(self, graphs: Mapping[str, ir.Model]) -> list[AttentionProduct]:
        if not self.settings.attention:
            return []
        return [
            product
            for name in _ATTENTION
            if name in graphs
            for product in attention_products(name, graphs[name])
        ]

    def range_of(self, name: str) -> float:
        """The magnitude that a layer's input is quantised up to."""
        return planning.range_of(name, self.observations, self.settings)

    def plan(self, schemes: Mapping[str, Scheme] | None = None) -> dict[str, LayerPlan]:
        """How each layer is stored; those that `schemes` doesn't name are as the settings say."""
        return planning.plan_layers(self.layers(), self.observations, self.settings, schemes)

    def graphs(
        self, plan: Mapping[str, LayerPlan], components: Sequence[str] | None = None
    ) -> dict[str, ir.Model]:
        """Quantised graphs of all components, or of those that are named."""
        graphs = self.float_graphs()
        s = self.settings
        limits = {
            key: self.range_of(key)
            for product in self._products(graphs)
            for key in product.keys
            if key is not None
        }
        chosen = {name: graphs[name] for name in components or graphs}
        for name, graph in chosen.items():
            if s.attention and name in _ATTENTION:
                quantise_attention(attention_products(name, graph), limits, graph, s.target)
            quantise_graph(name, graph, plan, s.target)
            store_tables_small(graph)
        return chosen

    def record(self) -> dict[str, object]:
        """What a bundle tells of how it was calibrated."""
        told = {key: value for key, value in asdict(self.settings).items() if key != "threads"}
        told["world"] = self.world
        if told["data"] != "world":
            told["data"] = self.windows.name  # not a path of this machine
            del told["world"]
        return {**told, "windows": self.observations.windows, "source": self.bundle_sha256}


def _no_engine(*_: object) -> None:
    raise RuntimeError("this model is open for its description alone")
