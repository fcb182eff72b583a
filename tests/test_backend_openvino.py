"""Backends "openvino" and "auto": the same results as "ort", errors that name backend and op."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from vljepa_edge.runtime.errors import BackendError, BundleError
from vljepa_edge.runtime.golden import read_golden, rerun
from vljepa_edge.runtime.library import CACHE_ENVIRONMENT, OPENVINO_OPS_ENVIRONMENT, find_openvino
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.runtime.options import StreamOptions
from vljepa_edge.runtime.queries import Query
from vljepa_edge.runtime.session import Session

pytestmark = pytest.mark.skipif(
    find_openvino() is None, reason="the openvino wheel is not installed (extra [openvino])"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(folder))
    return folder


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 40, 60, 3), dtype=np.uint8)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def compare(model: Model, reference: Model, frames: np.ndarray, least: float) -> None:
    for query in ("What is happening?", "What moves?"):
        assert (
            cosine(model.embed_video(frames, query), reference.embed_video(frames, query)) > least
        )
    texts = ["a red apple falls", "nothing moves", "a"]  # the length changes from text to text
    for ours, theirs in zip(model.embed_text(texts), reference.embed_text(texts), strict=True):
        assert cosine(ours, theirs) > least


def test_golden_vectors_come_out_again(tiny_bundle: Path) -> None:
    with load(tiny_bundle, backend="openvino", threads=1) as model:
        assert model.description.backend == "openvino"
        results = list(rerun(model, read_golden(tiny_bundle)))
    assert len(results) >= 8
    assert all(r.cosine > 0.99999 and r.max_abs < 1e-4 for r in results)


def test_same_results_as_ort(tiny_bundle: Path, frames: np.ndarray) -> None:
    with load(tiny_bundle, backend="openvino") as model, load(tiny_bundle) as reference:
        compare(model, reference, frames, 0.99999)
        embedding = reference.embed_video(frames)
        ours, theirs = model.decode(embedding), reference.decode(embedding)
        assert (ours.text, ours.tokens) == (theirs.text, theirs.tokens)
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-4)


def test_bfloat16_is_an_option(tiny_bundle: Path, frames: np.ndarray) -> None:
    with (
        load(tiny_bundle, backend="openvino", float_precision="bfloat16") as model,
        load(tiny_bundle) as reference,
    ):
        compare(model, reference, frames, 0.99)
    # What is kept of one precision isn't taken for another: it once gave NaN, and worse.
    for precision, least in (("float32", 0.99999), ("bfloat16", 0.99), ("float32", 0.99999)):
        with load(tiny_bundle, backend="openvino", float_precision=precision) as model:
            results = list(rerun(model, read_golden(tiny_bundle)))
        assert all(r.cosine > least and r.max_abs < 0.2 for r in results), precision


def test_compiled_models_are_kept(tiny_bundle: Path, own_cache: Path) -> None:
    load(tiny_bundle, backend="openvino", components=["x_encoder"]).close()
    kept = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.blob")}
    assert kept
    with load(tiny_bundle, backend="openvino", components=["x_encoder"]) as model:
        assert model.has("x_encoder")
    assert {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.blob")} == kept


@pytest.mark.parametrize("backend", ["openvino", "auto"])
def test_a_stream_has_its_shape_compiled(
    tiny_bundle: Path, own_cache: Path, frames: np.ndarray, backend: str
) -> None:
    def programs() -> int:
        return len(list(own_cache.rglob("*.blob")))

    def queries(count: int, tokens: int) -> list[Query]:
        rows = np.random.default_rng(1).normal(size=(count, tokens, width)).astype(np.float32)
        return [Query(f"{number}", one) for number, one in enumerate(rows)]

    options = StreamOptions(text="none")
    load(tiny_bundle, backend=backend).close()
    for kept in own_cache.glob("auto-*"):
        kept.write_text("openvino")
    with load(tiny_bundle, backend=backend) as model:
        width = model.queries[0].embeddings.shape[1]
        tokens = model.encode_window(model.window(list(frames)))
        before = programs()
        asked = [
            queries(1, 3),
            queries(2, 3),
            queries(1, 5),
            queries(3, 2),
            queries(2, 6),
            queries(1, 3),
        ]
        general = [model.predict(tokens, one).copy() for one in asked]
        assert programs() == before  # direct calls compile nothing
        for number, (one, expected) in enumerate(zip(asked, general, strict=True)):
            with Session(model, one, options):  # the fifth shape takes the first one's place
                np.testing.assert_allclose(model.predict(tokens, one), expected, atol=1e-5)
            assert programs() == before + min(number + 1, 5)  # the sixth comes from the cache
        for one, expected in zip(asked, general, strict=True):
            np.testing.assert_allclose(model.predict(tokens, one), expected, atol=1e-5)


def test_auto_keeps_the_winner(tiny_bundle: Path, frames: np.ndarray, own_cache: Path) -> None:
    lines: list[str] = []
    with load(tiny_bundle, backend="auto", log=lambda _, line: lines.append(line)) as model:
        chosen = model.description.backend
        assert chosen in ("auto: openvino", "auto: ort")
        with load(tiny_bundle) as reference:
            compare(model, reference, frames, 0.99999)
    timed = [line for line in lines if line.startswith("auto: x_encoder on ")]
    assert len(timed) == 2 and all(line.endswith(" ms") for line in timed)
    kept = sorted(own_cache.glob("auto-*"))
    assert len(kept) == 5  # one per component
    lines.clear()
    with load(tiny_bundle, backend="auto", log=lambda _, line: lines.append(line)) as model:
        assert model.description.backend == chosen
    assert not lines
    # What is kept decides; nonsense in it doesn't.
    for path in kept:
        path.write_text("ort" if "x_encoder" in path.name else "nonsense")
    with load(tiny_bundle, backend="auto", log=lambda _, line: lines.append(line)) as model:
        assert model.description.backend == "auto: ort"
    assert lines and not [line for line in lines if "x_encoder" in line]


def test_auto_tries_again_with_other_operators(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """A library of operators that appears, or is built anew, may change which backend is faster."""
    library = tmp_path / "ops.so"

    def trials() -> int:
        load(tiny_bundle, backend="auto", components=["predictor"]).close()
        return len(list(own_cache.glob("auto-*")))

    assert trials() == trials() == 1
    monkeypatch.setenv(OPENVINO_OPS_ENVIRONMENT, str(library))
    assert trials() == 1  # it isn't there
    library.write_bytes(b"one")
    assert trials() == trials() == 2
    library.write_bytes(b"another")
    assert trials() == 3


def test_auto_falls_back(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setenv("VLJEPA_OPENVINO_LIBRARY", "/nowhere/libopenvino_c.so")
    lines: list[str] = []
    with load(tiny_bundle, backend="auto", log=lambda _, line: lines.append(line)) as model:
        assert model.description.backend == "auto: ort"
    assert any("passes over openvino: cannot load OpenVINO" in line for line in lines)
    monkeypatch.setenv("VLJEPA_ORT_LIBRARY", "/nowhere/libonnxruntime.so")
    shutil.rmtree(own_cache)
    with pytest.raises(
        BackendError, match=r"no backend runs component x_encoder: openvino: .*; ort:"
    ):
        load(tiny_bundle, backend="auto")


def test_a_missing_library(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLJEPA_OPENVINO_LIBRARY", "/nowhere/libopenvino_c.so")
    with pytest.raises(BackendError, match=r"cannot load OpenVINO: .*openvino_library"):
        load(tiny_bundle, backend="openvino")
    monkeypatch.setenv("VLJEPA_OPENVINO_LIBRARY", "libc.so.6")
    with pytest.raises(BackendError, match=r"libc\.so\.6 is not OpenVINO's C library: it has no"):
        load(tiny_bundle, backend="openvino")


@pytest.fixture
def changed_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "changed"
    shutil.copytree(tiny_bundle, folder)
    return folder


def rename(path: Path, old: bytes, new: bytes) -> None:
    """In place and of equal length, so that the index still gives the right size."""
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def test_an_unknown_op_is_named(changed_bundle: Path) -> None:
    rename(changed_bundle / "x_encoder.onnx", b"Softmax", b"Sparkle")
    with pytest.raises(BackendError, match=r"component x_encoder .*OpenVINO: .*Sparkle"):
        load(changed_bundle, backend="openvino", verify_hashes=False)
    with pytest.raises(BackendError, match=r"openvino: .*Sparkle.*ort: .*Sparkle"):
        load(changed_bundle, backend="auto", verify_hashes=False)


def test_a_model_of_another_version(changed_bundle: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = changed_bundle / "x_encoder.onnx"
    model, size = onnx.load(path), path.stat().st_size
    ours, model.ir_version = model.ir_version, 99
    path.write_bytes(model.SerializeToString())
    assert path.stat().st_size == size  # so that the index still gives the right one
    message = r"component x_encoder in x_encoder.onnx: ONNX Runtime: Unsupported model IR version"
    with pytest.raises(BackendError, match=message):
        load(changed_bundle, verify_hashes=False)
    # OpenVINO reads it all the same, so auto goes on with that.
    only = ["x_encoder", "predictor"]
    with load(changed_bundle, backend="auto", verify_hashes=False, components=only) as opened:
        assert opened.description.backend == "auto: openvino"
    model = onnx.load(path)
    model.ir_version = ours
    next(one for one in model.opset_import if not one.domain).version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match=r"x_encoder.onnx: ONNX Runtime: .*[Oo]pset 99"):
        load(changed_bundle, verify_hashes=False)


def test_a_misfit_is_named(changed_bundle: Path) -> None:
    rename(changed_bundle / "predictor.onnx", b"query_mask", b"query_musk")
    message = r'component predictor .*: there is no input "query_mask"; it has .*query_musk'
    with pytest.raises(BundleError, match=message):
        load(changed_bundle, backend="openvino", verify_hashes=False)
