"""The paper's model at full size: exported on this machine, rerun by the C core, watched with.

Run by `make test-all`, or pytest -m full_size. About 20 GB of disk and 9 GiB of memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import full_size_models
import onnx
import onnx_ir as ir
import pytest
from conftest import Cli
from export_models import small_tokenizer
from vljepa_edge.export import tensorrt_graph
from vljepa_edge.export.export_bundle import ExportedBundle, export_bundle
from vljepa_edge.export.graph_passes import ALLOWED_OPERATORS
from vljepa_edge.export.manifest import Manifest
from vljepa_edge.export.origin import random_weights
from vljepa_edge.export.weight_storage import BYTES, Storage
from vljepa_edge.model.config import paper

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(3600)]

SPARE_BYTES = 3 << 30
PARTS = ["x_encoder", "predictor", "y_encoder", "y_decoder"]
# Of the bundle's stored outputs to full precision, as weights are rounded.
WORST = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.99}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Gone after each test: pytest would keep gigabytes of three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExportedBundle]:
    """8 frames, FP32."""
    folder = tmp_path_factory.mktemp("paper")
    yield export_bundle(random_weights(paper(8)), folder / "paper")
    shutil.rmtree(folder, ignore_errors=True)


def check_parts(made: ExportedBundle, storage: Storage = "fp32") -> None:
    """The memory of a component's process: its FP32 size and 3 GiB. Nodes and operators."""
    assert list(made.parts)[:3] == PARTS[:3]
    for part in made.parts.values():
        stored = sum(
            file.bytes
            for component in part.components.values()
            for file in (component, *component.external_data)
        )
        size = 4 // BYTES[storage] * stored
        assert part.peak_bytes <= size + SPARE_BYTES, (part.part, part.peak_bytes, size)
        for operators in part.operators.values():
            assert set(operators) <= ALLOWED_OPERATORS
    assert made.parts["x_encoder"].nodes["x_encoder"] <= 1000


def rerun(bundle: Path, cli: Cli, worst: float) -> dict[str, Any]:
    """`vljepa doctor`, to the chain's words."""
    result = cli("doctor", bundle, "--json", timeout=2400)
    assert result.returncode == 0, result.stderr
    found = {one["name"]: one for one in json.loads(result.stdout)["results"]}
    outputs = {"x_encoder/visual_tokens", "predictor/predicted_embedding"}
    assert {*outputs, "chain/predicted_embedding"} <= set(found)
    assert min(one["cosine"] for one in found.values()) >= worst, found
    return found


def test_memory_and_nodes(made: ExportedBundle) -> None:
    assert list(made.parts) == PARTS
    check_parts(made)


def test_what_is_in_the_folder(made: ExportedBundle) -> None:
    manifest = Manifest.read(made.folder / "bundle.json")
    assert manifest.token_embeddings == ("y_decoder",)  # Llama's table stays behind
    for name in PARTS:
        component = manifest.components[name]
        assert [file.file for file in component.external_data] == [f"{name}.onnx.data"]
        assert component.bytes < 5_000_000
        onnx.checker.check_model(made.folder / component.file)


def test_the_core_gives_the_reference(made: ExportedBundle, cli: Cli) -> None:
    found = rerun(made.folder, cli, WORST["fp32"])
    detail = found["chain/predicted_embedding"]["detail"]
    assert detail.startswith("text ") and "wanted" not in detail  # greedy tokens are the same


def test_watching(made: ExportedBundle, cli: Cli) -> None:
    clip = Path(__file__).parent.parent / "examples" / "clips" / "demo.mp4"
    options = ("--json", "--embeddings", "--max-frames", "32")
    result = cli("run", clip, "--bundle", made.folder, *options, timeout=900)
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum(event["type"] == "embedding" for event in events) >= 2


@pytest.mark.parametrize(("frames", "storage"), [(16, "fp16"), (32, "bf16")])
def test_longer_windows_and_half_the_bytes(
    folder: Path, cli: Cli, frames: int, storage: Storage
) -> None:
    made = export_bundle(random_weights(paper(frames)), folder / "paper", storage=storage)
    check_parts(made, storage)
    rerun(made.folder, cli, WORST[storage])


def test_64_frames(folder: Path) -> None:
    """Exported alone: 8,192 tokens attend at 9 GB a layer and more on ONNX Runtime.

    What one layer computes at this length is held against PyTorch in test_export_long_windows.py.
    """
    made = export_bundle(random_weights(paper(64)), folder / "paper", storage="fp16")
    check_parts(made, "fp16")
    manifest = Manifest.read(made.folder / "bundle.json")
    assert manifest.components["x_encoder"].outputs[0].shape == (1, 8192, 1024)


def test_hub_folders(folder: Path, cli: Cli) -> None:
    """What transformers saved, in BF16: stored in BF16 again, next to nothing is rounded."""
    hub = full_size_models.save_hub(folder / "hub")
    named = [word for part, at in hub.items() for word in ("--" + part.replace("_", "-"), str(at))]
    bundle = folder / "bundle"
    options = ("--frames", "8", "--weights", "bf16", "-o", bundle)
    result = cli("export", *named, *options, timeout=2400)
    assert result.returncode == 0, result.stderr
    rerun(bundle, cli, 0.9999)
    added = cli("query", "add", bundle, "what moves?", "--checkpoint", hub["predictor"])
    assert added.returncode == 0, added.stderr
    assert "what moves?" in cli("query", "list", bundle).stdout


def test_best_pt(folder: Path, cli: Cli) -> None:
    """The public VL-JEPA's layout, its X-Encoder in a folder beside it; phrases instead of text."""
    full_size_models.save_best_pt(folder / "best.pt")
    full_size_models.vjepa2().save_pretrained(folder / "vjepa2")
    small_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "labels.txt").write_text("a red cat\ntwo blue dogs\n")
    bundle = folder / "bundle"
    result = cli(
        *("export", folder / "best.pt", "--x-encoder", folder / "vjepa2", "-o", bundle),
        *("--tokenizer", folder / "tokenizer.json", "--phrases", folder / "labels.txt"),
        timeout=2400,
    )
    assert result.returncode == 0, result.stderr
    manifest = Manifest.read(bundle / "bundle.json")
    assert manifest.decoder is None and manifest.window.frames == 8
    rerun(bundle, cli, WORST["fp32"])
    added = cli("query", "add", bundle, "what moves?", "--checkpoint", folder / "best.pt")
    assert added.returncode == 0, added.stderr


@pytest.mark.parametrize("capability", ["SM86", "SM89"])
def test_tensorrt_builds_every_component(
    made: ExportedBundle, folder: Path, cli: Cli, capability: str
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT here: pip install tensorrt-rtx-cu13")
    options = ("--engine", "tensorrt", "--capability", capability, "-o", folder / "engines")
    result = cli("export", made.folder, *options, timeout=2400)
    assert result.returncode == 0, result.stderr
    assert "5 engines" in result.stdout


def test_tensorrt_layers_at_16_frames(folder: Path) -> None:
    """All of ViT-L's layers at full width; a plain export makes 16,386 of them."""
    trt = pytest.importorskip("tensorrt_rtx", reason="no TensorRT here")
    from vljepa_edge.export.components import component_graph
    from vljepa_edge.export.onnx_export import export_graph
    from vljepa_edge.export.origin import only
    from vljepa_edge.export.tensorrt_network import build, parse

    origin = random_weights(paper(16))
    model = only("x_encoder", origin.load("x_encoder"), origin.config)
    path = export_graph(
        "x_encoder", component_graph("x_encoder", model), origin.config, folder
    ).path
    del model
    for attention in (False, True):
        adapted = tensorrt_graph.for_tensorrt(ir.load(path), half=True, attention=attention)
        ir.save(adapted, folder / "adapted.onnx", external_data="adapted.data")
        for capability in ("SM86", "SM89"):
            parsed = parse(folder / "adapted.onnx", trt)
            assert parsed.layers <= 2000
            plan, _ = build(parsed, {}, capability=capability)
            assert len(plan) > 500_000_000  # the weights, in half
