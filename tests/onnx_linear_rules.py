"""Graphs of quantised products, each different in one thing, and what each has that is one node."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

MLP = """
    <ir_version: 9, opset_import: ["" : 20]>
    g (float[1,5,64] x, float[1,5,64] r) => (float[1,5,64] y) {
        n = LayerNormalization <axis = -1, epsilon = 0.001> (x, nw, nb)
        q = QuantizeLinear (n, s, zero)
        d = DequantizeLinear (q, s, zero)
        w = DequantizeLinear <axis = 1> (W, ws, wz)
        p = MatMul (d, w)
        b = Add (p, bias)
        a = Gelu (b)
        q2 = QuantizeLinear (a, s2, zero)
        d2 = DequantizeLinear (q2, s2, zero)
        w2 = DequantizeLinear <axis = 1> (W2, ws2, wz2)
        p2 = MatMul (d2, w2)
        b2 = Add (p2, bias2)
        y = Add (r, b2)
    }
"""
GATED = """
    <ir_version: 9, opset_import: ["" : 20]>
    g (float[1,5,64] x, float[1,5,64] r) => (float[1,5,64] y) {
        squares = Pow (x, two)
        mean = ReduceMean <keepdims = 1> (squares, axis)
        plus = Add (mean, epsilon)
        root = Sqrt (plus)
        divided = Div (x, root)
        n = Mul (divided, nw)
        q = QuantizeLinear (n, s, zero)
        d = DequantizeLinear (q, s, zero)
        w = DequantizeLinear <axis = 1> (W, ws, wz)
        p = MatMul (d, w)
        b = Add (bias, p)
        g = Sigmoid (b)
        a = Mul (b, g)
        q2 = QuantizeLinear (n, s2, zero)
        d2 = DequantizeLinear (q2, s2, zero)
        w2 = DequantizeLinear <axis = 1> (W2, ws2, wz2)
        p2 = MatMul (d2, w2)
        b2 = Add (p2, bias2)
        f = Mul (a, b2)
        y = Add (f, r)
    }
"""


def without(settings: dict[str, int], *names: str) -> dict[str, int]:
    return {name: value for name, value in settings.items() if name not in names}


FC1 = {"norm": 1, "norm_biased": 1, "biased": 1, "activation": 1, "quantised": 1}
FC2 = {"rounded": 1, "biased": 1, "summed": 1}
GATE = {"norm": 2, "biased": 1, "activation": 2, "factored": 1, "summed": 1}
UP = {"norm": 2, "biased": 1, "bfloat16": 1}
FC1_FLOAT = without(FC1, "quantised")
FC1_BIASED = without(FC1_FLOAT, "activation")
FC1_UNNORMED = without(FC1, "norm", "norm_biased")
NORM_ONLY = without(FC1_BIASED, "biased")
FC2_FLOAT = without(FC2, "rounded")
GATE_UNNORMED = without(GATE, "norm")
UP_FLOAT = without(UP, "bfloat16")
UP_UNNORMED = without(UP, "norm")


def model_of(text: str, *changes: tuple[str, str], **other: np.ndarray) -> onnx.ModelProto:
    """The graph with `changes` to its text, and its initializers, `other` in place of some."""
    text = " ".join(text.split())
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    model = parser.parse_model(text)
    random = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        made: np.ndarray = random.normal(size=shape).astype(np.float32)
        return made

    values = {
        "W": random.integers(-127, 128, (64, 64)).astype(np.int8),
        "W2": random.integers(-127, 128, (64, 64)).astype(np.int8),
        "ws": np.abs(floats(64)) * 1e-3,
        "ws2": np.abs(floats(64)) * 1e-3,
        "wz": np.zeros(64, np.int8),
        "wz2": np.zeros(64, np.int8),
        "bias": floats(1, 1, 64),
        "bias2": floats(64),
        "half": floats(64).astype(np.float16),
        "nw": floats(64),
        "nb": floats(64),
        "s": np.float32(0.02),
        "s2": np.float32(0.01),
        "zero": np.int8(0),
        "one": np.int8(1),
        "two": np.float32(2),
        "four": np.float32(4),
        "epsilon": np.float32(1e-3),
        "axis": np.array([-1], np.int64),
        "other_axis": np.array([1], np.int64),
        "channels": np.array([3], np.int64),
        "outliers": floats(1, 64),
        "X": floats(1, 5, 64),
        "scalar": np.float32(0.5),
    } | other
    named = {name for node in model.graph.node for name in node.input}
    for name in sorted(named & set(values)):
        one = numpy_helper.from_array(np.asarray(values[name]), name)
        model.graph.initializer.append(one)
    onnx.checker.check_model(model)
    return model


Flags = dict[str, int]


class Rule:
    """A graph, what is different in it, and the settings of each call, by its weights."""

    def __init__(
        self,
        name: str,
        text: str,
        expected: dict[str, Flags],
        *changes: tuple[str, str],
        **other: np.ndarray,
    ) -> None:
        self.name, self.expected = name, expected
        self.model = model_of(text, *changes, **other)


OUTLIERS = (
    "o = Gather <axis = 2> (x, channels) m = MatMul (o, outliers) "
    "pm = Add (p, m) b = Add (pm, bias)"
)
OUTPUT = "=> (float[1,5,64] y"
RULES = [
    Rule("as it is", MLP, {"W": FC1, "W2": FC2}),
    Rule("defaults", MLP, {"W": FC1, "W2": FC2}, ("<axis = -1, epsilon = 0.001>", "")),
    Rule(
        "a norm without bias",
        MLP,
        {"W": without(FC1, "norm_biased"), "W2": FC2},
        ("(x, nw, nb)", "(x, nw)"),
    ),
    Rule(
        "another axis of the norm",
        MLP,
        {"W": FC1_UNNORMED, "W2": FC2},
        ("axis = -1, epsilon", "axis = 2, epsilon"),
    ),
    Rule(
        "a norm that is used elsewhere", MLP, {"W": FC1_UNNORMED, "W2": FC2}, ("(r, b2)", "(n, b2)")
    ),
    Rule("a norm of a constant", MLP, {"W2": FC2_FLOAT}, ("(x, nw, nb)", "(X, nw, nb)")),
    Rule(
        "a product with another use", MLP, {"W": NORM_ONLY, "W2": FC2_FLOAT}, ("(r, b2)", "(p, b2)")
    ),
    Rule(
        "a biased product that is an output",
        MLP,
        {"W": FC1_BIASED, "W2": FC2_FLOAT},
        (OUTPUT, f"{OUTPUT}, float[1,5,64] b"),
    ),
    Rule(
        "an activation with another use",
        MLP,
        {"W": FC1_FLOAT, "W2": FC2_FLOAT},
        ("(r, b2)", "(a, b2)"),
    ),
    Rule(
        "rounded values that are an output too",
        MLP,
        {"W": FC1, "W2": FC2},
        (OUTPUT, f"{OUTPUT}, int8[1,5,64] q2"),
    ),
    Rule(
        "rounded values of the input that are an output too",
        MLP,
        {"W": FC1, "W2": FC2},
        (OUTPUT, f"{OUTPUT}, int8[1,5,64] q"),
    ),
    Rule(
        "Gelu with tanh",
        MLP,
        {"W": FC1_BIASED, "W2": FC2_FLOAT},
        ("Gelu (b)", 'Gelu <approximate = "tanh"> (b)'),
    ),
    Rule("exact Gelu", MLP, {"W": FC1, "W2": FC2}, ("Gelu (b)", 'Gelu <approximate = "none"> (b)')),
    Rule(
        "weights with a zero point", MLP, {"W2": FC2_FLOAT}, wz=np.eye(1, 64, 63, dtype=np.int8)[0]
    ),
    Rule("values with a zero point", MLP, {"W2": FC2_FLOAT}, ("(n, s, zero)", "(n, s, one)")),
    Rule(
        "a result with a zero point",
        MLP,
        {"W": FC1_FLOAT},
        ("(a, s2, zero)", "(a, s2, one)"),
        ("(q2, s2, zero)", "(q2, s2, one)"),
    ),
    Rule("different scales", MLP, {"W2": FC2_FLOAT}, ("(q, s, zero)", "(q, s2, zero)")),
    Rule("different scales of the result", MLP, {"W": FC1}, ("(a, s2, zero)", "(a, s, zero)")),
    Rule(
        "32 inner channels",
        MLP,
        {"W2": FC2_FLOAT},
        ("float[1,5,64] x", "float[1,5,32] x"),
        W=np.ones((32, 64), np.int8),
        nw=np.ones(32, np.float32),
        nb=np.ones(32, np.float32),
    ),
    Rule(
        "16 columns",
        MLP,
        {"W": FC1},
        ("float[1,5,64] r", "float[1,5,16] r"),
        (OUTPUT, "=> (float[1,5,16] y"),
        W2=np.ones((64, 16), np.int8),
        ws2=np.ones(16, np.float32),
        wz2=np.zeros(16, np.int8),
        bias2=np.ones(16, np.float32),
    ),
    Rule("weights by the other axis", MLP, {"W2": FC2_FLOAT}, ("<axis = 1> (W,", "<axis = 0> (W,")),
    Rule(
        "weights that an input may replace",
        MLP,
        {"W2": FC2_FLOAT},
        (", float[1,5,64] r)", ", float[1,5,64] r, int8[64,64] W)"),
    ),
    Rule(
        "a scale that an input may replace",
        MLP,
        {"W2": FC2_FLOAT},
        (", float[1,5,64] r)", ", float[1,5,64] r, float s)"),
    ),
    Rule(
        "a bias that an input may replace",
        MLP,
        {"W": NORM_ONLY, "W2": FC2_FLOAT},
        (", float[1,5,64] r)", ", float[1,5,64] r, float[1,1,64] bias)"),
    ),
    Rule(
        "a norm's weight that an input may replace",
        MLP,
        {"W": FC1_UNNORMED, "W2": FC2},
        (", float[1,5,64] r)", ", float[1,5,64] r, float[64] nw)"),
    ),
    Rule(
        "a bias in half precision",
        MLP,
        {"W": FC1, "W2": FC2},
        ("b = Add (p, bias)", "h = Cast <to = 1> (half) b = Add (p, h)"),
    ),
    Rule(
        "a bias that is a number",
        MLP,
        {"W": NORM_ONLY, "W2": FC2_FLOAT},
        ("(p, bias)", "(p, scalar)"),
    ),
    Rule("a bias of each row", MLP, {"W": NORM_ONLY, "W2": FC2_FLOAT}, ("(p, bias)", "(p, X)")),
    Rule("a second bias", MLP, {"W": FC1_BIASED, "W2": FC2_FLOAT}, ("Gelu (b)", "Add (b, bias2)")),
    Rule(
        "a sum with a constant",
        MLP,
        {"W": FC1, "W2": without(FC2, "summed")},
        ("(r, b2)", "(X, b2)"),
    ),
    Rule(
        "a value and itself", MLP, {"W": FC1, "W2": without(FC2, "summed")}, ("(r, b2)", "(b2, b2)")
    ),
    Rule(
        "a sum before the activation",
        MLP,
        {"W": {"norm": 1, "norm_biased": 1, "summed": 1}, "W2": FC2_FLOAT},
        ("(p, bias)", "(p, r)"),
    ),
    Rule(
        "a second sum",
        MLP,
        {"W": NORM_ONLY | {"summed": 1}, "W2": FC2_FLOAT},
        ("(p, bias)", "(p, r)"),
        ("Gelu (b)", "Add (b, x)"),
    ),
    Rule(
        "outlier channels",
        MLP,
        {"W": FC1_BIASED | {"summed": 1}, "W2": FC2_FLOAT},
        ("b = Add (p, bias)", OUTLIERS),
        ("a = Gelu (b)", "a = Add (b, r)"),
    ),
    Rule(
        "two products in one sum",
        MLP,
        {"W": FC1_BIASED | {"summed": 1}, "W2": without(FC2, "rounded", "summed") | NORM_ONLY},
        ("(q2, s2, zero)", "(q, s, zero)"),
        ("(r, b2)", "(b, b2)"),
        ("Gelu (b)", "Gelu (r)"),
    ),
    Rule(
        "rounded input",
        MLP,
        {"W": FC1_FLOAT},
        ("q2 = QuantizeLinear (a,", "q2 = QuantizeLinear (X,"),
    ),
    Rule("gated", GATED, {"W": GATE, "W2": UP}),
    Rule(
        "gated the other way",
        GATED,
        {"W": GATE, "W2": UP},
        ("Mul (b, g)", "Mul (g, b)"),
        ("(a, b2)", "(b2, a)"),
    ),
    Rule("no keepdims", GATED, {"W": GATE, "W2": UP}, ("<keepdims = 1>", "")),
    Rule(
        "another power",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("(x, two)", "(x, four)"),
    ),
    Rule(
        "an RMS norm of a constant",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("Pow (x, two)", "Pow (X, two)"),
        ("Div (x, root)", "Div (X, root)"),
    ),
    Rule(
        "no root",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("Sqrt (plus)", "Abs (plus)"),
    ),
    Rule(
        "the mean of another axis",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("(squares, axis)", "(squares, other_axis)"),
    ),
    Rule(
        "the norm of something else",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("Div (x, root)", "Div (r, root)"),
    ),
    Rule(
        "a root that is used elsewhere",
        GATED,
        {"W": GATE_UNNORMED, "W2": UP_UNNORMED},
        ("(f, r)", "(f, root)"),
    ),
    Rule(
        "a sigmoid that is used elsewhere",
        GATED,
        {"W": {"norm": 2, "biased": 1}, "W2": UP_FLOAT},
        ("(f, r)", "(f, g)"),
    ),
    Rule(
        "a sigmoid of another value",
        GATED,
        {"W": {"norm": 2, "biased": 1}, "W2": UP_FLOAT},
        ("Sigmoid (b)", "Sigmoid (r)"),
    ),
    Rule(
        "a factor that is no product",
        GATED,
        {"W": without(GATE, "factored", "summed"), "W2": UP_FLOAT | {"summed": 1}},
        ("(a, b2)", "(a, x)"),
        ("(f, r)", "(f, b2)"),
    ),
    Rule(
        "a factor that is used elsewhere",
        GATED,
        {"W": without(GATE, "factored", "summed"), "W2": UP_FLOAT},
        ("(f, r)", "(f, b2)"),
    ),
    Rule(
        "a factor without an activation",
        GATED,
        {"W": without(GATE, "factored", "activation"), "W2": UP_FLOAT},
        ("g = Sigmoid (b) a = Mul (b, g)", "a = Add (b, r)"),
    ),
    Rule(
        "activations of both",
        GATED,
        {"W": GATE, "W2": UP | {"activation": 1}},
        ("(a, b2)", "(a, a2)"),
        ("b2 = Add (p2, bias2)", "b2 = Add (p2, bias2) a2 = Gelu (b2)"),
    ),
]
