"""Outlier channels stay float: found, put beside the 8-bit product, and worth it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnxruntime
import pytest
from vljepa_edge.calibration import outliers
from vljepa_edge.calibration.engines import open_session
from vljepa_edge.calibration.linear import linear_layers, set_initializer
from vljepa_edge.calibration.observe import InputStatistics
from vljepa_edge.calibration.settings import Settings
from vljepa_edge.calibration.single import Feed, Single, quantise_single

CHANNEL = 5
FACTOR = 400.0
# The layer's share of the output, which is small in a model of new weights.
LOUDER = 40.0
DOWN = "predictor/layers.0.down"


def spoiled(folder: Path) -> ir.Model:
    """The tiny Predictor with one channel of a gated MLP made large, and taken back behind it."""
    model = ir.load(folder / "predictor.onnx")
    layers = {layer.name: layer for layer in linear_layers("predictor", model)}
    up, down = layers["predictor/layers.0.up"], layers[DOWN]
    for layer, array in ((up, up.array.copy()), (down, down.array.copy())):
        if layer is up:
            array[:, CHANNEL] *= FACTOR
        else:
            array[CHANNEL] /= FACTOR
            array *= LOUDER
        assert layer.weight.name is not None
        set_initializer(model.graph, layer.weight.name, array)
    return model


def feeds_of(model: ir.Model, count: int) -> list[Feed]:
    rng = np.random.default_rng(4)
    shapes = {
        value.name: [4 if not isinstance(size, int) else size for size in value.shape or ()]
        for value in model.graph.inputs
    }
    shapes = {name: [1, *shape[1:]] for name, shape in shapes.items()}
    made = []
    for _ in range(count):
        feed = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
        feed["query_mask"] = np.ones_like(feed["query_mask"])
        made.append(feed)
    return made


def made_of(folder: Path, shown: list[Feed], **changes: bool) -> Single:
    def feeds() -> Iterator[Feed]:
        yield from shown

    settings = Settings(**{"smooth": False, **changes})  # type: ignore[arg-type]
    return quantise_single("predictor", lambda: spoiled(folder), feeds, settings)


def test_one_channel_does_not_spoil_a_layer(tiny_bundle: Path, tmp_path: Path) -> None:
    shown = feeds_of(spoiled(tiny_bundle), 16)
    with_them, without = (made_of(tiny_bundle, shown[:12], outliers=on) for on in (True, False))
    assert CHANNEL in with_them.plan[DOWN].outliers
    assert not any(plan.outliers for plan in without.plan.values())
    assert with_them.plan[DOWN].amax < 0.1 * without.plan[DOWN].amax
    exact = open_session(spoiled(tiny_bundle))

    def error(made: Single) -> float:
        session = open_session(made.graph)
        rows = [[s.run(None, dict(f))[0].ravel() for s in (exact, session)] for f in shown[12:]]
        return float(np.mean([((a - b) ** 2).sum() / (a**2).sum() for a, b in rows]))

    assert error(with_them) < 0.5 * error(without)
    # What is left of the layer still runs in 8 bits.
    path = tmp_path / "predictor.onnx"
    ir.save(with_them.graph, path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options)
    found = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
    pairs = sum(node.op_type == "QuantizeLinear" for node in with_them.graph.graph)
    fused = found["MatMulIntegerToFloat"] + found["QLinearMatMul"] + found["MatMulInteger"]
    assert fused == pairs > 0


def test_openvino_takes_them(tiny_bundle: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    shown = feeds_of(spoiled(tiny_bundle), 9)
    made = made_of(tiny_bundle, shown[:8])
    assert made.plan[DOWN].outliers
    ir.save(made.graph, tmp_path / "local.onnx")
    plain = onnx.inliner.inline_local_functions(onnx.load(tmp_path / "local.onnx"))
    onnx.save(plain, tmp_path / "predictor.onnx")
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "predictor.onnx", "CPU", hints)
    found = compiled(dict(shown[8]))[0].ravel()
    expected = open_session(made.graph).run(None, dict(shown[8]))[0].ravel()
    assert found @ expected / np.sqrt((found @ found) * (expected @ expected)) > 0.999


def test_even_inputs_have_none(tiny_bundle: Path) -> None:
    """No channel stands out: nothing stays float."""
    (layer,) = [
        one
        for one in linear_layers("predictor", ir.load(tiny_bundle / "predictor.onnx"))
        if one.name == DOWN
    ]
    rng = np.random.default_rng(1)
    channels = len(layer.array)
    even = InputStatistics.empty(channels)
    for _ in range(8):
        even.add(rng.standard_normal((40, channels)).astype(np.float32))
    assert outliers.search(layer, even, "mse", "int8") == ()
    # Its limit is what the others reach; the rows of the largest are taken out of the weight.
    first = int(even.channel_amax.argmax())
    assert outliers.limit(even, [first]) == np.sort(even.channel_amax)[-2]
    kept = outliers.rest(layer.array, [first])
    assert not kept[first].any() and (np.delete(kept, first, 0) != 0).any()
