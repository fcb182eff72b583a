"""Embedding tables in 8 bits, in the order that TensorRT takes: scaled first, then gathered.

Calibrated bundles gather rows of bytes and scale those few, which spares a CPU the whole table;
TensorRT takes a quantised constant in front of DequantizeLinear alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def scale_before_gather(model: ir.Model) -> int:
    """Gather, Cast, Mul by gathered scales become DequantizeLinear and Gather; how many did."""
    count = 0
    for gather in [node for node in model.graph if node.op_type == "Gather"]:
        table, indices = gather.inputs
        if table is None or table.const_value is None or table.dtype != ir.DataType.INT8:
            continue
        cast = _only_user(gather)
        scaled = None if cast is None else _only_user(cast)
        if cast is None or scaled is None or scaled.op_type != "Mul":
            continue
        (factor,) = (value for value in scaled.inputs if value is not cast.outputs[0])
        producer = None if factor is None else factor.producer()
        scales = None if producer is None else producer.inputs[0]
        if scales is None or scales.const_value is None:
            continue
        rows = scales.const_value.numpy().reshape(-1)
        inputs = [
            table,
            _constant(model, f"{table.name}/scale", rows),
            _constant(model, f"{table.name}/zero", np.zeros(len(rows), np.int8)),
        ]
        name = f"{table.name}/DequantizeLinear"
        whole = ir.node("DequantizeLinear", inputs, attributes={"axis": 0}, name=name)
        gathered = ir.node("Gather", [whole.outputs[0], indices], name=f"{name}/Gather")
        for node, shape in ((whole, table.shape), (gathered, scaled.outputs[0].shape)):
            node.outputs[0].name, node.outputs[0].shape = node.name, shape
            node.outputs[0].dtype = ir.DataType.FLOAT
        model.graph.insert_before(gather, [whole, gathered])
        ir.convenience.replace_all_uses_with(scaled.outputs[0], gathered.outputs[0])
        count += 1
    return count


def _only_user(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 else None


def _constant(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    model.graph.register_initializer(value)
    return value
