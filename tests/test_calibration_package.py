"""The packaged bundle: one command makes it, the same bytes each time, and proves it first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from vljepa_edge.calibration import goals, package
from vljepa_edge.calibration.fidelity import compare
from vljepa_edge.calibration.full_precision import export_key
from vljepa_edge.export.bundle import MANIFEST, check_folder
from vljepa_edge.export.manifest import Manifest

SMALL = {
    "windows": 4,
    "streams": 1,
    "seconds": 12.0,
    "judged_windows": 3,
    "judged_streams": 1,
    "candidates": 6,
    "search_windows": 3,
    "threads": 1,
}
ARGUMENTS = [word for k, v in SMALL.items() for word in (f"--{k.replace('_', '-')}", str(v))]


@pytest.fixture(scope="module")
def work(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "work"
    package.make(tiny_checkpoint, folder, "int8", package.Recipe(**SMALL))  # type: ignore[arg-type]
    return folder


def test_one_command_makes_bundle_and_proof(work: Path) -> None:
    manifest = check_folder(work / "int8")
    assert manifest.precision == "int8" and check_folder(work / "fp32").precision == "fp32"
    assert [query.text for query in manifest.queries][1:] == ["Which object is it?",
        "How does it move?", "How many are there?"]  # fmt: skip
    assert manifest.gate.decode_when == "close"
    assert json.loads((work / "report" / "gate.json").read_text())["tried"] > 100
    told = (work / "report" / "goals.md").read_text()
    assert "decoded texts equal" in told and "≤ 30.0%" in told
    assert manifest.provenance.checkpoint_sha256 in told
    # What writes texts has 8-bit weights and float inputs; most of what watches has 8-bit inputs.
    layers = json.loads((work / "report" / "layers.json").read_text())["layers"]
    schemes = {layer["layer"]: layer["scheme"] for layer in layers}
    writers = {scheme for name, scheme in schemes.items() if name.startswith("y_decoder")}
    watchers = [s for name, s in schemes.items() if name.startswith(("x_encoder", "predictor"))]
    assert writers == {"weights"} and set(watchers) <= {"full", "weights"}
    decoder = onnx.load(work / "int8" / "y_decoder.onnx").graph
    stored = {i.name: i.data_type for i in decoder.initializer if i.name.endswith(".quantised")}
    assert stored and set(stored.values()) == {onnx.TensorProto.INT8}
    assert not any(node.op_type == "QuantizeLinear" for node in decoder.node)
    assert (work / "report" / "fidelity.png").stat().st_size > 1000


def test_the_same_bytes_each_time(work: Path, tiny_checkpoint: Path) -> None:
    before = {name: (work / name / "index.vlj").read_bytes() for name in ("fp32", "int8")}
    exported = (work / "fp32" / "x_encoder.onnx").stat().st_mtime_ns
    package.make(tiny_checkpoint, work, "int8", package.Recipe(**SMALL))  # type: ignore[arg-type]
    assert before == {name: (work / name / "index.vlj").read_bytes() for name in before}
    # Full precision was taken as it lay there, since nothing it follows from has changed.
    assert (work / "fp32" / "x_encoder.onnx").stat().st_mtime_ns == exported


def test_a_bundle_that_misses_its_goals_replaces_nothing(
    work: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "nano"
    package.publish(work / "fp32", output)
    command = [str(tiny_checkpoint), "-o", str(output), "--work", str(work), *ARGUMENTS]
    found = goals.Goal("size of full precision's", 0.9, 0.3, False, "{:.1%}")
    monkeypatch.setattr(goals, "goals", lambda _: [found])
    report = tmp_path / "report"
    assert package.main([*command, "--report", str(report)]) == 1
    assert (report / "fidelity.json").is_file() and (report / "gate.json").is_file()
    assert "missed: size of full precision's" in capsys.readouterr().err
    assert Manifest.read(output / MANIFEST).precision == "fp32"
    monkeypatch.setattr(goals, "goals", lambda _: [])
    assert package.main(command) == 0
    assert check_folder(output).precision == "int8"
    assert package.main([str(tmp_path), "-o", str(output)]) == 2
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    assert package.main([str(tiny_checkpoint), "-o", str(tmp_path / "thesis")]) == 2


def test_goals_tell_what_is_missed() -> None:
    least = goals.Goal("cosine", 0.99, 0.995, True, "{:.3f}")
    most = goals.Goal("size", 0.29, 0.30, False, "{:.0%}")
    unknown = goals.Goal("F1", None, 0.95, True, "{:.3f}")
    assert [goal.reached for goal in (least, most, unknown)] == [False, True, False]
    assert goals.markdown([least, unknown]).count("**no**") == 2


def test_the_packaged_bundle_decides_as_full_precision(
    nano_fp32_bundle: Path, nano_bundle: Path
) -> None:
    """On few windows: the whole proof is bench/results/calibration."""
    found = compare(nano_fp32_bundle, nano_bundle, windows=12, candidates=50, streams=0)
    assert found.cosine_mean >= 0.995 and found.top1_flips <= 1 / 12
    full, packed = (Manifest.read(f / MANIFEST) for f in (nano_fp32_bundle, nano_bundle))
    assert full.provenance.checkpoint_sha256 == packed.provenance.checkpoint_sha256
    assert [q.text for q in full.queries] == [q.text for q in packed.queries]
    assert np.isfinite(found.cosine_p1) and found.windows == 12


def test_what_full_precision_follows_from(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, copy)
    assert export_key(copy) == export_key(tiny_checkpoint)
    assert export_key(copy, ["Another query?"]) != export_key(copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert export_key(copy) != export_key(tiny_checkpoint)
