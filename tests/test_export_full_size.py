"""The paper's model at full size: exported on this machine, rerun by the C core, watched with.

Run by `make test-all`, or pytest -m full_size. About 7 GB of disk and 6 GiB of memory.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from conftest import Cli
from vljepa_edge.export.export_bundle import ExportedBundle, export_bundle
from vljepa_edge.export.graph_passes import ALLOWED_OPERATORS
from vljepa_edge.export.manifest import Manifest
from vljepa_edge.export.origin import random_weights
from vljepa_edge.model.config import paper

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1800)]

FRAMES = 8
SPARE_BYTES = 3 << 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ExportedBundle:
    folder = tmp_path_factory.mktemp("paper") / "paper"
    return export_bundle(random_weights(paper(FRAMES)), folder)


def test_memory_and_nodes(made: ExportedBundle) -> None:
    """The memory of a component's process: its FP32 size and 3 GiB."""
    assert list(made.parts) == ["x_encoder", "predictor", "y_encoder", "y_decoder"]
    for part in made.parts.values():
        size = sum(
            file.bytes
            for component in part.components.values()
            for file in (component, *component.external_data)
        )
        assert part.peak_bytes <= size + SPARE_BYTES, (part.part, part.peak_bytes, size)
        for operators in part.operators.values():
            assert set(operators) <= ALLOWED_OPERATORS
    assert made.parts["x_encoder"].nodes["x_encoder"] <= 1000


def test_what_is_in_the_folder(made: ExportedBundle) -> None:
    manifest = Manifest.read(made.folder / "bundle.json")
    assert manifest.token_embeddings == ("y_decoder",)  # Llama's table stays behind
    for name in ("x_encoder", "predictor", "y_encoder", "y_decoder"):
        component = manifest.components[name]
        assert [file.file for file in component.external_data] == [f"{name}.onnx.data"]
        assert component.bytes < 5_000_000
        onnx.checker.check_model(made.folder / component.file)


def test_the_core_gives_the_reference(made: ExportedBundle, cli: Cli) -> None:
    result = cli("doctor", made.folder, "--json", timeout=900)
    assert result.returncode == 0, result.stderr
    found = {one["name"]: one["cosine"] for one in json.loads(result.stdout)["results"]}
    assert {"x_encoder/visual_tokens", "predictor/predicted_embedding"} <= set(found)
    assert min(found.values()) >= 0.99999, found


def test_watching(made: ExportedBundle, cli: Cli) -> None:
    clip = Path(__file__).parent.parent / "examples" / "clips" / "demo.mp4"
    result = cli(
        "run",
        clip,
        "--bundle",
        made.folder,
        "--json",
        "--embeddings",
        "--max-frames",
        "32",
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum(event["type"] == "embedding" for event in events) >= 2
