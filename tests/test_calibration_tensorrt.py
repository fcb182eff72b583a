"""Quantised bundles through TensorRT's parser and builder, without a GPU: typed right, or refused.

TensorRT for RTX lowers networks for devices that are not here; nothing in this file tells a speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from vljepa_edge.calibration import quantise
from vljepa_edge.calibration.calibrator import Calibrator, Settings
from vljepa_edge.calibration.insert import Scheme
from vljepa_edge.export.engines import builder as engines
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.manifest import Manifest

COMPONENTS = ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")


@pytest.fixture(scope="module")
def bundles(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """INT8, weights alone in INT8, FP8 with attention, and FP8 in half of the layers, each of the
    same bundle."""
    folder = tmp_path_factory.mktemp("quantised")
    made = {}
    for name, precision, attention in (
        ("int8", "int8", False),
        ("weights", "int8", False),
        ("fp8", "fp8", True),
        ("fp8, spared", "fp8", False),
    ):
        settings = Settings(precision=precision, windows=3, attention=attention)  # type: ignore[arg-type]
        calibrator = Calibrator(tiny_bundle, settings)
        calibrator.observe()
        schemes: dict[str, Scheme] = {}
        if name == "weights":
            schemes = {layer.name: "weights" for layer in calibrator.layers()}
        elif name == "fp8, spared":  # FP8 beside INT8 weights with float inputs, in one graph
            schemes = {layer.name: "weights" for layer in calibrator.layers()[::2]}
        made[name] = folder / name
        quantise.write(calibrator, calibrator.plan(schemes), made[name])
    return made


@pytest.fixture(scope="module")
def rtx() -> Any:
    pytest.importorskip("tensorrt_rtx", reason="make test installs tensorrt-rtx-cu13")
    from vljepa_edge.export.engines.tensorrt import TensorrtBuilder

    return TensorrtBuilder


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("name", ["int8", "weights", "fp8", "fp8, spared"])
def test_quantised_components_build_for_sm89(
    bundles: dict[str, Path], rtx: Any, tmp_path: Path, name: str, component: str
) -> None:
    folder = bundles[name]
    ranges = engines.axis_ranges(Manifest.read(folder / "bundle.json"), component)
    rtx(capability="SM89").build(folder / f"{component}.onnx", ranges, tmp_path / "plan")
    assert (tmp_path / "plan").stat().st_size > 1000


@pytest.mark.parametrize("component", ["x_encoder", "predictor"])
def test_int8_builds_for_orins_generation(
    bundles: dict[str, Path], rtx: Any, tmp_path: Path, component: str
) -> None:
    folder = bundles["int8"]
    ranges = engines.axis_ranges(Manifest.read(folder / "bundle.json"), component)
    rtx(capability="SM86").build(folder / f"{component}.onnx", ranges, tmp_path / "plan")
    assert (tmp_path / "plan").stat().st_size > 1000


def test_the_network_has_the_pairs_that_the_graph_has(
    bundles: dict[str, Path], rtx: Any, tmp_path: Path
) -> None:
    """Nothing is folded into float on the way: every Q and DQ is a layer of the network."""
    import tensorrt_rtx
    from vljepa_edge.export import tensorrt_graph
    from vljepa_edge.export.tensorrt_network import parse

    for name in ("int8", "fp8"):
        adapted = tensorrt_graph.for_tensorrt(ir.load(bundles[name] / "predictor.onnx"))
        ir.save(adapted, tmp_path / "predictor.onnx")
        kinds = parse(tmp_path / "predictor.onnx", tensorrt_rtx).kinds()
        for layer, operator in (("QUANTIZE", "QuantizeLinear"), ("DEQUANTIZE", "DequantizeLinear")):
            there = sum(node.op_type == operator for node in adapted.graph)
            assert kinds[layer] == there > 5


@pytest.mark.parametrize("component", ["x_encoder", "y_decoder"])
def test_fp8_is_refused_for_orin_by_name(
    bundles: dict[str, Path], rtx: Any, tmp_path: Path, component: str
) -> None:
    builder = rtx(capability="SM86")
    with pytest.raises(ExportError, match=r"FP8.*SM86.*Orin.*int8") as refused:
        builder.build(bundles["fp8"] / f"{component}.onnx", {}, tmp_path / "plan")
    assert "\n" not in str(refused.value) and not (tmp_path / "plan").exists()


def test_tensorrt_itself_refuses_fp8_there(
    bundles: dict[str, Path], rtx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own line stands for what TensorRT says less clearly, minutes later."""
    from vljepa_edge.export.engines import tensorrt

    monkeypatch.setattr(tensorrt, "FP8_SINCE", (8, 0))
    folder = bundles["fp8"]
    ranges = engines.axis_ranges(Manifest.read(folder / "bundle.json"), "predictor")
    with pytest.raises(ExportError, match="builds no engine"):
        rtx(capability="SM86").build(folder / "predictor.onnx", ranges, tmp_path / "plan")
