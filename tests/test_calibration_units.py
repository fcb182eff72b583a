"""Calibration's parts: histograms, ranges, number formats, CIDEr, and gates that follow a gate."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper
from vljepa_edge.calibration.fidelity import mean_cider, shift_agreement
from vljepa_edge.calibration.formats import FORMATS
from vljepa_edge.calibration.gate import follow, told_shifts
from vljepa_edge.calibration.histogram import MagnitudeHistogram
from vljepa_edge.calibration.insert import store_tables_small
from vljepa_edge.calibration.ranges import METHODS, amax
from vljepa_edge.calibration.recording import Recording
from vljepa_edge.runtime.options import GateOptions

FLOATS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(arrays.arrays(np.float32, st.integers(1, 30), elements=FLOATS), min_size=1))
@example([np.array([1e-42], np.float32)])
def test_histogram_counts_all_and_bounds_quantiles(batches: list[np.ndarray]) -> None:
    histogram = MagnitudeHistogram()
    for batch in batches:
        histogram.add(batch)
    every = np.sort(np.abs(np.concatenate(batches)))
    assert histogram.counts.sum() == len(every)
    assert histogram.amax == every[-1]
    # The median lies in the bin that the counts say, to within a bin's width.
    if histogram.upper:
        at = np.searchsorted(np.cumsum(histogram.counts), (len(every) + 1) // 2)
        median = every[(len(every) + 1) // 2 - 1]
        width = histogram.upper / len(histogram.counts)
        assert histogram.edges[at] - width * 1.01 <= median <= histogram.edges[at] * 1.000001


def test_histogram_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        MagnitudeHistogram().add(np.array([1, np.nan], np.float32))


def histogram_of(values: np.ndarray) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    for part in np.array_split(values.astype(np.float32), 5):
        histogram.add(part)
    return histogram


@pytest.mark.parametrize("method", METHODS)
def test_ranges_leave_outliers_out(method: str) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.normal(size=200_000), [40.0, -60.0]))
    found = amax(histogram_of(values), method)  # type: ignore[arg-type]
    low, high = {"minmax": (60, 60), "percentile": (3, 6), "entropy": (3, 12), "mse": (3, 40)}[
        method
    ]
    assert low <= found <= high
    assert amax(histogram_of(np.zeros(10)), method) == 0  # type: ignore[arg-type]


def test_mse_range_has_the_least_error() -> None:
    values = np.random.default_rng(1).laplace(size=20_000).astype(np.float32)
    best = amax(histogram_of(values), "mse")

    def error(limit: float) -> float:
        return float(((FORMATS["int8"].fake(values, limit / 127) - values) ** 2).mean())

    assert error(best) <= 1.02 * min(error(np.abs(values).max() * s) for s in np.linspace(0.1, 1))


@pytest.mark.parametrize("name", ["int8", "fp8"])
def test_formats_round_as_onnxruntime(name: str) -> None:
    values = np.random.default_rng(2).normal(size=5000).astype(np.float32) * 3
    values[:4] = [100, -100, 0, 1e-9]
    scale = np.float32(4 / FORMATS[name].largest)
    kind = TensorProto.INT8 if name == "int8" else TensorProto.FLOAT8E4M3FN
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "round trip",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5000])],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("zero", kind, [], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model), options, providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"x": values})
    found = FORMATS[name].fake(values, scale)
    if name == "int8":  # ONNX saturates at -128, symmetric INT8 stops at -127
        expected = np.maximum(expected, -127 * scale)
    np.testing.assert_array_equal(found, expected)


def test_cider_orders_texts() -> None:
    references = [["a red apple falls down"], ["a blue car turns left"], ["two birds fly away"]]
    same = [group[0] for group in references]
    close = ["a red apple falls", "a blue car turns right", "two birds fly"]
    swapped = [same[1], same[2], same[0]]
    assert mean_cider(same, references) == pytest.approx(10.0)
    assert 10 > mean_cider(close, references) > mean_cider(swapped, references)
    assert mean_cider(["", "", ""], references) == 0
    with pytest.raises(ValueError, match="reference"):
        mean_cider(same, references[:1])


def stream(seed: int, noise: float = 0.05, scale: float = 1.0) -> Recording:
    """Segments of 12 windows around random directions; `scale` shrinks all distances."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(8, 16)).repeat(12, 0)
    base = np.zeros(16)
    base[0] = 4.0
    rows = base + scale * (centres + noise * rng.normal(size=centres.shape))
    ends = np.arange(len(rows), dtype=np.int64) * 250_000_000
    shifts = ends[12::12]
    return Recording(
        (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32), ends, shifts
    )


def test_follow_finds_the_threshold_that_decides_as_before() -> None:
    options = GateOptions(
        smoothing=2,
        confirm=1,
        ward_threshold=0.35,
        variance_threshold=-1,
        hysteresis=-1,
        max_interval_ns=-1,
    )
    reference = [stream(seed) for seed in range(4)]
    # The same meaning with all distances shrunk, as rounding may do.
    shrunk = [stream(seed, scale=0.75) for seed in range(4)]
    found = follow(reference, options, shrunk, 0.25)
    before = [told_shifts(r, options) for r in reference]
    carried = shift_agreement(before, [told_shifts(r, options) for r in shrunk], 0.25)
    fitted = shift_agreement(before, [told_shifts(r, found.options) for r in shrunk], 0.25)
    assert fitted >= carried
    assert fitted > 0.95
    # Nothing changed: the threshold stays.
    assert follow(reference, options, reference, 0.25).options.ward_threshold == pytest.approx(0.35)


def test_shift_agreement_counts_within_one_window() -> None:
    a = [np.array([0, 1000, 2000], np.int64) * 1_000_000]
    near = [np.array([250, 1000, 1750], np.int64) * 1_000_000]
    far = [np.array([400, 1000], np.int64) * 1_000_000]
    assert shift_agreement(a, near, 0.25) == 1
    assert shift_agreement(a, far, 0.25) == pytest.approx(2 * 1 / 5)
    assert shift_agreement([np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0.25) == 1


def test_calibrating_needs_no_torch() -> None:
    """And what it repeats of the exporter is what the exporter has."""
    import subprocess
    import sys

    code = """
import sys
import vljepa_edge.calibration.quantise, vljepa_edge.calibration.report
import vljepa_edge.calibration.clip_streams, vljepa_edge.calibration.world_streams
assert not {"torch", "transformers", "matplotlib"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    from vljepa_edge.calibration import linear, quantise
    from vljepa_edge.export import onnx_export, pooling

    assert linear.POOL == pooling.NAME
    assert quantise.EXTERNAL_BYTES == onnx_export.EXTERNAL_BYTES


def test_tables_that_float16_cannot_hold_stay_as_they_are() -> None:
    """A mask's lowest number would become minus infinity; a rotary table loses nothing."""
    rotary = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    mask = np.where(np.tri(64, dtype=bool), 0, np.finfo(np.float32).min).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "rotary"], ["turned"]),
            helper.make_node("Add", ["turned", "mask"], ["y"]),
        ],
        "tables",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])],
        [
            onnx.numpy_helper.from_array(rotary, "rotary"),
            onnx.numpy_helper.from_array(mask, "mask"),
        ],
    )
    model = ir.from_proto(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    )
    store_tables_small(model)
    stored = model.graph.initializers
    assert stored["mask"].dtype == ir.DataType.FLOAT and "rotary" not in stored
    assert stored["rotary.float16"].dtype == ir.DataType.FLOAT16
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    found = session.run(None, {"x": np.ones((64, 64), np.float32)})[0]
    np.testing.assert_allclose(found, rotary + mask, rtol=1e-3)
    assert np.isfinite(found).all()
