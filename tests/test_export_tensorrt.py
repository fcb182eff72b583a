"""Exported components against TensorRT's parser and builder, without a GPU; engines of all makers.

TensorRT for RTX parses, types and lowers networks for devices that are not here. Nothing in this
file says how fast an engine is.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from conftest import Cli
from export_models import random_model, small_config, small_tokenizer
from vljepa_edge.export import tensorrt_graph
from vljepa_edge.export.engines import builder as engines
from vljepa_edge.export.engines.ort import OrtBuilder
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.export_bundle import export_bundle
from vljepa_edge.export.manifest import Manifest
from vljepa_edge.model.config import TransformerConfig, VLJEPAConfig, XEncoderConfig

ORDERS = ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")


def config() -> VLJEPAConfig:
    """The paper's heads of 64 channels, few of them."""

    def stack(part: TransformerConfig) -> TransformerConfig:
        return dataclasses.replace(
            part, width=128, layers=2, heads=4, kv_heads=2, head_dim=64, mlp_width=128
        )

    small = small_config()
    assert small.y_decoder is not None
    decoder = dataclasses.replace(small.y_decoder, transformer=stack(small.y_decoder.transformer))
    return dataclasses.replace(
        small,
        x_encoder=XEncoderConfig(width=128, layers=2, heads=2),
        predictor=dataclasses.replace(
            small.predictor, transformer=stack(small.predictor.transformer), visual_width=128
        ),
        y_encoder=dataclasses.replace(
            small.y_encoder, transformer=stack(small.y_encoder.transformer)
        ),
        y_decoder=decoder,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorrt") / "bundle"
    export_bundle(random_model(config()), folder, tokenizer=small_tokenizer())
    return folder


@pytest.fixture
def trt() -> Any:
    return pytest.importorskip(
        "tensorrt_rtx", reason="no TensorRT here: pip install 'vljepa-edge[tensorrt-test]'"
    )


def feeds(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    sizes = {"query_count": 2, "query_length": 5, "token_count": 3}
    cache = next((i.shape[2] for i in session.get_inputs() if i.name == "kv_cache"), 0)
    sizes["cache_and_token_count"] = cache + 3
    rng = np.random.default_rng(0)
    values = {}
    for one in session.get_inputs():
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in one.shape]
        if "uint8" in one.type:
            values[one.name] = rng.integers(0, 256, shape).astype(np.uint8)
        elif "int64" in one.type:
            values[one.name] = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        elif one.name in ("query_mask", "attention_mask"):
            values[one.name] = np.full(shape, one.name == "query_mask", np.float32)
        else:
            values[one.name] = rng.standard_normal(shape).astype(np.float32)
    return values


def adapt(path: Path, folder: Path, **options: bool) -> Path:
    model = tensorrt_graph.for_tensorrt(ir.load(path), **options)
    ir.save(model, folder / path.name)
    return folder / path.name


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({}, 1e-5), ({"half": True}, 3e-2), ({"half": True, "attention": True}, 3e-2)],
    ids=["float", "half", "attention"],
)
def test_adapted_graphs_compute_the_same(
    made: Path, tmp_path: Path, name: str, options: dict[str, bool], tolerance: float
) -> None:
    own = onnxruntime.InferenceSession(str(made / f"{name}.onnx"))
    values = feeds(own)
    other = onnxruntime.InferenceSession(str(adapt(made / f"{name}.onnx", tmp_path, **options)))
    assert [(i.name, i.type, i.shape) for i in own.get_inputs()] == [
        (i.name, i.type, i.shape) for i in other.get_inputs()
    ]
    for expected, found in zip(own.run(None, values), other.run(None, values), strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerance * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("attention", [False, True], ids=["products", "attention"])
def test_every_component_builds_strongly_typed(
    made: Path, tmp_path: Path, trt: Any, name: str, attention: bool
) -> None:
    from vljepa_edge.export.tensorrt_network import build, parse

    path = adapt(made / f"{name}.onnx", tmp_path, half=True, attention=attention)
    manifest = Manifest.read(made / "bundle.json")
    ranges = engines.axis_ranges(manifest, name)
    for capability in ("SM86", "SM89"):
        parsed = parse(path, trt)
        kinds = parsed.kinds()
        attentions = kinds.get("ATTENTION_INPUT", 0)
        # The Predictor's mask has one row for all queries, which the operator does not take.
        fused = attention and name in ("x_encoder", "y_encoder", "y_decoder")
        assert attentions == (2 if fused else 0)
        assert not {"PLUGIN", "PLUGIN_V2", "PLUGIN_V3", "CONDITION", "LOOP_OUTPUT"} & set(kinds)
        plan, _ = build(parsed, ranges, capability=capability)
        assert len(plan) > 1000


def test_the_portable_x_encoder_is_refused_by_name(made: Path, trt: Any) -> None:
    """What the adaption is for: TensorRT takes bytes at its interface only."""
    from vljepa_edge.export.tensorrt_network import parse

    with pytest.raises(ExportError, match=r"TensorRT does not take patch_embed/Reshape"):
        parse(made / "x_encoder.onnx", trt)


def test_engines_of_onnx_runtime(made: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    record = engines.build_engines(
        made, tmp_path / "e", OrtBuilder(), progress=lambda what, *_: steps.append(what)
    )
    assert list(record.files) == list(ORDERS) and len(steps) == 5
    own = onnxruntime.InferenceSession(str(made / "predictor.onnx"))
    values = feeds(own)
    engine = onnxruntime.InferenceSession(str(tmp_path / "e" / record.files["predictor"]))
    assert np.allclose(engine.run(None, values)[0], own.run(None, values)[0], atol=1e-5)

    # The same key: nothing is built again. A damaged file: all is.
    again = engines.build_engines(
        made, tmp_path / "e", OrtBuilder(), progress=lambda what, *_: steps.append(what)
    )
    assert again == record and len(steps) == 5
    (tmp_path / "e" / "predictor.onnx").write_bytes(b"")
    (tmp_path / "e" / "engine.json").write_text(json.dumps(dataclasses.asdict(record)))
    assert engines.read_engines(tmp_path / "e") is None


def test_engines_of_openvino(made: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    from vljepa_edge.export.engines.openvino import OpenvinoBuilder

    record = engines.build_engines(made, tmp_path / "e", OpenvinoBuilder())
    core = openvino.Core()
    blob = (tmp_path / "e" / record.files["predictor"]).read_bytes()
    # Unasked, a blob runs in BF16 where the CPU has it.
    compiled = core.import_model(blob, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    own = onnxruntime.InferenceSession(str(made / "predictor.onnx"))
    values = feeds(own)
    found = next(iter(compiled(values).values()))
    assert np.allclose(found, own.run(None, values)[0], atol=1e-4)


def test_engines_of_tensorrt(made: Path, tmp_path: Path, trt: Any) -> None:
    from vljepa_edge.export.engines.tensorrt import TensorrtBuilder

    builder = TensorrtBuilder(capability="SM86")
    record = engines.build_engines(made, tmp_path / "e", builder)
    assert record.device == "SM86" and set(record.files) == set(ORDERS)
    assert record.key != engines.engine_key(
        TensorrtBuilder(capability="SM89"), record.bundle_sha256
    )
    assert record.key != engines.engine_key(builder, "another bundle")
    with pytest.raises(ExportError, match="capability SM1 is unknown; choose of"):
        TensorrtBuilder(capability="SM1")
    with pytest.raises(ExportError, match="takes float16 alone"):
        TensorrtBuilder(capability="SM86", half=False, attention=True)


@pytest.mark.parametrize("attention", [False, True], ids=["10.3", "10.15"])
def test_onnx_for_trtexec(made: Path, tmp_path: Path, trt: Any, cli: Cli, attention: bool) -> None:
    """The profile of each generation of TensorRT as files: they parse, typed, with their sizes."""
    from vljepa_edge.export.tensorrt_network import parse

    output = tmp_path / "onnx"
    options = ["--attention"] if attention else []
    result = cli("export", made, "--engine", "tensorrt-onnx", *options, "-o", output)
    assert result.returncode == 0, result.stderr
    for name in ORDERS:
        model = onnx.load(output / f"{name}.onnx")
        opset = {one.domain: one.version for one in model.opset_import}[""]
        operators = {node.op_type for node in model.graph.node}
        fused = attention and name in ("x_encoder", "y_decoder")
        assert ("Attention" in operators) == fused and opset == (23 if fused else 20), name
        types = {one.data_type for one in model.graph.initializer if len(one.dims) == 2}
        assert (onnx.TensorProto.FLOAT16 in types) == (name != "y_encoder")
        assert parse(output / f"{name}.onnx", trt).layers > 0
    told = (output / "predictor.trtexec").read_text()
    assert told.startswith("--stronglyTyped --onnx=predictor.onnx --saveEngine=predictor.plan")
    assert "--maxShapes=query_embeddings:16x40x128,query_mask:16x40" in told
    assert "Shapes" not in (output / "x_encoder.trtexec").read_text()
    refused = cli("export", made, "--engine", "ort", "--attention", "-o", tmp_path / "e")
    assert refused.returncode == 2 and "go with --engine tensorrt" in refused.stderr


def test_a_folder_of_something_else_is_kept(made: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="exists and holds no engines"):
        engines.build_engines(made, tmp_path, OrtBuilder())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
