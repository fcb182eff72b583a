"""Writes tiny ONNX components for tests/c/test_ort.c: the formulas of fixture_engines.h as graphs.

    python tests/c/make_ort_models.py FOLDER

FOLDER/good/ has one ONNX per component of bundle_fixture's default dimensions; FOLDER/external/
has an X-Encoder whose weights lie in a file beside it; FOLDER/wrong/ has components that do not
fit, named by what is wrong with them; FOLDER/other/ has ones that do, in another way.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

FRAMES, SIDE, TOKENS, WIDTH = 4, 32, 8, 16
QUERY_WIDTH, EMBEDDING = 12, 8
PREFIX, DECODER_WIDTH, PLANES, HEADS, CACHE, HEAD_DIM = 2, 8, 2, 1, 24, 4
VOCABULARY, END, TEXT_TOKENS = 40, 2, 4
FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


class Graph:
    """Collects nodes and constants; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: int) -> str:
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [name])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return name

    def const(self, value: object, dtype: type = np.float32, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(list(values), np.int64)

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "fixture", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        model.ir_version = 9
        onnx.checker.check_model(model)
        return model


def value(name: str, dtype: int, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))


def x_encoder(frame_type: int = UINT8) -> onnx.ModelProto:
    g = Graph()
    parts = g.op("Reshape", g.op("Cast", "frames", to=FLOAT), g.ints(1, TOKENS, -1))
    grey = g.op("ReduceMean", parts, g.ints(2), keepdims=1)
    g.op("Mul", grey, g.const(np.full(WIDTH, 1 / 255), name="scale"), out="visual_tokens")
    frames = value("frames", frame_type, 1, FRAMES, 3, SIDE, SIDE)
    return g.model([frames], [value("visual_tokens", FLOAT, 1, TOKENS, WIDTH)])


def on_circle(g: Graph, theta: str, out: str, width: int) -> None:
    """theta [Q, 1] -> cos and sin on the first two axes, 0 on the others."""
    cos, sin = g.op("Cos", theta), g.op("Sin", theta)
    zeros = [g.op("Mul", cos, g.const(0.0))] * (width - 2)
    g.op("Concat", cos, sin, *zeros, out=out, axis=1)


def predictor(
    width: int = EMBEDDING,
    mask: str = "query_mask",
    queries: int | str = "query_count",
    extra: bool = False,
    output: str = "predicted_embedding",
) -> onnx.ModelProto:
    g = Graph()
    grey = g.op("ReduceMean", "visual_tokens", keepdims=0)
    first = g.op("Gather", "query_embeddings", g.const(0, np.int64), axis=2)
    text = g.op("ReduceSum", g.op("Mul", first, mask), g.ints(1), keepdims=1)
    turned = g.op("Mul", grey, g.const(math.pi))
    theta = g.op("Add", g.op("Mul", text, g.const(0.001)), turned)
    on_circle(g, theta, output, width)
    inputs = [
        value("visual_tokens", FLOAT, 1, TOKENS, WIDTH),
        value("query_embeddings", FLOAT, queries, "query_length", QUERY_WIDTH),
        value(mask, FLOAT, queries, "query_length"),
    ]
    if extra:
        inputs.append(value("temperature", FLOAT, 1))
    return g.model(inputs, [value(output, FLOAT, queries, width)])


def pooled_predictor() -> onnx.ModelProto:
    """A Predictor whose tail is vljepa::MaskedMeanPool, with a body of standard operators."""
    g = Graph()
    none = g.op("Mul", g.op("ReduceMean", "visual_tokens", keepdims=0), g.const(0.0))
    hidden = g.op("Add", "query_embeddings", none)
    weight = g.const(np.cos(np.arange(QUERY_WIDTH * EMBEDDING)).reshape(QUERY_WIDTH, EMBEDDING))
    inputs = [hidden, "query_mask", weight, g.const(np.linspace(0.1, 1, EMBEDDING))]
    out = "predicted_embedding"
    g.nodes.append(helper.make_node("MaskedMeanPool", inputs, [out], domain="vljepa"))
    body = Graph()
    axis, last, small = (f"c{i}" for i in range(3))
    for name, number in ((axis, [1]), (last, [-1])):
        body.nodes.append(helper.make_node("Constant", [], [name], value_ints=number))
    body.nodes.append(helper.make_node("Constant", [], [small], value_float=1e-12))
    weights = body.op("Unsqueeze", "mask", last)
    total = body.op("ReduceSum", body.op("Mul", "hidden", weights), axis, keepdims=0)
    mean = body.op("Div", total, body.op("ReduceSum", "mask", last, keepdims=1))
    projected = body.op("Add", body.op("MatMul", mean, "weight"), "bias")
    norm = body.op("Max", body.op("ReduceL2", projected, last, keepdims=1), small)
    body.op("Div", projected, norm, out="embedding")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("vljepa", 1)]
    names = ["hidden", "mask", "weight", "bias"]
    function = helper.make_function(
        "vljepa", "MaskedMeanPool", names, ["embedding"], body.nodes, opsets[:1]
    )
    graph = helper.make_graph(
        g.nodes,
        "pooled",
        [
            value("visual_tokens", FLOAT, 1, TOKENS, WIDTH),
            value("query_embeddings", FLOAT, "query_count", "query_length", QUERY_WIDTH),
            value("query_mask", FLOAT, "query_count", "query_length"),
        ],
        [value(out, FLOAT, "query_count", EMBEDDING)],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=opsets, functions=[function])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def y_encoder() -> onnx.ModelProto:
    g = Graph()
    ids = g.op("Cast", "token_ids", to=FLOAT)
    theta = g.op("Mul", g.op("ReduceSum", ids, g.ints(1), keepdims=1), g.const(0.1))
    on_circle(g, theta, "text_embedding", EMBEDDING)
    inputs = [value("token_ids", INT64, 1, "token_count")]
    return g.model(inputs, [value("text_embedding", FLOAT, 1, EMBEDDING)])


def y_decoder_prefix(rank: int = 3) -> onnx.ModelProto:
    g = Graph()
    shape = (1, PREFIX, DECODER_WIDTH) if rank == 3 else (PREFIX, DECODER_WIDTH)
    both = g.op("Concat", "embedding", "embedding", axis=1)
    g.op("Reshape", both, g.ints(*shape), out="soft_tokens")
    return g.model([value("embedding", FLOAT, 1, EMBEDDING)], [value("soft_tokens", FLOAT, *shape)])


def y_decoder() -> onnx.ModelProto:
    g = Graph()
    heads = g.op("Slice", "input_embeddings", g.ints(0), g.ints(HEAD_DIM), g.ints(2))
    count = g.op("Shape", "positions")
    shape = g.op("Concat", g.ints(PLANES, HEADS), count, g.ints(HEAD_DIM), axis=0)
    g.op("Expand", heads, shape, out="kv_new")
    last = g.op("Sub", count, g.ints(1))
    position = g.op("Gather", "positions", last, axis=0)
    one = g.ints(1)
    from_input = g.op("Slice", g.op("Reshape", "input_embeddings", g.ints(-1)), g.ints(0), one)
    from_cache = g.op("Slice", g.op("Reshape", "kv_cache", g.ints(-1)), g.ints(0), one)
    first = g.op("Where", g.op("Equal", position, last), from_input, from_cache)
    scaled = g.op("Mul", g.op("Add", first, g.const(1.0)), g.const(8.0))
    start = g.op("Cast", g.op("Floor", scaled), to=INT64)
    step = g.op("Sub", position, g.ints(PREFIX))
    turn = g.op("Mod", g.op("Add", start, step), g.ints(VOCABULARY - 5))
    word = g.op("Add", turn, g.ints(5))
    over = g.op("GreaterOrEqual", step, g.ints(TEXT_TOKENS))
    token = g.op("Where", over, g.ints(END), word)
    depth, values = g.const(VOCABULARY, np.int64), g.const([0.0, 4.0])
    g.op("OneHot", token, depth, values, out="logits", axis=-1)
    return g.model(
        [
            value("input_embeddings", FLOAT, 1, "token_count", DECODER_WIDTH),
            value("positions", INT64, "token_count"),
            value("attention_mask", FLOAT, "token_count", "visible"),
            value("kv_cache", FLOAT, PLANES, HEADS, CACHE, HEAD_DIM),
        ],
        [
            value("logits", FLOAT, 1, VOCABULARY),
            value("kv_new", FLOAT, PLANES, HEADS, "token_count", HEAD_DIM),
        ],
    )


def main() -> None:
    folder = Path(sys.argv[1])
    good = {
        "x_encoder": x_encoder(),
        "predictor": predictor(),
        "y_encoder": y_encoder(),
        "y_decoder_prefix": y_decoder_prefix(),
        "y_decoder": y_decoder(),
    }
    wrong = {
        "x_encoder_dtype": x_encoder(FLOAT),
        "predictor_width": predictor(width=EMBEDDING + 2),
        "predictor_input_name": predictor(mask="mask"),
        "predictor_output_name": predictor(output="embedding"),
        "predictor_fixed_queries": predictor(queries=1),
        "predictor_extra_input": predictor(extra=True),
        "y_decoder_prefix_rank": y_decoder_prefix(rank=2),
    }
    other = {"predictor_pooled": pooled_predictor()}
    for name in ("good", "wrong", "external", "other"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, model in good.items():
        onnx.save(model, folder / "good" / f"{name}.onnx")
    for name, model in wrong.items():
        onnx.save(model, folder / "wrong" / f"{name}.onnx")
    for name, model in other.items():
        onnx.save(model, folder / "other" / f"{name}.onnx")
    data = folder / "external" / "x_encoder.onnx.data"
    data.unlink(missing_ok=True)  # the writer appends
    onnx.save_model(
        x_encoder(),
        folder / "external" / "x_encoder.onnx",
        save_as_external_data=True,
        location=data.name,
        size_threshold=80,  # the scale, not the shapes that loading needs
    )


if __name__ == "__main__":
    main()
