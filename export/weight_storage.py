"""Stores weights in 16 bits; what is computed with them stays float32.

Each weight of a matrix product gets a Cast behind it, each embedding table one behind its Gather:
runtimes fold the Casts when they load, so half the file costs no time. Norms, biases and rotary
tables are small, and keep 32 bits; so does the patch projection, into which the export folds the
pixels' scale: a checkpoint in BF16 is then stored without any rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .errors import ExportError

Storage = Literal["fp32", "fp16", "bf16"]
STORAGES: tuple[Storage, ...] = ("fp32", "fp16", "bf16")
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
# Smaller ones are tables and scales.
LEAST_ELEMENTS = 16_384
FOLDED = frozenset({"patch_embed.projection.weight"})

_TYPES = {
    "fp16": (ir.DataType.FLOAT16, np.dtype(np.float16)),
    "bf16": (ir.DataType.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
}
# Operator -> which of its inputs is a weight.
_WEIGHT_INPUT = {"MatMul": 1, "Gather": 0, "MaskedMeanPool": 2}


def store_weights(model: ir.Model, storage: Storage) -> int:
    """Converts the weights of `model` in place, when they are written; returns how many.

    ExportError, when the file is written, for a weight that is too large for the type.
    """
    if storage == "fp32":
        return 0
    casts: dict[ir.Value, ir.Value] = {}
    for node in list(model.graph):
        position = _WEIGHT_INPUT.get(node.op_type)
        weight = node.inputs[position] if position is not None else None
        if position is None or weight is None:
            continue
        if weight not in casts and not _is_weight(weight):
            continue
        if node.op_type == "Gather":
            _convert(weight, storage)
            _cast_result(node)
        else:
            if weight not in casts:
                _convert(weight, storage)
                cast = _cast(weight, f"{weight.name}/Cast")
                model.graph.insert_before(node, cast.producer())  # type: ignore[arg-type]
                casts[weight] = cast
            node.replace_input_with(position, casts[weight])
    return len(casts)


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        tensor is not None
        and tensor.dtype == ir.DataType.FLOAT
        and len(tensor.shape) == 2
        and value.name not in FOLDED
        and tensor.size >= LEAST_ELEMENTS
    )


def _convert(value: ir.Value, storage: str) -> None:
    """Makes the initializer a 16-bit one, converted only while it is written."""
    dtype, numpy_dtype = _TYPES[storage]
    tensor = value.const_value
    assert tensor is not None
    shape = ir.Shape(value.shape if value.shape is not None else tensor.shape)  # type: ignore[arg-type]
    value.const_value = ir.LazyTensor(
        _converter(tensor, value.name or "a weight", dtype, numpy_dtype),
        dtype,
        shape,
        name=value.name,
    )
    value.type = ir.TensorType(dtype)


def _converter(
    tensor: ir.TensorProtocol, name: str, dtype: ir.DataType, numpy_dtype: np.dtype
) -> Callable[[], ir.TensorProtocol]:
    def convert() -> ir.TensorProtocol:
        return ir.Tensor(to_16_bits(tensor.numpy(), numpy_dtype, name), dtype=dtype, name=name)

    return convert


def to_16_bits(weights: NDArray[np.float32], dtype: np.dtype, name: str) -> NDArray[np.generic]:
    """Rounded to nearest. ExportError where a weight becomes infinite, or was no number."""
    with np.errstate(over="ignore"):
        stored = weights.astype(dtype)
    if not np.isfinite(stored.astype(np.float32)).all():
        raise ExportError(
            f"{name} holds {np.abs(weights).max():.3g}, too large for {dtype}",
            "export with --weights bf16, or fp32",
        )
    return stored


def _cast(value: ir.Value, name: str) -> ir.Value:
    node = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT}, name=name, num_outputs=1)
    result = node.outputs[0]
    result.name, result.shape = name, value.shape
    result.type = ir.TensorType(ir.DataType.FLOAT)
    return result


def _cast_result(node: ir.Node) -> None:
    """Looks up 16-bit rows and widens those alone."""
    rows = node.outputs[0]
    cast = _cast(rows, f"{rows.name}/Cast")
    rows.type = ir.TensorType(node.inputs[0].dtype)  # type: ignore[arg-type, union-attr]
    producer = cast.producer()
    assert producer is not None and node.graph is not None
    node.graph.insert_after(node, producer)
    ir.convenience.replace_all_uses_with(rows, cast)
    producer.replace_input_with(0, rows)
