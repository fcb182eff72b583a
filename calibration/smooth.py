"""SmoothQuant (arXiv 2211.10438): moves large activation channels into the weights before rounding.

A layer's input is divided channel by channel by s and the rows of its weight are multiplied by s,
which changes nothing in float. The division goes into what made the input: a norm's weight, the
value part of a fused q-k-v projection, or the up part of a gated MLP. How far to go, alpha, is
searched for each block on sampled inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .formats import FORMATS, Format
from .histogram import MagnitudeHistogram
from .linear import LinearLayer, own_initializer, weight_array
from .observe import InputStatistics
from .ranges import Method, amax

Floats = npt.NDArray[np.float32]
ALPHAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Channels move by at most this factor.
_MOST = 100.0


@dataclass(frozen=True)
class Block:
    """Layers that share an input, and the vectors and weight columns which that input scales with.

    `vectors`: stored [C]. `columns`: (layer, first column); C columns of its weight and bias.
    """

    name: str
    layers: tuple[LinearLayer, ...]
    vectors: tuple[ir.Value, ...]
    columns: tuple[LinearLayer, int] | None


@dataclass(frozen=True)
class Smoothing:
    """What was found for a block; alpha None: it is better left alone, and s is all ones."""

    block: str
    alpha: float | None
    s: Floats
    error: float  # squared error of the layers' outputs against float, relative
    error_without: float


def blocks(layers: Sequence[LinearLayer]) -> list[Block]:
    """The blocks of one graph that can be smoothed."""
    by_input: dict[ir.Value, list[LinearLayer]] = {}
    for layer in layers:
        if not layer.pool:
            by_input.setdefault(layer.activation, []).append(layer)
    products = {layer.node.outputs[0]: layer for layer in layers}
    products |= {layer.bias_add.outputs[0]: layer for layer in layers if layer.bias_add is not None}
    found = []
    for value, group in by_input.items():
        if len(value.uses()) != len(group) or value.is_graph_output():
            continue  # something else reads it too
        if any(len(layer.weight.uses()) > 1 for layer in group):
            continue
        block = _of_norm(value, group) or _of_projection(value, group, products)
        if block is not None:
            found.append(block)
    return found


def _of_norm(value: ir.Value, group: list[LinearLayer]) -> Block | None:
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "LayerNormalization":
        vectors = tuple(v for v in node.inputs[1:] if v is not None)
    elif node.op_type == "Mul":
        vectors = tuple(v for v in node.inputs if v is not None and v.is_initializer())
    else:
        return None
    channels = len(group[0].array)
    if len(vectors) not in (1, 2) or any(list(v.shape or ()) != [channels] for v in vectors):
        return None
    return Block(group[0].name, tuple(group), vectors, None)


def _of_projection(
    value: ir.Value, group: list[LinearLayer], products: Mapping[ir.Value, LinearLayer]
) -> Block | None:
    """The up part of a gated MLP before `down`, or the values of q-k-v before `out`."""
    channels = len(group[0].array)
    for step in _walk(value, products):
        own = products.get(step)
        producer = step.producer()
        source = None if producer is None or not producer.inputs else producer.inputs[0]
        layer = own if own is not None else products.get(source) if source is not None else None
        if layer is None or producer is None or layer in group:
            continue
        width = layer.array.shape[1]
        up = own is not None and width == channels
        half = (
            own is None
            and producer.op_type == "Split"
            and width == 2 * channels
            and step is producer.outputs[1]
        )
        values = own is None and producer.op_type == "Reshape" and width == 3 * channels
        if not (up or half or values) or len(layer.weight.uses()) > 1:
            return None
        return Block(group[0].name, tuple(group), (), (layer, width - channels))
    return None


def _walk(value: ir.Value, products: Mapping[ir.Value, LinearLayer]) -> list[ir.Value]:
    """Back along the input that the value is linear in, as far as one of those can be told.

    Attention is linear in its values (the softmax's MatMul), a gated MLP in its up half. A Concat
    (a KV cache) ends it: what is stored there must keep its scale.
    """
    path = [value]
    while (node := path[-1].producer()) is not None:
        following: ir.Value | None = None
        if node.op_type in ("Reshape", "Transpose", "Split"):
            following = node.inputs[0]
        elif node.op_type == "MatMul":
            left = node.inputs[0]
            softmax = left.producer() if left is not None else None
            if softmax is not None and softmax.op_type == "Softmax":
                following = node.inputs[1]
        elif node.op_type == "Mul":
            linear = [v for v in node.inputs if v in products or _is_split(v)]
            following = linear[0] if len(linear) == 1 else None
        if following is None:
            return path
        path.append(following)
    return path


def _is_split(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "Split"


def search(
    block: Block,
    statistics: InputStatistics,
    method: Method,
    target: Format,
) -> Smoothing:
    """The alpha with the least output error on sampled inputs; none where that is as good.

    Judged across: s and the range come from the rows of one half of the windows, the error from
    the other's. Measured on the rows that they come from, an alpha that leaves no channel room to
    spare looks best, and saturates on the next clip.
    """
    early, late = statistics.halves()
    weights = [layer.array for layer in block.layers]
    weight_amax = np.max([np.abs(weight).max(1) for weight in weights], axis=0)
    number_format = FORMATS[target]
    halves = [(early, late), (late, early)]
    exact = [[judged @ weight for weight in weights] for _, judged in halves]
    power = sum(float((y.astype(np.float64) ** 2).sum()) for ys in exact for y in ys) or 1.0

    def error(alpha: float | None) -> float:
        total = 0.0
        for (known, judged), ys in zip(halves, exact, strict=True):
            s = np.ones(len(weight_amax), np.float32)
            if alpha is not None:
                s = scales(np.abs(known).max(0, initial=0.0), weight_amax, alpha)
            histogram = MagnitudeHistogram()
            histogram.add(known / s)
            limit = amax(histogram, "mse" if method == "entropy" else method, target)
            if limit == 0.0:
                continue
            rounded = number_format.fake(judged / s, limit / number_format.largest)
            for weight, y in zip(weights, ys, strict=True):
                scaled = weight * s[:, None]
                largest = np.abs(scaled).max(0)
                steps = np.where(largest > 0, largest / number_format.largest, 1)
                rough = rounded @ number_format.fake(scaled, steps.astype(np.float32))
                total += float(((rough - y) ** 2).sum())
        return total / power

    without = error(None)
    ones = np.ones(len(weight_amax), np.float32)
    best = Smoothing(block.name, None, ones, without, without)
    for alpha in ALPHAS:
        found = error(alpha)
        if found < best.error:
            s = scales(statistics.channel_amax, weight_amax, alpha)
            best = Smoothing(block.name, alpha, s, found, without)
    return best


def scales(activation_amax: Floats, weight_amax: Floats, alpha: float) -> Floats:
    """activation_amax^alpha / weight_amax^(1 - alpha), its geometric mean set to 1."""
    used = (activation_amax > 0) & (weight_amax > 0)
    logs = np.zeros(len(activation_amax))
    logs[used] = alpha * np.log(activation_amax[used]) - (1 - alpha) * np.log(weight_amax[used])
    if used.any():
        logs[used] -= logs[used].mean()
    return np.exp(np.clip(logs, -np.log(_MOST), np.log(_MOST))).astype(np.float32)


def apply(graph: ir.Graph, block: Block, s: Floats) -> None:
    """Folds s into a float graph, whose outputs stay what they are."""
    producer = block.layers[0].activation.producer()
    assert producer is not None
    for vector in block.vectors:
        own = own_initializer(graph, vector, producer)
        _store(own, weight_array(own) / s)
    if block.columns is not None:
        layer, first = block.columns
        weight = layer.array.copy()
        weight[:, first:] /= s
        _store(layer.weight, weight)
        if layer.bias is not None:
            own = own_initializer(graph, layer.bias, layer.bias_add or layer.node)
            bias = weight_array(own).copy()
            bias[first:] /= s
            _store(own, bias)
    for layer in block.layers:
        _store(layer.weight, layer.array * s[:, None])


def _store(value: ir.Value, array: npt.NDArray[np.float32]) -> None:
    value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=value.name)
