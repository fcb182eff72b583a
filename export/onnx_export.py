"""One component of a model to one ONNX file (opset 20), weights beside it where they are large."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import nn

from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from . import graph_passes, pooling
from .components import (
    ComponentSpec,
    TensorSpec,
    component_graph,
    component_spec,
    dynamic_shapes,
    example_inputs,
)
from .weight_storage import Storage, store_weights

OPSET = 20
# The IR of opset 20's own ONNX release: the newest that TensorRT 10.3's parser takes for sure.
IR_VERSION = 9
# Weights of more than this lie in `<component>.onnx.data`.
EXTERNAL_BYTES = 100_000_000
_DTYPES = {"uint8": ir.DataType.UINT8, "int64": ir.DataType.INT64, "float32": ir.DataType.FLOAT}


@dataclass(frozen=True)
class ExportedComponent:
    """What was written, and what the graph holds."""

    spec: ComponentSpec
    path: Path
    external: Path | None
    nodes: int
    operators: dict[str, int]


def export_component(
    name: str,
    model: VLJEPA,
    folder: Path,
    *,
    external_bytes: int = EXTERNAL_BYTES,
    storage: Storage = "fp32",
) -> ExportedComponent:
    """Writes `<folder>/<name>.onnx`; the same weights give the same bytes.

    `storage`: in how many bits weights are kept; they are computed with in float32.
    """
    return export_graph(
        name,
        component_graph(name, model),
        model.config,
        folder,
        external_bytes=external_bytes,
        storage=storage,
    )


def export_graph(
    name: str,
    graph: nn.Module,
    config: VLJEPAConfig,
    folder: Path,
    *,
    external_bytes: int = EXTERNAL_BYTES,
    storage: Storage = "fp32",
) -> ExportedComponent:
    """As `export_component`, from a graph whose model may be gone by now."""
    with quiet():
        program = torch.onnx.export(
            graph,
            example_inputs(name, config),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic_shapes(name, config),
            input_names=[tensor.name for tensor in component_spec(name, config).inputs],
            output_names=[tensor.name for tensor in component_spec(name, config).outputs],
            verbose=False,
        )
    assert program is not None
    network = program.model
    spec = component_spec(name, config)
    graph_passes.clean(network)
    store_weights(network, storage)
    graph_passes.check_operators(network, name)
    _add_function_bodies(network)
    _declare_interface(network, spec)
    network.ir_version = IR_VERSION
    path = folder / f"{name}.onnx"
    external = _save(network, path, external_bytes)
    onnx.checker.check_model(path, full_check=True)
    counts = graph_passes.operators(network)
    return ExportedComponent(
        spec, path, external, sum(counts.values()), dict(sorted(counts.items()))
    )


def _add_function_bodies(network: ir.Model) -> None:
    if not any(node.domain == pooling.DOMAIN for node in network.graph):
        return
    function = ir.serde.deserialize_function(pooling.function_body(OPSET))
    network.functions[function.identifier()] = function
    network.graph.opset_imports[pooling.DOMAIN] = pooling.VERSION


def _declare_interface(network: ir.Model, spec: ComponentSpec) -> None:
    """Names the dynamic axes as the manifest does."""

    def declare(values: list[ir.Value], tensors: tuple[TensorSpec, ...]) -> None:
        for value, tensor in zip(values, tensors, strict=True):
            assert value.name == tensor.name, f"{spec.name}: {value.name} is not {tensor.name}"
            value.shape = ir.Shape(tensor.shape)
            value.type = ir.TensorType(_DTYPES[tensor.dtype])

    declare(list(network.graph.inputs), spec.inputs)
    declare(list(network.graph.outputs), spec.outputs)


def _save(network: ir.Model, path: Path, external_bytes: int) -> Path | None:
    total = sum(
        value.const_value.nbytes
        for value in network.graph.initializers.values()
        if value.const_value is not None
    )
    if total <= external_bytes:
        proto = ir.serde.serialize_model(network)
        path.write_bytes(proto.SerializeToString(deterministic=True))
        return None
    external = path.with_name(f"{path.name}.data")
    ir.save(network, path, external_data=external.name, size_threshold_bytes=1024)
    return external


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporter's notes about optional packages off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
