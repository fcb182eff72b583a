"""Between the PyTorch exporter and the file: fewer nodes, readable names, fixed bytes."""

from __future__ import annotations

import ast
from collections import Counter

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

# Everything that exported graphs may hold: operators that ONNX Runtime, OpenVINO and TensorRT 10.3
# all know (TensorRT wants the uint8 Reshape rewritten: tensorrt_graph.py).
# No If, Loop, IsNaN or Where; Shape feeds only the Expand and Slice of dynamic query and text axes.
# fmt: off
ALLOWED_OPERATORS = frozenset((
    "Add", "Cast", "Clip", "Concat", "Div", "Expand",
    "Gather", "Gelu", "LayerNormalization", "MatMul", "Mul", "Pad",
    "Pow", "ReduceL2", "ReduceMean", "Reshape", "Shape", "Sigmoid",
    "Slice", "Softmax", "Split", "Sqrt", "Sub", "Transpose",
    "Unsqueeze", "vljepa::MaskedMeanPool",
))
# fmt: on


def operators(model: ir.Model) -> Counter[str]:
    """Nodes of each operator in the main graph; `domain::Op` outside ONNX's own domain."""
    return Counter(
        f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in model.graph
    )


def clean(model: ir.Model) -> None:
    """All passes, in order."""
    make_reshapes_constant(model)
    remove_idle_nodes(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    name_by_scope(model)
    strip(model)


def make_reshapes_constant(model: ir.Model) -> None:
    """Gives every Reshape a constant target: 0 keeps an axis, -1 infers the dynamic one.

    The exporter computes targets of dynamic shape with Shape, Gather, Mul, Concat: work at run time
    that runtimes cannot plan around.
    """
    constants: dict[tuple[int, ...], ir.Value] = {}
    for node in list(model.graph):
        if node.op_type != "Reshape" or node.inputs[1] is None:
            continue
        node.attributes.pop("allowzero", None)  # the exporter's; 0 would mean "no elements"
        if ir.convenience.get_const_tensor(node.inputs[1]) is not None:
            continue
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None and source.shape is not None and result.shape is not None
        target = []
        for axis, size in enumerate(result.shape):
            if isinstance(size, int):
                target.append(size)
            elif axis < len(source.shape) and size == source.shape[axis]:
                target.append(0)
            else:
                target.append(-1)
        if target.count(-1) > 1:
            raise ValueError(f"{node.name}: {source.shape} to {result.shape} infers two axes")
        key = tuple(target)
        if key not in constants:
            tensor = ir.tensor(np.array(target, dtype=np.int64), name=f"shape_{len(constants)}")
            constants[key] = ir.Value(
                name=tensor.name, const_value=tensor, type=ir.TensorType(ir.DataType.INT64)
            )
            constants[key].shape = ir.Shape([len(target)])
            model.graph.register_initializer(constants[key])
        node.replace_input_with(1, constants[key])


def remove_idle_nodes(model: ir.Model) -> None:
    """Removes Identity, Cast to the same type, and Expand or Reshape to the same shape."""
    outputs = set(model.graph.outputs)
    for node in list(model.graph):
        if not node.inputs or node.inputs[0] is None or len(node.outputs) != 1:
            continue
        source, result = node.inputs[0], node.outputs[0]
        same_shape = source.shape is not None and source.shape == result.shape
        idle = (
            node.op_type == "Identity"
            or (node.op_type == "Cast" and source.dtype == result.dtype)
            or (node.op_type in ("Expand", "Reshape") and same_shape)
        )
        if idle and result not in outputs:
            ir.convenience.replace_all_uses_with(result, source)
            model.graph.remove(node, safe=True)


def name_by_scope(model: ir.Model) -> None:
    """Names nodes `module.path/Operator` (`_2`, `_3` where needed) and values after their node.

    These names are what calibration and sensitivity tables show, and they do not change from one
    export to the next.
    """
    interface = {*model.graph.inputs, *model.graph.outputs}
    scopes: dict[ir.Node, str] = {}
    counts: Counter[str] = Counter()
    for node in model.graph:
        scopes[node] = _scope(node, scopes)
        base = f"{scopes[node]}/{node.op_type}".lstrip("/")
        counts[base] += 1
        node.name = base if counts[base] == 1 else f"{base}_{counts[base]}"
        for i, value in enumerate(node.outputs):
            if value not in interface:
                value.name = node.name if len(node.outputs) == 1 else f"{node.name}.{i}"
    for i, value in enumerate(list(model.graph.initializers.values())):
        if value.name is not None and value.name.startswith(("val_", "shape_", "scalar_")):
            _rename_initializer(model.graph, value, f"constant_{i}")


def _scope(node: ir.Node, scopes: dict[ir.Node, str]) -> str:
    """Path of the PyTorch module that the node comes from; its input's where untold."""
    told = node.metadata_props.get("pkg.torch.onnx.name_scopes")
    if told is not None:
        path = str(ast.literal_eval(told)[-2])
        return "" if path.startswith("_") else path  # the exporter's own, of no module
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None and producer in scopes:
            return scopes[producer]
    return ""


def _rename_initializer(graph: ir.Graph, value: ir.Value, name: str) -> None:
    assert value.name is not None
    graph.initializers.pop(value.name)
    value.name = name
    if value.const_value is not None:
        value.const_value.name = name
    graph.register_initializer(value)


def strip(model: ir.Model) -> None:
    """Drops what differs between machines and runs: doc strings, metadata, stack traces."""
    interface = {*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()}
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None
    model.producer_name, model.producer_version = "vljepa-edge", None
    for value in interface:
        value.metadata_props.clear()
        value.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None


def check_operators(model: ir.Model, what: str) -> None:
    """Refuses a graph with an operator that some target does not take."""
    strange = sorted(set(operators(model)) - ALLOWED_OPERATORS)
    if strange:
        raise ValueError(
            f"{what}: the graph holds {', '.join(strange)}, which not every target takes"
        )
