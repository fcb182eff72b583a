"""An exported graph as TensorRT wants it: the same function, in other operators.

- Bytes are cast at the input: TensorRT takes uint8 there and nowhere else.
- The halves of a rotated vector are swapped by a constant matrix product: Split and Concat become
  slices, constants and shape layers by the thousand.
- `half`: weights and products in float16, as typed networks have to be told; norms, the softmax's
  mask and the pooled embedding stay in float32.
- `attention`: MatMul, Softmax, MatMul become opset 23's Attention (TensorRT 10.15 and later).
- `pool_plugin`: the Predictor's pooling stays one node, for the plug-in of `kernels/cuda/tensorrt`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from .errors import ExportError
from .tensorrt_tables import scale_before_gather

OPSET_ATTENTION = 23
F16, F32 = ir.DataType.FLOAT16, ir.DataType.FLOAT
# The largest that a mask may hide with in float16.
HIDDEN_HALF = 6e4
# Domain and name of pooling.py, which takes PyTorch: a device that builds engines has none.
POOL, POOL_VERSION = ("vljepa", "MaskedMeanPool"), 1
# Computed in float32 whatever the rest is: squares overflow, masks are -1e9, means lose digits.
WIDE = frozenset(
    ("Pow", "ReduceMean", "Sqrt", "Div", "ReduceL2", "ReduceSum", "Clip", "Gather", POOL[1])
)
# Of the pooling kernels (kernels/cuda/pool_block.h).
POOL_MULTIPLE, POOL_MOST_WIDTH = 4, 4096


def for_tensorrt(
    model: ir.Model, *, half: bool = False, attention: bool = False, pool_plugin: bool = False
) -> ir.Model:
    """The graph with its functions inlined and the changes above; `model` is changed too."""
    if pool_plugin:
        strip_pool_body(model)
    if model.functions:
        common.InlinePass()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        for node in model.graph:  # what comes out of a body is untyped, and float32 throughout
            for value in node.outputs:
                if value.dtype is None:
                    value.type = ir.TensorType(F32)
    cast_bytes_first(model)
    scale_before_gather(model)
    swap_by_products(model)
    if attention:
        fuse_attention(model)
    if half:
        to_half(model)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    return model


def strip_pool_body(model: ir.Model) -> int:
    """Takes the function body of `vljepa::MaskedMeanPool` away and names its plug-in; how many.

    With a body, TensorRT's parser takes the body; without, it looks for a plug-in by the node's
    attributes. ExportError where the plug-in's kernels don't take the weight's size.
    """
    count = 0
    for node in model.graph:
        if (node.domain, node.op_type) != POOL:
            continue
        weight = node.inputs[2]
        shape = None if weight is None or weight.shape is None else list(weight.shape)
        sizes = [n for n in shape or [] if isinstance(n, int)]
        if len(sizes) != 2 or any(n % POOL_MULTIPLE for n in sizes):
            raise ExportError(
                f"the pooling plug-in takes multiples of {POOL_MULTIPLE}, not {shape}",
                "leave --pool-plugin out",
            )
        if sizes[0] > POOL_MOST_WIDTH:
            raise ExportError(
                f"the pooling plug-in takes at most {POOL_MOST_WIDTH} wide, not {sizes[0]}",
                "leave --pool-plugin out",
            )
        for name, value in (("plugin_version", POOL_VERSION), ("plugin_namespace", node.domain)):
            node.attributes[name] = ir.AttrString(name, str(value))
        count += 1
    for key in [k for k in model.functions if k[:2] == POOL]:
        del model.functions[key]
    return count


def cast_bytes_first(model: ir.Model) -> None:
    """Moves the Cast of a uint8 input before whatever lays out its bytes."""
    for source in model.graph.inputs:
        if source.dtype != ir.DataType.UINT8:
            continue
        for cast in [n for n in model.graph if n.op_type == "Cast"]:
            if cast.inputs[0] is not None and _stems_from(cast.inputs[0], source):
                ir.convenience.replace_all_uses_with(cast.outputs[0], cast.inputs[0])
                model.graph.remove(cast, safe=True)
        users = [(use.node, use.idx) for use in source.uses()]
        cast = ir.node("Cast", [source], attributes={"to": F32}, name=f"{source.name}/Cast")
        _typed(cast.outputs[0], f"{source.name}/Cast", source.shape, F32)
        model.graph.insert_before(model.graph[0], cast)
        for node, position in users:
            node.replace_input_with(position, cast.outputs[0])
        _retype(cast.outputs[0])


def _stems_from(value: ir.Value, source: ir.Value) -> bool:
    """Whether only layout lies between them."""
    while value is not source:
        node = value.producer()
        if node is None or node.op_type not in ("Reshape", "Transpose", "Identity"):
            return False
        first = node.inputs[0]
        assert first is not None
        value = first
    return True


def _retype(value: ir.Value) -> None:
    """Layout has the type of what it lays out."""
    for use in value.uses():
        if use.node.op_type in ("Reshape", "Transpose"):
            use.node.outputs[0].type = ir.TensorType(F32)
            _retype(use.node.outputs[0])


def swap_by_products(model: ir.Model) -> int:
    """Concat(second, first) of a vector's halves as one product with a permutation; how many."""
    swaps: dict[int, ir.Value] = {}
    count = 0
    for node in list(model.graph):
        if node.op_type != "Concat" or len(node.inputs) != 2:
            continue
        second, first = node.inputs
        assert first is not None and second is not None
        split = first.producer()
        if split is None or split.op_type != "Split" or split is not second.producer():
            continue
        if [id(v) for v in split.outputs] != [id(first), id(second)]:
            continue
        source = split.inputs[0]
        assert source is not None
        width = source.shape[-1] if source.shape is not None else None
        if not isinstance(width, int) or first.shape is None or first.shape[-1] != width // 2:
            continue
        if width not in swaps:
            swaps[width] = _constant(model, f"swap_halves_{width}", _swap(width))
        product = ir.node("MatMul", [source, swaps[width]], name=f"{node.name}/MatMul")
        _typed(product.outputs[0], f"{node.name}/MatMul", node.outputs[0].shape, F32)
        model.graph.insert_before(node, product)
        ir.convenience.replace_all_uses_with(node.outputs[0], product.outputs[0])
        count += 1
    return count


def _swap(width: int) -> np.ndarray:
    return np.roll(np.eye(width, dtype=np.float32), width // 2, axis=1)


def fuse_attention(model: ir.Model) -> int:
    """Softmax attention as one operator each; the scale is in the queries already. How many."""
    count = 0
    for softmax in [n for n in model.graph if n.op_type == "Softmax"]:
        scores, mask = softmax.inputs[0], None
        assert scores is not None
        product = scores.producer()
        if product is not None and product.op_type == "Add":
            scores, mask = product.inputs
            assert scores is not None
            product = scores.producer()
        uses = list(softmax.outputs[0].uses())
        if product is None or product.op_type != "MatMul" or len(uses) != 1:
            continue
        mixed = uses[0].node
        query, turned = product.inputs
        assert query is not None and turned is not None
        transpose = turned.producer()
        if mixed.op_type != "MatMul" or transpose is None or transpose.op_type != "Transpose":
            continue
        key, value = transpose.inputs[0], mixed.inputs[1]
        order = transpose.attributes["perm"].as_ints()
        if query.shape is None or len(query.shape) != 4 or list(order) != [0, 1, 3, 2]:
            continue
        if mask is not None and (mask.shape is None or mask.shape[-2] == 1):
            continue  # one row for all queries: the operator wants one each, as large as the scores
        node = ir.node(
            "Attention",
            [query, key, value] + ([mask] if mask is not None else []),
            attributes={"scale": 1.0},
            name=f"{softmax.name}/Attention",
        )
        _typed(node.outputs[0], f"{softmax.name}/Attention", mixed.outputs[0].shape, F32)
        model.graph.insert_before(mixed, node)
        ir.convenience.replace_all_uses_with(mixed.outputs[0], node.outputs[0])
        count += 1
    if count:
        model.graph.opset_imports[""] = OPSET_ATTENTION
        model.ir_version = max(model.ir_version or 0, 11)
        common.RemoveUnusedNodesPass()(model)
    return count


def to_half(model: ir.Model) -> None:
    """Float32 inside becomes float16, except at the interface and where it would not do."""
    graph = model.graph
    halves: dict[ir.Value, ir.Value] = {}
    wides: dict[ir.Value, ir.Value] = {}

    def as_type(value: ir.Value, node: ir.Node, dtype: ir.DataType) -> ir.Value:
        if value.dtype not in (F16, F32) or value.dtype == dtype:
            return value
        if value.const_value is not None and value.producer() is None and dtype == F16:
            if value not in halves:
                array = np.clip(value.const_value.numpy(), -HIDDEN_HALF, HIDDEN_HALF)
                name = f"{value.name}/half"
                halves[value] = _constant(model, name, array.astype(np.float16))
            return halves[value]
        known = halves if dtype == F16 else wides
        if value not in known:
            cast = ir.node("Cast", [value], attributes={"to": dtype}, name=f"{value.name}/{dtype}")
            _typed(cast.outputs[0], f"{value.name}/{dtype}", value.shape, dtype)
            producer = value.producer()
            if producer is None:
                graph.insert_before(graph[0], cast)
            else:
                graph.insert_after(producer, cast)
            known[value] = cast.outputs[0]
        return known[value]

    for node in list(graph):
        if node.op_type == "Cast" and node.attributes["to"].as_int() == F32:
            source = node.inputs[0]
            if source is not None and source.dtype == F16 and source.const_value is not None:
                halves[node.outputs[0]] = source  # a weight that is stored in half
                continue
        wide = node.op_type in WIDE or _near_a_norm(node)
        dtype = F32 if wide else F16
        for position, value in enumerate(node.inputs):
            if value is not None:
                node.replace_input_with(position, as_type(value, node, dtype))
        if node.op_type == "Cast":
            if node.attributes["to"].as_int() == F32:
                node.attributes["to"] = ir.AttrInt64("to", int(F16))
                node.outputs[0].type = ir.TensorType(F16)
            continue
        for value in node.outputs:
            if value.dtype == F32:
                value.type = ir.TensorType(dtype)
    for position, value in enumerate(graph.outputs):
        if value.dtype == F16:
            name = value.name
            value.name = f"{name}/half"
            producer = value.producer()
            assert producer is not None
            cast = ir.node("Cast", [value], attributes={"to": F32}, name=f"{name}/Cast")
            _typed(cast.outputs[0], name or "", value.shape, F32)
            graph.insert_after(producer, cast)
            graph.outputs[position] = cast.outputs[0]


def _near_a_norm(node: ir.Node) -> bool:
    """Adding epsilon to a mean, or hiding by a mask: small next to large."""
    if node.op_type not in ("Add", "Sub", "Mul"):
        return False
    producers = [v.producer() for v in node.inputs if v is not None]
    return any(p is not None and p.op_type == "ReduceMean" for p in producers)


def _constant(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype))
    value.shape = ir.Shape(array.shape)
    model.graph.register_initializer(value)
    return value


def _typed(value: ir.Value, name: str, shape: ir.Shape | None, dtype: ir.DataType) -> None:
    value.name, value.shape, value.type = name, shape, ir.TensorType(dtype)
