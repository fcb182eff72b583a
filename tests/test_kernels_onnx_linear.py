"""INT8 linear maps as one node: what is found in graphs, what is left, and the same results."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from native import ROOT
from onnx import helper, numpy_helper
from onnx_linear_rules import FC1, FC2, GATED, MLP, RULES, Rule, model_of
from test_kernels_openvino_op import Fused, results
from test_kernels_openvino_op import spelled_out as attention_spelled_out

Fuse = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, int]]
FLAGS = {
    "unread",
    "biased",
    "norm",
    "norm_biased",
    "factored",
    "summed",
    "quantised",
    "bfloat16",
    "rounded",
    "activation",
}


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Fuse:
    """vlj_onnx_fuse_attention, then vlj_onnx_fuse_linear: the new model, and the calls put in."""
    path = tmp_path_factory.mktemp("fuse") / "libfuse.so"
    names = ("attention", "linear", "linear_match", "constants", "graph", "rewrite")
    sources = [ROOT / f"runtime/backends/onnx_{name}.c" for name in names]
    sources += [ROOT / f"runtime/core/{name}.c" for name in ("error", "hooks")]
    include = [f"-I{ROOT / 'runtime' / part}" for part in ("include", "core", "backends")]
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O1", "-fPIC", "-shared", *include]
    subprocess.run([*command, *sources, "-o", path], check=True)
    library = ctypes.CDLL(str(path))

    def run(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
        host, first, fused = ctypes.create_string_buffer(4096), Fused(), Fused()
        content = model.SerializeToString()
        assert library.vlj_host_init(host, None) == 0
        size = ctypes.c_size_t(len(content))
        assert library.vlj_onnx_fuse_attention(host, content, size, 64, ctypes.byref(first)) == 0
        given = (ctypes.c_void_p(first.bytes), ctypes.c_size_t(first.size))
        assert library.vlj_onnx_fuse_linear(host, *given, ctypes.byref(fused)) == 0
        assert (fused.bytes == first.bytes) == (fused.count == 0)
        made = onnx.load_from_string(ctypes.string_at(fused.bytes, fused.size))
        library.vlj_onnx_fused_free(host, ctypes.byref(fused))
        library.vlj_onnx_fused_free(host, ctypes.byref(first))
        assert fused.count == len(calls(made))
        return made, fused.count

    return run


def calls(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "QuantisedLinear"]


def settings(call: onnx.NodeProto) -> dict[str, int]:
    """The attributes that aren't 0; all must be there."""
    assert {one.name for one in call.attribute} == FLAGS | {"epsilon"}
    given = {one.name: one for one in call.attribute}
    epsilon = given.pop("epsilon")
    assert epsilon.type == onnx.AttributeProto.FLOAT
    assert all(one.type == onnx.AttributeProto.INT for one in given.values())
    assert (epsilon.f != 0) == (given["norm"].i != 0)
    return {name: one.i for name, one in given.items() if one.i}


def found(model: onnx.ModelProto) -> dict[str, dict[str, int]]:
    """Settings by the name of the weights."""
    return {call.input[2]: settings(call) for call in calls(model)}


def spelled_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each QuantisedLinear in operators, from its inputs and attributes alone."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    sizes = {one.name: one.dims for one in model.graph.initializer}
    constants = {
        "linear.zero": np.int8(0),
        "linear.two": np.float32(2),
        "linear.axis": np.array([-1], np.int64),
    }
    for node in model.graph.node:
        if node.op_type != "QuantisedLinear":
            made.graph.node.append(node)
            continue
        assert node.domain == "vljepa"
        given = settings(node)
        epsilon = next(one.f for one in node.attribute if one.name == "epsilon")
        at = "linear." + node.output[0] + "/"
        x, in_scale, weight, weight_scale, *rest = node.input
        zeros = rest.pop(0) if "unread" in given else at + "zeros"
        bias = rest.pop(0) if "biased" in given else ""
        norm_weight = rest.pop(0) if "norm" in given else ""
        norm_bias = rest.pop(0) if "norm_biased" in given else ""

        def add(op: str, out: str, inputs: list[str], at: str = at, **attributes: Any) -> str:
            made.graph.node.append(helper.make_node(op, inputs, [at + out], **attributes))
            return at + out

        if given.get("norm") == 1:
            taken = [x, norm_weight, norm_bias][: 3 if norm_bias else 2]
            x = add("LayerNormalization", "norm", taken, epsilon=epsilon)
        elif given.get("norm") == 2:
            constants[at + "epsilon"] = np.float32(epsilon)
            power = add("Pow", "power", [x, "linear.two"])
            mean = add("ReduceMean", "mean", [power, "linear.axis"])
            root = add("Sqrt", "root", [add("Add", "plus", [mean, at + "epsilon"])])
            x = add("Mul", "norm", [add("Div", "divided", [x, root]), norm_weight])
        if "rounded" not in given:
            x = add("QuantizeLinear", "rounded", [x, in_scale, "linear.zero"])
        x = add("DequantizeLinear", "x", [x, in_scale, "linear.zero"])
        constants[at + "zeros"] = np.zeros(sizes[weight][1], np.int8)
        w = add("DequantizeLinear", "w", [weight, weight_scale, zeros], axis=1)
        x = add("MatMul", "product", [x, w])
        if bias:
            x = add("Add", "biased", [x, bias])
        if given.get("activation") == 1:
            x = add("Gelu", "gelu", [x])
        elif given.get("activation") == 2:
            x = add("Mul", "silu", [x, add("Sigmoid", "sigmoid", [x])])
        if "factored" in given:
            x = add("Mul", "factored", [x, rest.pop(0)])
        if "summed" in given:
            x = add("Add", "summed", [x, rest.pop(0)])
        if "quantised" in given:
            x = add("QuantizeLinear", "quantised", [x, rest.pop(0), "linear.zero"])
        made.graph.node[-1].output[0] = node.output[0]
        assert not rest
    for name, values in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    onnx.checker.check_model(made)
    return made


def assert_same_results(fused: onnx.ModelProto, model: onnx.ModelProto) -> None:
    ours = results(attention_spelled_out(spelled_out(fused), 64))
    for our, their in zip(ours, results(model), strict=True):
        np.testing.assert_array_equal(our, their)


# ---- the packaged bundle ----


def outliers_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """product + outliers + bias as product + bias + outliers, the order of a node's additions."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    takers = {node.input[0]: node for node in made.graph.node}
    for add in [n for n in made.graph.node if n.output[0].endswith("outliers/Add")]:
        bias = takers[add.output[0]]
        add.input[1], bias.input[1] = bias.input[1], add.input[1]
    return made


def test_the_x_encoder(fuse: Fuse, nano_bundle: Path) -> None:
    model = onnx.load(nano_bundle / "x_encoder.onnx")
    fused, count = fuse(model)
    assert count == 25
    made = found(fused)
    assert made.pop("patch_embed.projection.weight.quantised") == {"biased": 1}
    outliers = {1, 3, 4, 5}  # layers whose last map has channels in full precision
    normed = {"biased": 1, "norm": 1, "norm_biased": 1}
    for i in range(6):
        qkv, out, fc1, fc2 = (
            made.pop(f"blocks.{i}.{name}.weight.quantised")
            for name in ("attention.qkv", "attention.out", "fc1", "fc2")
        )
        assert qkv == normed | {"bfloat16": 1}
        assert out == {"biased": 1, "rounded": 1, "summed": 1}
        last = {} if i in outliers else {"quantised": 1}
        assert fc1 == normed | {"activation": 1} | last
        assert fc2 == {"biased": 1, "summed": 1} | ({} if i in outliers else {"rounded": 1})
    assert not made
    left = [node.op_type for node in fused.graph.node]
    assert left.count("LayerNormalization") == 1 and left.count("MatMul") == len(outliers)
    assert "QuantizeLinear" not in left and "DequantizeLinear" not in left
    assert_same_results(fused, outliers_last(model))
    ours, theirs = results(attention_spelled_out(spelled_out(fused), 64))[0], results(model)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-2)  # float rounding, or a step of INT8


def test_the_predictor(fuse: Fuse, nano_bundle: Path) -> None:
    model = onnx.load(nano_bundle / "predictor.onnx")
    fused, count = fuse(model)
    assert count == 13  # all but the last of each layer and the pooling, whose inputs aren't INT8
    made = found(fused)
    assert made.pop("vis_proj.weight.quantised") == {"biased": 1}
    normed = {"biased": 1, "norm": 2}
    for i in range(3):
        qkv, out, gate, up = (
            made.pop(f"layers.{i}.{name}.weight.quantised")
            for name in ("attention.qkv", "attention.out", "gate", "up")
        )
        assert qkv == up == normed | {"bfloat16": 1}
        assert out == {"biased": 1, "rounded": 1, "summed": 1}
        assert gate == normed | {"activation": 2, "factored": 1}
    assert not made
    left = [node.op_type for node in fused.graph.node]
    assert left.count("Sqrt") == 1 and "QuantizeLinear" not in left and "Sigmoid" not in left
    assert_same_results(fused, model)


def test_a_projection_that_is_an_output_too(fuse: Fuse, nano_bundle: Path) -> None:
    model = onnx.load(nano_bundle / "predictor.onnx")
    name = "layers.1.attention.qkv/Add_bias"
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    made = found(fuse(model)[0])
    assert made["layers.1.attention.qkv.weight.quantised"] == {"biased": 1, "norm": 2}
    assert made["layers.0.attention.qkv.weight.quantised"]["bfloat16"] == 1


# ---- one rule at a time ----


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules(fuse: Fuse, rule: Rule) -> None:
    fused, _ = fuse(rule.model)
    assert found(fused) == rule.expected
    if "outliers" not in {one.name for one in rule.model.graph.initializer}:
        assert_same_results(fused, rule.model)
    else:  # another order of additions
        ours, theirs = results(spelled_out(fused))[0], results(rule.model)[0]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_others_take_stays(fuse: Fuse) -> None:
    """Nodes before a product are computed again where something else takes them, and only then."""
    for old, new, left in (
        ("(r, b2)", "(r, b2)", []),
        ("(r, b2)", "(n, b2)", ["LayerNormalization"]),
        ("(r, b2)", "(d, b2)", ["LayerNormalization", "QuantizeLinear", "DequantizeLinear"]),
    ):
        fused, count = fuse(model_of(MLP, (old, new)))
        assert count == 2
        assert [n.op_type for n in fused.graph.node if not n.domain] == left
    model = model_of(MLP, ("y = Add", "unused = Relu (n) y = Add"))
    fused, _ = fuse(model)  # dead before, so none of ours to drop
    assert [n.op_type for n in fused.graph.node if not n.domain] == ["LayerNormalization", "Relu"]


def test_zero_points_in_either_form(fuse: Fuse) -> None:
    for values, expected in (([0] * 64, 2), ([0] * 63 + [1], 1), ([0] * 63, 1), ([0] * 65, 1)):
        model = model_of(MLP)
        tensor = next(one for one in model.graph.initializer if one.name == "wz")
        tensor.ClearField("raw_data")
        tensor.int32_data[:] = values
        assert fuse(model)[1] == expected
    tensor.ClearField("int32_data")
    for size, expected in ((64, 2), (63, 1), (0, 1)):
        tensor.raw_data = bytes(size)
        assert fuse(model)[1] == expected
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    fused = fuse(model)[0]  # whoever reads that file is to check them
    assert found(fused) == {"W": FC1 | {"unread": 1}, "W2": FC2}
    assert list(calls(fused)[0].input[2:5]) == ["W", "ws", "wz"]
    tensor.dims[:] = [32]
    assert fuse(model)[1] == 1
    tensor.dims[:] = [64]
    tensor.data_type = onnx.TensorProto.UINT8
    assert fuse(model)[1] == 1


def test_weights_in_another_file(fuse: Fuse) -> None:
    model = model_of(MLP)
    for tensor in model.graph.initializer:
        if tensor.name in ("W", "W2", "ws", "bias", "nw"):
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights.bin")
    assert found(fuse(model)[0]) == {"W": FC1, "W2": FC2}


def test_an_older_operator_set(fuse: Fuse) -> None:
    text = GATED
    assert fuse(model_of(text.replace('"" : 20', '"" : 18')))[1] == 2
    model = model_of(text)
    model.opset_import[0].version = 17
    assert fuse(model)[1] == 0


def test_operators_of_another_domain(fuse: Fuse) -> None:
    model = model_of(MLP)
    for node in model.graph.node:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        next(n for n in changed.graph.node if n.output == node.output).domain = "elsewhere"
        before = {"n": 2, "b": 2, "a": 2, "y": 2, "b2": 2}
        made, count = fuse(changed)
        assert count == before.get(node.output[0], 1)
        assert found(made) != {"W": FC1, "W2": FC2}
