"""inspect, doctor, pack, query, export and train through the real command line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_PHRASES, Cli
from vljepa_edge.runtime.library import find_openvino


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_help_and_version(cli: Cli) -> None:
    listed = cli("--help").stdout
    for verb in ("run", "inspect", "doctor", "pack", "query", "export", "train"):
        assert f"\n  {verb} " in listed
        assert cli(verb, "--help").returncode == 0
    version = (Path(__file__).parent.parent / "VERSION").read_text().strip()
    assert cli("--version").stdout.strip() == f"vljepa {version}"


def test_inspect(cli: Cli, tiny_bundle: Path) -> None:
    found = json.loads(cli("inspect", tiny_bundle, "--json").stdout)
    assert found["manifest"]["name"] == "tiny"
    for section in found["sections"]:
        if section["file"]:
            content = (tiny_bundle / section["file"]).read_bytes()
            assert section["size"] == len(content)
            assert section["sha256"] == hashlib.sha256(content).hexdigest()
    text = cli("inspect", tiny_bundle, "--verify").stdout
    for word in ("hashes match", "x_encoder.onnx", "ward_threshold", "'What moves?'", "labels: 3"):
        assert word in text


def test_doctor_agrees(cli: Cli, tiny_bundle: Path) -> None:
    result = cli("doctor", tiny_bundle, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    names = {r["name"].split("/")[0] for r in found["results"]}
    assert names >= {
        "x_encoder",
        "predictor",
        "y_encoder",
        "y_decoder_prefix",
        "y_decoder",
        "chain",
    }
    for entry in found["results"]:
        assert entry["cosine"] > 0.99999 and entry["max_abs"] < 1e-4
    assert "wanted" not in str(found["results"][-1]["detail"])  # the decoded text is the same
    assert "onnxruntime" in found["environment"]["onnxruntime"]
    assert "all" in cli("doctor", tiny_bundle).stdout


def test_doctor_of_another_backend(cli: Cli, tiny_bundle: Path) -> None:
    asked = cli("doctor", tiny_bundle, "--backend", "openvino", "--threads", 1, "--json")
    if find_openvino() is None:
        assert asked.returncode == 1 and "openvino" in asked.stderr
        return
    assert asked.returncode == 0 and json.loads(asked.stdout)["backend"] == "openvino"
    assert cli("doctor", tiny_bundle, "--backend", "abacus").returncode == 2


def test_doctor_finds_a_difference(cli: Cli, bundle: Path) -> None:
    from vljepa_edge.export.bundle import finish, record, stored_sections
    from vljepa_edge.export.manifest import Manifest
    from vljepa_edge.export.sections import INSIDE, Kind
    from vljepa_edge.runtime.bundle import Bundle

    with Bundle(bundle) as opened:
        inner = stored_sections(bundle, opened, INSIDE - {Kind.CONFIG})
    golden = bundle / "golden.npz"
    with np.load(golden) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["predictor/predicted_embedding"][0] *= -1
    np.savez(golden, **arrays)
    manifest = dataclasses.replace(Manifest.read(bundle / "bundle.json"), golden=record(golden))
    finish(bundle, manifest, inner)
    result = cli("doctor", bundle)
    assert result.returncode == 1
    assert "predictor/predicted_embedding" in result.stderr
    assert "Traceback" not in result.stderr


def test_image_gives_the_same_events(
    cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    image = tmp_path / "tiny.vlj"
    packed = cli("pack", tiny_bundle, "-o", image, "--firmware")
    assert packed.returncode == 0, packed.stderr
    runs = [cli("run", clip, "-b", path, "--json", "--embeddings") for path in (tiny_bundle, image)]
    assert runs[1].returncode == 0, runs[1].stderr
    assert runs[0].stdout == runs[1].stdout
    again = cli("pack", tiny_bundle, "-o", image)
    assert again.returncode == 2 and "exists" in again.stderr
    # Firmware images know their compiled queries alone.
    other = cli("run", clip, "-b", image, "-q", "something new")
    assert other.returncode == 2 and "no tokenizer" in other.stderr


def test_query_add(cli: Cli, bundle: Path, clip: Path, tmp_path: Path) -> None:
    text = "Which way does it turn?"
    added = cli("query", "add", bundle, text, "What moves?")
    assert added.returncode == 0, added.stderr
    assert f"{text}: added" in added.stdout and "What moves?: was there already" in added.stdout
    assert text in cli("query", "list", bundle).stdout
    # Compiled on the device or in advance, it is the same query.
    image = tmp_path / "with.vlj"
    cli("pack", bundle, "-o", image, "--firmware")
    options = ("--json", "--embeddings", "-q", text)
    runs = [cli("run", clip, "-b", path, *options) for path in (image, bundle)]
    assert runs[0].returncode == 0 and runs[0].stdout == runs[1].stdout
    assert cli("query", "add", bundle, " ").returncode == 2


def test_export(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    phrases = tmp_path / "labels.txt"
    phrases.write_text("\n".join(TINY_PHRASES) + "\n\n")
    out = tmp_path / "bundle"
    result = cli("export", tiny_checkpoint, "-o", out, "-q", "What moves?", "--phrases", phrases)
    assert result.returncode == 0, result.stderr
    assert cli("doctor", out).returncode == 0
    assert cli("export", tiny_checkpoint, "-o", out).returncode == 2  # it exists
    missing = cli("export", tmp_path / "nowhere", "-o", tmp_path / "other")
    assert missing.returncode == 2 and "nowhere" in missing.stderr


def test_missing_extra(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    without = {"PYTHONPATH": str(Path(__file__).parent / "without_torch")}
    result = cli("export", tiny_checkpoint, "-o", tmp_path / "out", env=without)
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "vljepa: this command needs torch; pip install 'vljepa-edge[export]'"
    )


def test_train_resumes_and_exports(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    result = cli("train", folder, "--scale", "0.0001", "--workers", "0", timeout=280)
    assert result.returncode == 0, result.stderr
    assert (folder / "model.safetensors").exists()
    again = cli("train", folder, "--scale", "0.0001", "--workers", "0", timeout=280)
    assert again.returncode == 0 and "stage" not in again.stdout  # all of it is done
