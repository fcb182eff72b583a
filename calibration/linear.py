"""Finds the linear layers of an exported graph: everything that calibration may quantise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..export.errors import ExportError
from .formats import Format

# `vljepa::MaskedMeanPool`, as export/pooling.py names it; importing that would load torch.
POOL = "MaskedMeanPool"
# Operators with a weight, and which input that is.
WEIGHT_INPUT = {"MatMul": 1, "Gemm": 1, "Conv": 1, "ConvTranspose": 1, POOL: 2}


# In the names of what computes a layer's outlier channels (outliers.py).
OUTLIERS = "/outliers/"


@dataclass(frozen=True)
class LinearLayer:
    """`node` multiplies `activation` by `weight`; `bias` is the Add behind it, if there is one.

    `name` is `<component>/<module path>`, as the exporter named the node. In a `pool`, masked mean
    and projection are one node: its activation is one row per query, and stays float.
    """

    name: str
    component: str
    node: ir.Node
    weight: ir.Value
    activation: ir.Value
    bias: ir.Value | None
    bias_add: ir.Node | None
    pool: bool

    @property
    def array(self) -> npt.NDArray[np.float32]:
        """The weight, float32 [in, out]."""
        return weight_array(self.weight)

    def stored_as(self, target: Format) -> Format:
        """INT8 where its input is pixels, which lose nothing in it: E4M3 has too few of 256."""
        return "int8" if self.from_bytes is not None else target

    @property
    def from_bytes(self) -> ir.Value | None:
        """The uint8 value that the activation is a cast of (pixels), if it is one."""
        producer = self.activation.producer()
        if producer is None or producer.op_type != "Cast":
            return None
        source = producer.inputs[0]
        is_bytes = source is not None and source.dtype == ir.DataType.UINT8
        return source if is_bytes else None


@dataclass(frozen=True)
class AttentionProduct:
    """A MatMul of attention: scores (query by key) or the mix (softmax by value).

    `keys` names its two inputs among observations; None is the softmax, whose range is known.
    """

    name: str
    component: str
    node: ir.Node
    keys: tuple[str | None, str | None]


def attention_products(component: str, model: ir.Model) -> list[AttentionProduct]:
    """Both products of every softmax in a graph, in order."""
    products = []
    for node in model.graph:
        if node.op_type != "MatMul" or is_weight(node.inputs[1]):
            continue
        left, right = node.inputs
        if left is None or right is None or right.is_initializer():
            continue
        producer = left.producer()
        mixes = producer is not None and producer.op_type == "Softmax"
        if not mixes and not _leads_to_softmax(node):
            continue
        keys = (None if mixes else f"{component}/{left.name}", f"{component}/{right.name}")
        products.append(AttentionProduct(f"{component}/{node.name}", component, node, keys))
    return products


def _leads_to_softmax(node: ir.Node) -> bool:
    """Directly, or through the Add of a mask."""
    users = [use.node for use in node.outputs[0].uses()]
    users += [use.node for n in users if n.op_type == "Add" for use in n.outputs[0].uses()]
    return any(user.op_type == "Softmax" for user in users)


def weight_array(value: ir.Value) -> npt.NDArray[np.float32]:
    """An initializer as float32."""
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float32, copy=False)


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value is a stored float matrix (or a convolution's kernel)."""
    if value is None or not value.is_initializer() or value.shape is None:
        return False
    return len(value.shape) >= 2 and value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def linear_layers(component: str, model: ir.Model) -> list[LinearLayer]:
    """Linear layers in the order of the graph. ExportError for one in a form that we cannot do."""
    layers = []
    for node in model.graph:
        position = WEIGHT_INPUT.get(node.op_type)
        if position is None or not is_weight(node.inputs[position]):
            continue
        weight, activation = node.inputs[position], node.inputs[0]
        assert weight is not None and activation is not None and node.name is not None
        name = f"{component}/{node.name.rsplit('/', 1)[0]}"
        if node.op_type not in ("MatMul", POOL):
            raise ExportError(
                f"{name}: a linear layer as {node.op_type} cannot be quantised",
                "export the bundle again",
            )
        pool = node.op_type == POOL
        add, bias = (None, node.inputs[3]) if pool else _bias(node)
        layers.append(LinearLayer(name, component, node, weight, activation, bias, add, pool))
    return layers


def _bias(node: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """The Add of a stored vector that alone uses the product."""
    users = node.outputs[0].uses()
    if len(users) != 1:
        return None, None
    add = next(iter(users)).node
    if add.op_type != "Add":
        return None, None
    for value in add.inputs:
        if value is not None and value.is_initializer() and value.shape is not None:
            return (add, value) if len(value.shape) == 1 else (None, None)
    return None, None


def stayed_float(component: str, model: ir.Model) -> Iterator[str]:
    """Names of linear layers whose weight is no quantised one, node by node."""
    for node in model.graph:
        position = WEIGHT_INPUT.get(node.op_type)
        outliers = OUTLIERS in (node.name or "")
        if position is not None and is_weight(node.inputs[position]) and not outliers:
            yield f"{component}/{(node.name or node.op_type).rsplit('/', 1)[0]}"


def check_finite(component: str, model: ir.Model) -> None:
    """ExportError where a stored tensor holds NaN or infinity."""
    for name, value in model.graph.initializers.items():
        if value.const_value is None or value.dtype != ir.DataType.FLOAT:
            continue
        if not np.isfinite(weight_array(value)).all():
            raise ExportError(
                f"{component}.onnx: {name} holds NaN or infinity",
                "train or export the model again",
            )


def set_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """A new initializer, or new content for the one of this name."""
    tensor = ir.tensor(array, name=name)
    value = graph.initializers.get(name)
    if value is None:
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        value.const_value = tensor
        graph.register_initializer(value)
    else:
        value.const_value = tensor
    return value


def own_initializer(graph: ir.Graph, value: ir.Value, user: ir.Node) -> ir.Value:
    """`value` for `user` alone: itself, or a copy where others read it (exporters merge equals)."""
    if len({use.node for use in value.uses()}) == 1:
        return value
    copy = set_initializer(graph, f"{value.name}.of.{user.name}", weight_array(value).copy())
    for i, given in enumerate(user.inputs):
        if given is value:
            user.replace_input_with(i, copy)
    return copy
