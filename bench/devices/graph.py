"""What ONNX Runtime really runs of a component, as operators of the analytic model.

A CPU runtime doesn't fuse as a GPU's compiler does: norms, rotations, activations, transposes and
quantising are nodes of their own. They are read off the optimised graph (one profiled run tells the
nodes and the shapes of their tensors; its times are not looked at), so that nothing is guessed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from .operators import Component, Gemm, Operator, Work

# Classes of nodes; what is in none of them counts as arithmetic.
PRODUCTS = frozenset({
    "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulNBits", "TransposedMatMul",
})  # fmt: skip
INTEGER_PRODUCTS = frozenset({
    "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul",
})  # fmt: skip
FREE = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Shape", "Identity", "Flatten"})
KINDS = {
    "Softmax": "softmax",
    "LayerNormalization": "norm",
    "SkipLayerNormalization": "norm",
    "SimplifiedLayerNormalization": "norm",
    "SkipSimplifiedLayerNormalization": "norm",
    "Gelu": "activation",
    "BiasGelu": "activation",
    "FastGelu": "activation",
    "QuickGelu": "activation",
    "Sigmoid": "activation",
    "Tanh": "activation",
    "Erf": "activation",
    "Transpose": "move",
    "Split": "move",
    "Concat": "move",
    "Slice": "move",
    "Gather": "move",
    "Expand": "move",
    "Pad": "move",
    "Cast": "cast",
    "QuantizeLinear": "quantise",
    "DequantizeLinear": "quantise",
    "DynamicQuantizeLinear": "quantise",
}
PASSES = ("arithmetic", "norm", "activation", "move", "cast", "quantise")
_BYTES = {"float": 4, "int32": 4, "int64": 8, "uint8": 1, "int8": 1, "float16": 2, "bfloat16": 2,
          "bool": 1, "double": 8}  # fmt: skip


class Tensor(NamedTuple):
    """A tensor's type, as ONNX Runtime names it, and shape."""

    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.size * _BYTES.get(self.kind, 4)


class Node(NamedTuple):
    """One node of the optimised graph. Weights that were packed are no inputs any more."""

    operator: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_nodes(model: Path, feeds: Mapping[str, Any]) -> list[Node]:
    """The nodes of a component in the order in which they ran."""
    import onnxruntime

    with TemporaryDirectory(prefix="vljepa-nodes-") as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "nodes")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [
        Node(
            event["args"]["op_name"],
            _tensors(event["args"]["input_type_shape"]),
            _tensors(event["args"]["output_type_shape"]),
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]


def _tensors(listed: Iterable[Mapping[str, list[int]]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(kind, tuple(shape)) for one in listed for kind, shape in one.items()
    )  # fmt: skip


def is_attention(node: Node) -> bool:
    """A product of two computed tensors: both have as many axes, and more than two."""
    ranks = [len(one.shape) for one in node.inputs[:2]]
    return node.operator in PRODUCTS and len(ranks) == 2 and ranks[0] == ranks[1] > 2


def as_component(name: str, nodes: Iterable[Node]) -> Component:
    """The same work as operators: products by their shapes, all else as passes over bytes."""
    return Component(name, tuple(_operator(node) for node in nodes))


def product_shape(node: Node) -> tuple[int, int, int]:
    """rows, inner, columns of a product with weights."""
    given, made = node.inputs[0].shape, node.outputs[0].shape
    return math.prod(given[:-1]), given[-1], made[-1]


def _operator(node: Node) -> Operator:
    if is_attention(node):
        inner = node.inputs[0].shape[-1]
        return Work("attention", 2.0 * node.outputs[0].size * inner)
    if node.operator in PRODUCTS | INTEGER_PRODUCTS:
        precision = "int8" if node.operator in INTEGER_PRODUCTS else "fp32"
        return Gemm(*product_shape(node), precision=precision)
    if node.operator in FREE:
        return Work("node", 0.0)
    kind = KINDS.get(node.operator, "arithmetic")
    if kind == "softmax":
        return Work("softmax", float(node.outputs[0].size))
    moved = sum(one.nbytes for one in (*node.inputs, *node.outputs))
    return Work(kind, float(moved))
