"""Runs graphs in memory as the engines of the C core, so that all judging goes the core's own path.

A quantised candidate needs no bundle this way, and FP8, which ONNX Runtime only *simulates* on a
CPU (every value rounded to FP8, the arithmetic in float32), gets the session option that it needs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

from ..export.manifest import Manifest
from ..runtime.model import Model, load

Array = npt.NDArray[Any]
# (component, values by name): what an engine computed on the way.
Watch = Callable[[str, Mapping[str, Array]], None]
# Above this a graph goes through a file: protobuf ends at 2 GB.
_IN_MEMORY_BYTES = 500_000_000


class GraphEngines:
    """A `PythonEngine` over one graph per component; `watched` values are handed to `watch`."""

    def __init__(
        self,
        graphs: Mapping[str, ir.Model],
        *,
        threads: int = 1,
        watched: Mapping[str, Sequence[str]] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch
        self._watched = {name: list((watched or {}).get(name, ())) for name in graphs}
        self._outputs = {n: [v.name for v in g.graph.outputs] for n, g in graphs.items()}
        self._sessions = {
            name: open_session(graph, threads=threads, more_outputs=self._watched[name])
            for name, graph in graphs.items()
        }

    def __call__(
        self, component: str, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        """Runs one component into the core's own output buffers."""
        # `more`: graph inputs are watched too, and those no session gives out again.
        more = [name for name in self._watched[component] if name not in inputs]
        names = list(dict.fromkeys([*outputs, *more]))
        values = dict(zip(names, self._sessions[component].run(names, dict(inputs)), strict=True))
        for name, array in outputs.items():
            array[...] = values[name]
        if self._watch is not None and self._watched[component]:
            seen = {**inputs, **values}
            self._watch(component, {name: seen[name] for name in self._watched[component]})


def open_session(
    graph: ir.Model, *, threads: int = 1, more_outputs: Sequence[str] = ()
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session of a graph in memory; `more_outputs` are given out as well."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if uses_fp8(graph):
        # Fusing FP8 Q/DQ pairs into CPU kernels, which the default does, makes an invalid graph.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    own = list(graph.graph.outputs)
    present = {value.name for value in own}
    inputs = {value.name for value in graph.graph.inputs}
    extra = [
        value
        for node in graph.graph
        for value in node.outputs
        if value.name in more_outputs and value.name not in present | inputs
    ]
    try:
        graph.graph.outputs.extend(extra)
        return _session(graph, options)
    finally:
        graph.graph.outputs[:] = own


def _session(graph: ir.Model, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    providers = ["CPUExecutionProvider"]
    weights = [v.const_value for v in graph.graph.initializers.values()]
    if sum(tensor.nbytes for tensor in weights if tensor is not None) <= _IN_MEMORY_BYTES:
        proto = ir.serde.serialize_model(graph).SerializeToString()
        return onnxruntime.InferenceSession(proto, options, providers=providers)
    with tempfile.TemporaryDirectory(prefix="vljepa-") as folder:
        path = Path(folder) / "graph.onnx"
        # Saving turns the graph's weights into views of the file, which goes away: keep them.
        kept = {name: value.const_value for name, value in graph.graph.initializers.items()}
        try:
            ir.save(graph, path, external_data="graph.data", size_threshold_bytes=1024)
        finally:
            for name, tensor in kept.items():
                graph.graph.initializers[name].const_value = tensor
        return onnxruntime.InferenceSession(str(path), options, providers=providers)


def uses_fp8(graph: ir.Model) -> bool:
    """Whether a graph holds FP8 numbers."""
    return any(v.dtype == ir.DataType.FLOAT8E4M3FN for v in graph.graph.initializers.values())


def load_graphs(folder: Path, manifest: Manifest) -> dict[str, ir.Model]:
    """The graph of each of a bundle's components."""
    return {name: ir.load(folder / part.file) for name, part in manifest.components.items()}


def open_graphs(
    folder: Path,
    graphs: Mapping[str, ir.Model],
    *,
    threads: int = 1,
    watched: Mapping[str, Sequence[str]] | None = None,
    watch: Watch | None = None,
) -> Model:
    """The bundle `folder` opened by the core, with other graphs in place of its own."""
    engine = GraphEngines(graphs, threads=threads, watched=watched, watch=watch)
    return load(folder, backend="callback", engine=engine, verify_hashes=False)
