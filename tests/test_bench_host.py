"""This machine as a device: its graph's nodes, its peaks, and the model over both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from vljepa_edge.bench.devices import host, peaks
from vljepa_edge.bench.devices.analytic import predict
from vljepa_edge.bench.devices.graph import (
    PASSES,
    Node,
    Tensor,
    as_component,
    is_attention,
    read_nodes,
)
from vljepa_edge.bench.devices.host import as_device
from vljepa_edge.bench.devices.operators import components
from vljepa_edge.bench.devices.peaks import Peaks, measure_peaks
from vljepa_edge.model.config import nano
from vljepa_edge.runtime.model import load


def float_tensor(*shape: int) -> Tensor:
    return Tensor("float", shape)


def test_nano_s_graph_has_the_work_of_the_formulae(nano_bundle: Path) -> None:
    """What is read off the graph is what the configuration says: products with weights and in
    attention, exponentials."""
    frames = np.zeros((1, 8, 3, 128, 128), np.uint8)
    nodes = read_nodes(nano_bundle / "x_encoder.onnx", {"frames": frames})
    found, wanted = as_component("encode", nodes), components(nano(), 4)[0]
    # Calibration's outlier channels (docs/calibration.md) are small float products beside these.
    assert 1 - 1e-6 <= found.linear_flops / wanted.linear_flops < 1.01
    assert 1 - 1e-6 <= found.weights / wanted.weights < 1.01
    assert found.attention_flops == pytest.approx(wanted.attention_flops, rel=1e-6)
    exps = sum(op.amount for op in found.operators if getattr(op, "kind", "") == "softmax")
    assert exps == 6 * 3 * 256 * 256
    kinds = {getattr(op, "kind", "linear") for op in found.operators}
    assert {"linear", "attention", "softmax", "norm", "activation", "move"} <= kinds


def test_each_class_counts_as_the_formula_says() -> None:
    rates = dict.fromkeys(PASSES, 10.0)
    told = Peaks(2, 100.0, 400.0, 50.0, 1e6, 1.0, 5.0, rates | {"norm": 2.0})
    device = as_device(told)

    def seconds(operator: str, *tensors: Tensor, out: Tensor) -> float:
        part = as_component("x", [Node(operator, tensors, (out,))])
        return predict(device, part, "fp32").realistic_s - 5e-6

    rows, scores = float_tensor(1, 256, 192), float_tensor(1, 3, 256, 256)
    linear = seconds("MatMul", rows, out=float_tensor(1, 256, 512))
    assert linear == pytest.approx(2 * 256 * 192 * 512 / 100e9)
    integer = seconds("MatMulIntegerToFloat", rows, out=float_tensor(1, 256, 512))
    assert integer == pytest.approx(linear / 4)
    heads = float_tensor(1, 3, 256, 64)
    attention = seconds("FusedMatMul", heads, heads, out=scores)
    assert attention == pytest.approx(2 * 3 * 256 * 256 * 64 / 50e9)
    assert seconds("Softmax", scores, out=scores) == pytest.approx(3 * 256 * 256 / 1e9)
    assert seconds("Add", rows, rows, out=rows) == pytest.approx(3 * 4 * 256 * 192 / 10e9)
    assert seconds("LayerNormalization", rows, out=rows) == pytest.approx(8 * 256 * 192 / 2e9)
    assert seconds("Reshape", rows, out=rows) == pytest.approx(0, abs=1e-12)


def test_a_product_with_a_vector_is_no_attention() -> None:
    rows = float_tensor(256, 192)
    assert not is_attention(Node("Gemm", (rows, float_tensor(192)), (rows,)))
    assert not is_attention(Node("MatMul", (float_tensor(1, 256, 192),), (rows,)))
    heads = float_tensor(1, 3, 4, 4)
    assert is_attention(Node("FusedMatMul", (heads, heads), (heads,)))


def test_peaks_and_model_of_a_bundle(
    cli: Cli, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "ROUNDS", 3)
    monkeypatch.setattr(host, "ROUNDS", 3)
    monkeypatch.setattr(host, "TURNS", 1)
    with load(tiny_bundle, threads=1) as model:
        parts = host.open_parts(model, tiny_bundle)
        found = measure_peaks([node for part in parts for node in part.nodes], 1)
        for name in ("fp32_gflops", "int8_gops", "attention_gflops", "bandwidth_gb_s", "node_us"):
            assert getattr(found, name) > 0.01, name
        assert all(found.pass_gb_s[kind] > 0.01 for kind in PASSES)
        told = host.host_model(model, tiny_bundle, 1)
    assert [point["component"] for point in told["points"]] == ["encode", "predict"]
    for point in told["points"]:
        assert point["measured_ms"] > 0
        assert sum(point["shares_ms"].values()) == pytest.approx(point["predicted_ms"])
    refused = cli("bench", tiny_bundle, "--host-model", "--backend", "openvino")
    assert refused.returncode == 2 and "backend ort" in refused.stderr
