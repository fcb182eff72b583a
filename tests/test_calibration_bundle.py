"""Quantised bundles: their graphs, what they decide, resuming, and input that cannot be used."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from vljepa_edge.calibration import quantise, smooth
from vljepa_edge.calibration.calibrator import Calibrator, Settings
from vljepa_edge.calibration.engines import load_graphs, open_graphs
from vljepa_edge.calibration.fidelity import compare
from vljepa_edge.calibration.insert import LayerPlan, check_placement
from vljepa_edge.calibration.linear import linear_layers, stayed_float
from vljepa_edge.calibration.sensitivity import Budget, Judge, search, sensitivities
from vljepa_edge.export.bundle import MANIFEST, check_folder
from vljepa_edge.export.errors import ExportError
from vljepa_edge.runtime import golden
from vljepa_edge.runtime.model import Model, load

from vljepa_edge.cli import main

WINDOWS = 6


def calibrated(folder: Path, **changes: object) -> Calibrator:
    settings = Settings(windows=WINDOWS, **changes)  # type: ignore[arg-type]
    calibrator = Calibrator(folder, settings)
    calibrator.observe()
    return calibrator


@pytest.fixture(scope="module")
def int8(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Calibrator, Path]:
    calibrator = calibrated(tiny_bundle)
    output = tmp_path_factory.mktemp("int8") / "tiny"
    quantise.write(calibrator, calibrator.plan(), output)
    return calibrator, output


def embed(model: Model, calibrator: Calibrator) -> np.ndarray:
    queries = [model.compile_query(query) for query in calibrator.queries]
    return np.concatenate(
        [model.predict(model.encode_window(w), queries) for w, _ in calibrator.windows]
    )


def test_smoothing_changes_nothing_in_float(int8: tuple[Calibrator, Path]) -> None:
    calibrator, _ = int8
    assert len([s for s in calibrator.smoothing.values() if s.alpha is not None]) >= 4
    kinds = {name.rsplit(".", 1)[-1] for name in calibrator.smoothing}
    assert {"qkv", "out", "fc1", "down"} <= kinds
    plain = load_graphs(calibrator.folder, calibrator.manifest)
    with (
        open_graphs(calibrator.folder, plain) as before,
        open_graphs(calibrator.folder, calibrator.float_graphs()) as after,
    ):
        np.testing.assert_allclose(
            embed(after, calibrator), embed(before, calibrator), atol=2e-6, rtol=0
        )
        texts = ["a red apple falls", "nothing moves"]
        np.testing.assert_allclose(after.embed_text(texts), before.embed_text(texts), atol=2e-6)
        row = before.embed_text(texts)[0]
        assert after.decode(row).text == before.decode(row).text


def test_int8_bundle_decides_as_full_precision(int8: tuple[Calibrator, Path]) -> None:
    calibrator, folder = int8
    manifest = check_folder(folder)
    assert manifest.precision == "int8"
    assert {part.precision for part in manifest.components.values()} == {"int8"}
    assert manifest.provenance.card["calibration"]["windows"] == WINDOWS
    with load(calibrator.folder) as a, load(folder) as b:
        cosines = (embed(a, calibrator) * embed(b, calibrator)).sum(1)
        assert cosines.mean() > 0.995
        vectors = golden.read_golden(folder)
        assert min(r.cosine for r in golden.rerun(b, vectors)) > 0.95


def test_every_linear_layer_is_eight_bits(int8: tuple[Calibrator, Path]) -> None:
    calibrator, folder = int8
    for name, graph in load_graphs(folder, check_folder(folder)).items():
        assert list(stayed_float(name, graph)) == []
        # Weights are stored rounded, with a DequantizeLinear alone, one scale a column.
        original = onnx.load(calibrator.folder / f"{name}.onnx")
        layers = linear_layers(name, ir.from_proto(original))
        stored = {i.name: i for i in onnx.load(folder / f"{name}.onnx").graph.initializer}
        for layer in layers:
            weight = stored[f"{layer.weight.name}.quantised"]
            assert weight.data_type == onnx.TensorProto.INT8
            assert list(stored[f"{layer.weight.name}.scale"].dims) == [weight.dims[1]]
            assert layer.weight.name not in stored


def test_onnxruntime_fuses_all_of_them(int8: tuple[Calibrator, Path], tmp_path: Path) -> None:
    _, folder = int8
    for name in ("x_encoder", "predictor"):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options)
        found = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
        graph = ir.load(folder / f"{name}.onnx")
        pairs = sum(node.op_type == "QuantizeLinear" for node in graph.graph)
        fused = found["MatMulIntegerToFloat"] + found["QLinearMatMul"] + found["MatMulInteger"]
        assert fused == pairs > 0


def test_pixels_lose_nothing(int8: tuple[Calibrator, Path]) -> None:
    """Their scale is 1 after a shift by 128, and the bias takes the shift back."""
    _, folder = int8
    graph = ir.load(folder / "x_encoder.onnx").graph
    first = next(node for node in graph if node.op_type == "QuantizeLinear")
    assert first.inputs[1] is not None and first.inputs[1].const_value is not None
    assert float(first.inputs[1].const_value.numpy()) == 1.0


def test_a_layer_that_stayed_float_is_named(tiny_bundle: Path) -> None:
    graph = ir.load(tiny_bundle / "predictor.onnx")
    with pytest.raises(ExportError, match=r"stayed float: predictor/vis_proj, predictor/layers"):
        check_placement("predictor", graph)


def test_bias_correction_gives_the_mean_back(int8: tuple[Calibrator, Path]) -> None:
    calibrator, _ = int8
    plan = calibrator.plan()
    bare = {name: LayerPlan(p.scheme, p.amax) for name, p in plan.items()}
    layer = "x_encoder/blocks.0.fc1"
    value = "blocks.0.fc1/Add"

    def mean(graphs: dict[str, ir.Model]) -> np.ndarray:
        seen: list[np.ndarray] = []
        with open_graphs(
            calibrator.folder,
            {"x_encoder": graphs["x_encoder"]},
            watched={"x_encoder": [value]},
            watch=lambda _, values: seen.append(values[value].mean((0, 1))),
        ) as model:
            for window, _ in calibrator.windows:
                model.encode_window(window)
        return np.mean(seen, 0)

    floats = {name: LayerPlan("float") for name in plan}
    expected = mean(calibrator.float_graphs())
    errors = [
        np.abs(
            mean(calibrator.graphs({**floats, layer: p[layer]}, ["x_encoder"])) - expected
        ).mean()
        for p in (plan, bare)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_fp8_is_simulated_and_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    calibrator = calibrated(tiny_bundle, precision="fp8", attention=True, smooth=False)
    quantise.write(calibrator, calibrator.plan(), tmp_path / "fp8")
    manifest = check_folder(tmp_path / "fp8")
    assert {part.precision for part in manifest.components.values()} == {"fp8"}
    graph = onnx.load(tmp_path / "fp8" / "x_encoder.onnx").graph
    stored = {i.name: i for i in graph.initializer}
    assert stored["blocks.0.fc1.weight.quantised"].data_type == onnx.TensorProto.FLOAT8E4M3FN
    # Pixels and what they are multiplied with stay INT8: E4M3 has too few of their 256 values.
    folded = stored["patch_embed.projection.weight.quantised"]
    assert folded.data_type == onnx.TensorProto.INT8
    # Attention: queries, keys, values and the softmax's output, whose scale is 1/448.
    scales = {n.input[0]: n.input[1] for n in graph.node if n.op_type == "QuantizeLinear"}
    (softmax,) = (name for name in scales if name.endswith("Softmax"))
    scale = onnx.numpy_helper.to_array(stored[scales[softmax]])
    assert float(scale) == pytest.approx(1 / 448)
    with load(tiny_bundle) as a, load(tmp_path / "fp8") as b:
        cosines = (embed(a, calibrator) * embed(b, calibrator)).sum(1)
    assert cosines.mean() > 0.99
    found = compare(tiny_bundle, tmp_path / "fp8", windows=3, candidates=4, streams=0)
    assert found.b.simulated and not found.a.simulated


def test_what_fp8_spares_has_int8_weights(tiny_bundle: Path, tmp_path: Path) -> None:
    """Computed with in float, INT8 weights are the finer ones; a weights-only FP8 bundle is what
    was asked for."""
    calibrator = calibrated(tiny_bundle, precision="fp8", smooth=False)
    spared = [layer.name for layer in calibrator.layers() if layer.name.endswith("fc1")]
    assert spared
    plan = calibrator.plan(dict.fromkeys(spared, "weights"))
    quantise.write(calibrator, plan, tmp_path / "fp8")
    graph = onnx.load(tmp_path / "fp8" / "x_encoder.onnx").graph
    stored = {i.name: i.data_type for i in graph.initializer if i.name.endswith(".quantised")}
    kinds = {name: kind for name, kind in stored.items() if "patch_embed" not in name}
    assert {k for n, k in kinds.items() if ".fc1." in n} == {onnx.TensorProto.INT8}
    assert {k for n, k in kinds.items() if ".fc1." not in n} == {onnx.TensorProto.FLOAT8E4M3FN}
    with load(tiny_bundle) as a, load(tmp_path / "fp8") as b:
        assert (embed(a, calibrator) * embed(b, calibrator)).sum(1).mean() > 0.99
    only = calibrated(tiny_bundle, precision="fp8", smooth=False, weights_only=True)
    quantise.write(only, only.plan(), tmp_path / "only")
    graph = onnx.load(tmp_path / "only" / "x_encoder.onnx").graph
    stored = {i.name: i.data_type for i in graph.initializer if ".fc1." in i.name}
    assert onnx.TensorProto.FLOAT8E4M3FN in stored.values()


def test_mixed_keeps_the_fewest_layers(int8: tuple[Calibrator, Path]) -> None:
    calibrator, _ = int8
    judge = Judge(calibrator, 3)
    errors = sensitivities(judge)
    assert len(errors) == 12 and all(e.error > -1e-6 for e in errors)
    none, trials = search(judge, errors, Budget(cosine=0.5))
    assert none == {} and len(trials) == 1
    # A budget just above what 8 bits reach needs some layers in float, and not all.
    wanted = (1 + trials[0].measure.cosine_mean) / 2
    some, trials = search(judge, errors, Budget(cosine=wanted))
    assert 0 < len(some) < len(errors)
    kept = next(t for t in trials if set(t.kept) == set(some))
    assert kept.measure.cosine_mean >= wanted
    with pytest.raises(ExportError, match="below the budget"):
        search(judge, errors, Budget(cosine=1.1))
    # Weights may stay in 8 bits: inputs in float reach a part of the way, with all weights small.
    best = judge.of_schemes(dict.fromkeys([e.layer for e in errors], "weights"))
    assert trials[0].measure.cosine_mean < best.cosine_mean < 1 - 1e-5
    wanted = (trials[0].measure.cosine_mean + best.cosine_mean) / 2
    halves, trials = search(judge, errors, Budget(cosine=wanted), kept_as="weights")
    assert set(halves.values()) == {"weights"} and 0 < len(halves) <= len(errors)
    assert any(t.measure.cosine_mean >= wanted and set(t.kept) == set(halves) for t in trials)


def test_an_interrupted_pass_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    whole = Calibrator(tiny_bundle, Settings(windows=20, smooth=False))
    whole.observe()

    def stop(what: str, done: int, total: int) -> None:
        if done == 18:
            raise KeyboardInterrupt

    cut = Calibrator(tiny_bundle, Settings(windows=20, smooth=False))
    with pytest.raises(KeyboardInterrupt):
        cut.observe(tmp_path / "state", stop)
    seen: list[int] = []
    cut.observe(tmp_path / "state", lambda what, done, total: seen.append(done))
    assert seen == [17, 18, 19, 20]
    name = "x_encoder/blocks.0.fc1"
    assert cut.range_of(name) == whole.range_of(name)
    np.testing.assert_allclose(
        cut.observations.layers[name].mean, whole.observations.layers[name].mean
    )
    # Another bundle or other windows start anew.
    other = Calibrator(tiny_bundle, Settings(windows=17, smooth=False))
    seen.clear()
    other.observe(tmp_path / "state", lambda what, done, total: seen.append(done))
    assert seen[0] == 1


def test_a_bundle_agrees_with_itself(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ["--windows", "4", "--candidates", "6", "--streams", "1", "--seconds", "10"]
    with pytest.raises(SystemExit) as end:
        main(["compare", str(tiny_bundle), str(tiny_bundle), *options, "-o", str(tmp_path / "r")])
    assert end.value.code == 0
    told = json.loads((tmp_path / "r" / "fidelity.json").read_text())
    assert told["cosine_min"] == pytest.approx(1, abs=1e-6)
    assert told["top1_flips"] == told["top5_flips"] == 0
    assert told["trigger_f1"] == told["decoded_exact"] == told["size_share"] == 1
    assert told["classification_points"] == told["retrieval_points"] == 0
    assert "cosine of predicted embeddings" in (tmp_path / "r" / "fidelity.md").read_text()
    assert cv2.imread(str(tmp_path / "r" / "fidelity.png")).shape[0] > 100


def test_shifts_are_compared_on_clips_too(tiny_bundle: Path, clip: Path) -> None:
    found = compare(tiny_bundle, tiny_bundle, data=str(clip), windows=3, candidates=4)
    assert found.trigger_f1 == 1 and found.trigger_shifts is not None
    assert found.classification_points is None and found.retrieval_points is None


def write_clip(path: Path, frames: int = 40, blank: bool = False) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for i in range(frames):
        picture = np.zeros((48, 64, 3), np.uint8)
        if not blank:
            cv2.circle(picture, (8 + i, 24), 9, (30, 200, 250), -1)
        writer.write(picture)
    writer.release()
    return path


def test_one_clip_is_enough_to_calibrate(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.avi")
    arguments = ["--data", str(clip), "-o", str(tmp_path / "out"), "--threads", "1"]
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(tiny_bundle), *arguments])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert "note: ranges from 10 windows alone" in told
    assert check_folder(tmp_path / "out").precision == "int8"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.avi", "out"]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    """One line that names what is wrong, exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["calibrate", *arguments])
    assert end.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line)
    assert line.startswith("vljepa: ")
    for word in words:
        assert word in line


def test_data_that_cannot_be_used(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def calibrate(data: Path, *words: str) -> None:
        output = tmp_path / "out"
        refused(capsys, [str(tiny_bundle), "--data", str(data), "-o", str(output)], *words)
        assert not output.exists()

    (tmp_path / "empty").mkdir()
    calibrate(tmp_path / "empty", "holds no clips")
    calibrate(tmp_path / "missing", "no such file")
    calibrate(write_clip(tmp_path / "black.avi", blank=True), "one constant colour", "no range")
    np.save(tmp_path / "other.npy", np.zeros((3, 4, 3, 64, 64), np.uint8))
    calibrate(tmp_path / "other.npy", "[3, 4, 3, 64, 64]", "uint8 [n, 4, 3, 32, 32]")
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 3, 32, 32), np.uint8))
    calibrate(tmp_path / "none.npy", "no windows")


def test_bundles_that_cannot_be_quantised(
    int8: tuple[Calibrator, Path],
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = ["-o", str(tmp_path / "out")]
    refused(capsys, [str(int8[1]), *output], "is int8 already")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    model = onnx.load(broken / "predictor.onnx")
    weight = next(i for i in model.graph.initializer if i.name == "vis_proj.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3, 3] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, broken / "predictor.onnx")
    reseal(broken)
    refused(capsys, [str(broken), *output], "vis_proj.weight", "NaN")
    refused(capsys, [str(tiny_bundle), "--min-cosine", "0.9", *output], "--precision mixed")
    refused(capsys, [str(tiny_bundle), "--keep", "weights", *output], "--precision mixed")
    refused(capsys, [str(tiny_bundle), "--precision", "int8"], "name it with -o")


def reseal(folder: Path) -> None:
    """Makes a bundle's records fit its changed Predictor."""
    import dataclasses

    from vljepa_edge.export import bundle
    from vljepa_edge.export.sections import INSIDE, Kind
    from vljepa_edge.runtime.bundle import Bundle

    manifest = bundle.Manifest.read(folder / MANIFEST)
    own = bundle.record(folder / "predictor.onnx")
    changed = dataclasses.replace(
        manifest.components["predictor"], bytes=own.bytes, sha256=own.sha256
    )
    with Bundle(folder) as opened:
        inner = bundle.stored_sections(folder, opened, INSIDE - {Kind.CONFIG})
    components = {**manifest.components, "predictor": changed}
    bundle.finish(folder, dataclasses.replace(manifest, components=components), inner)


def test_blocks_skip_what_others_read(tiny_bundle: Path) -> None:
    """A norm whose output an operator other than a layer reads is left alone."""
    graph = ir.load(tiny_bundle / "predictor.onnx")
    before = smooth.blocks(linear_layers("predictor", graph))
    norm = before[0].layers[0].activation
    graph.graph.outputs.append(norm)
    after = smooth.blocks(linear_layers("predictor", graph))
    assert len(after) == len(before) - 1


def test_fitting_the_gate_keeps_when_texts_are_written(nano_bundle: Path, tmp_path: Path) -> None:
    """The packaged bundle writes at a segment's close; new thresholds must not change that."""
    bundle = tmp_path / "nano"
    shutil.copytree(nano_bundle, bundle)
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(bundle), "--gate-only", "--streams", "1", "--seconds", "15"])
    assert ended.value.code == 0
    with load(bundle) as model:
        assert model.description.decode_when == "close"
