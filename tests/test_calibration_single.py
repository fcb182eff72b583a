"""One component quantised by itself, weights alone in 8 bits, and the benches that build on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from vljepa_edge.calibration.calibrator import Calibrator
from vljepa_edge.calibration.engines import open_session
from vljepa_edge.calibration.settings import Settings
from vljepa_edge.calibration.single import Feed, quantise_single
from vljepa_edge.export.bundle import check_folder
from vljepa_edge.runtime.model import load

from vljepa_edge.cli import main


def kinds(graph: ir.Model) -> set[str]:
    return {node.op_type for node in graph.graph}


def windows(folder: Path, count: int) -> list[Feed]:
    calibrator = Calibrator(folder, Settings(windows=count))
    return [{"frames": window[None]} for window, _ in calibrator.windows]


@pytest.mark.parametrize("weights_only", [False, True], ids=["full", "weights"])
def test_a_component_by_itself(tiny_bundle: Path, weights_only: bool) -> None:
    shown = windows(tiny_bundle, 6)
    source = tiny_bundle / "x_encoder.onnx"

    def feeds() -> Iterator[Feed]:
        yield from shown[:4]

    settings = Settings(weights_only=weights_only)
    made = quantise_single("x_encoder", lambda: ir.load(source), feeds, settings)
    assert "DequantizeLinear" in kinds(made.graph)
    assert ("QuantizeLinear" in kinds(made.graph)) != weights_only
    assert bool(made.smoothing) != weights_only
    assert {p.scheme for p in made.plan.values()} == {"weights" if weights_only else "full"}
    float_session, session = open_session(ir.load(source)), open_session(made.graph)
    for feed in shown[4:]:
        a, b = (s.run(None, dict(feed))[0].ravel() for s in (float_session, session))
        assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.998


def test_a_bundle_with_8_bit_weights_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "small"
    arguments = ["--windows", "3", "--streams", "1", "--seconds", "10", "--threads", "1"]
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(tiny_bundle), "-o", str(output), "--weights-only", *arguments])
    assert end.value.code == 0
    manifest = check_folder(output)
    assert manifest.precision == "int8"
    assert manifest.provenance.card["calibration"]["weights_only"] is True
    for name in manifest.components:
        found = kinds(ir.load(output / f"{name}.onnx"))
        assert "DequantizeLinear" in found and "QuantizeLinear" not in found
    with load(tiny_bundle) as a, load(output) as b:
        for feed in windows(tiny_bundle, 2):
            rows = [m.predict(m.encode_window(feed["frames"][0]), m.queries) for m in (a, b)]
            assert (rows[0] * rows[1]).sum(1).min() > 0.999


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weights-only"], "name it with -o"),
        (["--weights-only", "--attention", "-o", "out"], "--attention"),
        (["--weights-only", "--precision", "mixed", "-o", "out"], "--precision mixed"),
    ],
)
def test_weights_only_goes_with_few_others(
    tiny_bundle: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(tiny_bundle), *options])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_quantisers_side_by_side(tiny_bundle: Path, tmp_path: Path) -> None:
    """Those that are installed; NNCF and modelopt have interpreters of their own."""
    from vljepa_edge.bench.quantisers.__main__ import main as compare

    arguments = ["--windows", "3", "--judged", "4", "--candidates", "6", "--threads", "1"]
    assert compare([str(tiny_bundle), "-o", str(tmp_path), *arguments]) == 0
    told = json.loads((tmp_path / "quantisers.json").read_text())
    names = [row["name"] for row in told["rows"]]
    assert names == ["vljepa-edge", "quantize_static, defaults",
        "quantize_static, linear layers, per channel"]  # fmt: skip
    for row in told["rows"]:
        assert not row["failed"] and set(row["scores"]) == {"x_encoder", "predictor", "both"}
        assert 10 < row["scores"]["x_encoder"]["sqnr_db"] < 80
        assert row["scores"]["both"]["cosine_mean"] > 0.9
    ours, default, _ = (row["scores"]["both"]["cosine_mean"] for row in told["rows"])
    assert ours > default
    assert (tmp_path / "quantisers.md").read_text().count("\n| ") == 4


def test_int8_at_scale_at_a_small_scale(
    tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    from vljepa_edge.bench.int8_at_scale import COMPONENTS, WANTED
    from vljepa_edge.bench.int8_at_scale import main as measure

    arguments = ["--checkpoint", str(tiny_checkpoint), "--rounds", "2", "--threads", "1"]
    assert measure([str(tiny_bundle), "-o", str(tmp_path), *arguments]) == 0
    told = json.loads((tmp_path / "int8.json").read_text())
    for name in COMPONENTS:
        found = told["components"][name]
        assert found["pytorch_cosine"] > 0.99999  # the very weights that the bundle was made from
        assert min(c["min"] for c in found["cosine"].values()) > 0.99
        assert found["bytes"] < 0.6 * found["float_bytes"]  # nodes weigh much at this size
        assert all(len(s) == 2 for s in found["turns"]["samples_ms"].values())
        assert len(found["ratios"]) == len(WANTED)
    assert "≥ 6" in (tmp_path / "int8.md").read_text()
