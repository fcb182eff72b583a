"""What this machine reaches in each class of operators, measured by ONNX Runtime.

Each class is timed apart from the model, on tensors of the shapes that the model has: a chain of
equal nodes, so that its data lie in the cache as they do in the model, and the cost of calling is
shared by many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph import INTEGER_PRODUCTS, PASSES, PRODUCTS, Node, is_attention, product_shape

ROUNDS = 25
CHAIN = 40
Array = npt.NDArray[Any]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Peaks:
    """What the machine reached, in units of the device table; passes count bytes in and out."""

    threads: int
    fp32_gflops: float
    int8_gops: float
    attention_gflops: float
    bandwidth_gb_s: float  # of memory, streaming
    exp_g_s: float
    node_us: float  # the cost of one more node
    pass_gb_s: dict[str, float] = field(default_factory=dict)  # by class

    @classmethod
    def mean(cls, found: Sequence[Peaks]) -> Peaks:
        """Of several measurements."""
        named = ("fp32_gflops", "int8_gops", "attention_gflops", "bandwidth_gb_s", "exp_g_s")
        values = {
            name: float(np.mean([getattr(one, name) for one in found]))
            for name in (*named, "node_us")
        }
        passes = {
            kind: float(np.mean([one.pass_gb_s[kind] for one in found])) for kind in PASSES
        }  # fmt: skip
        return cls(found[0].threads, **values, pass_gb_s=passes)


def measure_peaks(nodes: Sequence[Node], threads: int) -> Peaks:
    """On the shapes of these nodes. Needs onnx and onnxruntime; some seconds for nano."""
    products = sorted({product_shape(n) for n in nodes if _linear(n)})
    # One row (the head) says nothing of the rate that all others run at.
    shapes = [shape for shape in products if shape[0] > 1] or [(256, 192, 192)]
    rows, width = max((rows, min(inner, columns)) for rows, inner, columns in shapes)
    node_us = _node_us(threads)

    def rate(*timed: Timed) -> float:
        """Bytes in and out a second, the nodes' own cost taken off, in billions."""
        seconds = sum(_seconds(model, threads, feeds) for model, feeds, _ in timed)
        own_s = node_us * 1e-6 * CHAIN * len(timed)
        return sum(moved for _, _, moved in timed) / max(seconds - own_s, 1e-9) / 1e9

    return Peaks(
        threads=threads,
        fp32_gflops=_rate(_linear_graphs("MatMul", shapes), threads),
        int8_gops=_rate(_linear_graphs("MatMulIntegerToFloat", shapes), threads),
        attention_gflops=_rate(_attention_graphs(nodes), threads),
        bandwidth_gb_s=_bandwidth(threads),
        exp_g_s=rate(*_exps(nodes)),
        node_us=node_us,
        pass_gb_s={kind: rate(*_passes(kind, rows, width)) for kind in PASSES},
    )


def _linear(node: Node) -> bool:
    return node.operator in PRODUCTS | INTEGER_PRODUCTS and not is_attention(node)


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


Timed = tuple[bytes, dict[str, Array], float]  # a model, its feeds, and what it computes


def _rate(graphs: Iterable[Timed], threads: int) -> float:
    """Operations a second over all graphs together, in billions."""
    timed = [(_seconds(model, threads, feeds), work) for model, feeds, work in graphs]
    return sum(work for _, work in timed) / sum(seconds for seconds, _ in timed) / 1e9


def _linear_graphs(kind: str, shapes: Iterable[Shape]) -> Iterable[Timed]:
    """Each shape on its own: rows [M, K] times constant weights [K, N], CHAIN times over."""
    rng = np.random.default_rng(0)
    for rows, inner, columns in shapes:
        weights: Array
        if kind == "MatMul":
            given: Array = _random(rows, inner)
            weights, more = _random(inner, columns), []
        else:
            given = rng.integers(0, 255, (rows, inner), dtype=np.uint8)
            weights = rng.integers(-127, 127, (inner, columns), dtype=np.int8)
            more = [np.float32(0.1), np.full(columns, 0.1, np.float32), np.uint8(128)]
        model = _beside(kind, given, [weights, *map(np.asarray, more)])
        yield model, {"a": given}, 2.0 * CHAIN * rows * inner * columns


def _attention_graphs(nodes: Sequence[Node]) -> Iterable[Timed]:
    """Scores and weighted sums, of the shapes that the nodes have."""
    seen = sorted({
        (node.inputs[0].shape, node.inputs[0].shape[-1], node.outputs[0].shape[-1])
        for node in nodes
        if is_attention(node) and node.inputs[0].shape[-2] > 1
    })  # fmt: skip
    for shape, inner, columns in seen or [((1, 3, 256, 64), 64, 256)]:
        given = _random(*shape)
        other = _random(*shape[:-2], inner, columns)
        model = _beside("MatMul", given, [other], fed=2)
        work = 2.0 * CHAIN * given.size * columns
        yield model, {"a": given, "b": other}, work


def _exps(nodes: Sequence[Node]) -> list[Timed]:
    shapes = [node.outputs[0].shape for node in nodes if node.operator == "Softmax"]
    scores = _random(*(max(shapes) if shapes else (1, 3, 256, 256)))
    return [(_beside("Softmax", scores, []), {"a": scores}, float(CHAIN * scores.size))]


def _passes(kind: str, rows: int, width: int) -> list[Timed]:
    """What a class mostly consists of in our graphs, on all tokens of one layer."""
    heads = width // 64 if width % 64 == 0 else 1
    tokens = _random(1, rows, width)
    split = _random(1, rows, heads, width // heads)  # by heads, as attention transposes it
    turned = _random(1, 2 * heads, rows, width // heads)  # queries and keys, as they are rotated
    table = _random(rows, width // heads)
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    half = turned[..., : width // heads // 2]

    def timed(operator: str, given: Array, more: Sequence[Array] = (), **options: Any) -> Timed:
        fed = options.pop("fed", 1)
        made = options.pop("made", given.nbytes)
        model = _beside(operator, given, more, fed, options)
        feeds = {"a": given} | ({"b": more[0]} if fed == 2 else {})
        moved = given.nbytes + made + sum(one.nbytes for one in more)
        return model, feeds, float(CHAIN * moved)

    scale = [np.asarray(np.float32(0.05)), np.asarray(np.uint8(128))]
    return {
        "arithmetic": lambda: [
            timed("Add", tokens, [tokens], fed=2),
            timed("Mul", turned, [table]),
        ],
        "norm": lambda: [timed("LayerNormalization", tokens, [ones, zeros])],
        "activation": lambda: [timed("Gelu", tokens)],
        "move": lambda: [
            timed("Transpose", split, perm=[0, 2, 1, 3]),
            timed("Concat", half, [half], fed=2, axis=-1, made=turned.nbytes),
        ],
        "cast": lambda: [timed("Cast", (tokens * 99).astype(np.uint8), to=1, made=tokens.nbytes)],
        "quantise": lambda: [timed("QuantizeLinear", tokens, scale, made=tokens.size)],
    }[kind]()


def _bandwidth(threads: int) -> float:
    """Of memory: one pass over 64 MB, read and written."""
    large = _random(16 << 20)
    model = _chain("Add", large, (large[:1],), length=1)
    return 2 * large.nbytes / _seconds(model, threads, {"a": large}, rounds=5) / 1e9


def _node_us(threads: int) -> float:
    """A node with next to nothing to do."""
    one = np.zeros(1, np.float32)
    return _seconds(_chain("Add", one, (one,), length=1000), threads, {"a": one}) / 1000 * 1e6


def _chain(
    kind: str, given: Array, more: Sequence[Array], attributes: dict[str, Any] | None = None,
    length: int = CHAIN,
) -> bytes:  # fmt: skip
    """`length` nodes in a row; `given` is fed as "a", the rest are constants."""
    names = [f"c{i}" for i in range(len(more))]
    nodes, last = [], "a"
    for number in range(length):
        nodes.append((kind, [last, *names], f"y{number}"))
        last = f"y{number}"
    return _model(nodes, {"a": given}, dict(zip(names, more, strict=True)), [last], attributes)


def _beside(
    kind: str, given: Array, more: Sequence[Array], fed: int = 1,
    attributes: dict[str, Any] | None = None,
) -> bytes:  # fmt: skip
    """CHAIN equal nodes, all of "a" (and "b" where two are fed) and the constants."""
    names = [f"c{i}" for i in range(len(more))]
    inputs = {"a": given}
    if fed == 2:
        names[0] = "b"
        inputs["b"] = more[0]
    constants = dict(zip(names[fed - 1 :], more[fed - 1 :], strict=True))
    nodes = [(kind, ["a", *names], f"y{i}") for i in range(CHAIN)]
    # One output: handing out the others would be timed as well.
    return _model(nodes, inputs, constants, [f"y{CHAIN - 1}"], attributes)


def _model(
    nodes: Sequence[tuple[str, list[str], str]], inputs: dict[str, Array],
    constants: dict[str, Array], outputs: Sequence[str],
    attributes: dict[str, Any] | None = None,
) -> bytes:  # fmt: skip
    from onnx import helper, numpy_helper

    def domain(kind: str) -> str:
        return "com.microsoft" if kind == "MatMulIntegerToFloat" else ""

    made = [
        helper.make_node(kind, names, [out], domain=domain(kind), **(attributes or {}))
        for kind, names, out in nodes
    ]
    given = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in inputs.items()
    ]
    kind = nodes[0][0]
    out_type = np.dtype(np.uint8 if kind == "QuantizeLinear" else np.float32)
    graph = helper.make_graph(
        made,
        kind,
        given,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(out_type), None)
            for name in outputs
        ],
        [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=10
    ).SerializeToString()
    return content


def _seconds(
    model: bytes, threads: int, feed: dict[str, Array], rounds: int | None = None
) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As it stands: nothing may be folded, fused or made one.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return median_seconds(lambda: session.run(None, feed), rounds or ROUNDS)


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median of so many runs, after three that don't count."""
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        at = time.perf_counter()
        work()
        times.append(time.perf_counter() - at)
    return sorted(times)[rounds // 2]
