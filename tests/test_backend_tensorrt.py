"""Backend "tensorrt" without TensorRT: which engines the core takes, and what it says of others.

The core's own side runs in tests/c/test_tensorrt.c; nothing here or there runs TensorRT's runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from vljepa_edge.export import pooling
from vljepa_edge.export.engines import builder as engines
from vljepa_edge.export.engines.ort import OrtBuilder
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.pack import pack
from vljepa_edge.export.tensorrt_graph import POOL, POOL_VERSION, for_tensorrt, strip_pool_body
from vljepa_edge.runtime.bundle import Bundle
from vljepa_edge.runtime.errors import BackendError, BundleError, VljepaError
from vljepa_edge.runtime.library import CACHE_ENVIRONMENT, TENSORRT_ENVIRONMENT
from vljepa_edge.runtime.model import load


@pytest.fixture(scope="module")
def folder(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("engines") / "e"
    engines.build_engines(tiny_bundle, made, OrtBuilder())
    return made


def rewrite(folder: Path, to: Path, *changes: tuple[str, str]) -> Path:
    """A copy of engines.key as TensorRT's, with some of its text changed."""
    text = (folder / engines.KEY).read_text(encoding="utf-8")
    lines = text.splitlines()
    text = "\n".join([lines[0], "tensorrt 10.3.0", "Orin sm87", *lines[3:]]) + "\n"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    to.mkdir(exist_ok=True)
    (to / engines.KEY).write_text(text, encoding="utf-8")
    return to


def refusal(bundle: Path, **options: Any) -> str:
    with pytest.raises(VljepaError) as caught:
        load(bundle, backend="tensorrt", **options)
    assert isinstance(caught.value, BackendError | BundleError)
    return str(caught.value)


def test_errors_name_the_backend_and_the_next_step(
    tiny_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TENSORRT_ENVIRONMENT, raising=False)
    assert "vljepa export BUNDLE --engine tensorrt" in refusal(tiny_bundle)
    assert "engines.key" in refusal(tiny_bundle, engines=tmp_path)
    assert "engines for ort 1." in refusal(tiny_bundle, engines=folder)
    changed = rewrite(folder, tmp_path / "c", ("x_encoder ", "x_encoder 0000"))
    assert "from another bundle" in refusal(tiny_bundle, engines=changed)
    # What follows is the right bundle: only the library is missing.
    right = rewrite(folder, tmp_path / "r")
    said = refusal(tiny_bundle, engines=right)
    assert 'backend "tensorrt" cannot be loaded: libvljepa_tensorrt.so' in said
    monkeypatch.setenv(TENSORRT_ENVIRONMENT, "/nowhere/libvljepa_tensorrt.so")
    assert "/nowhere/libvljepa_tensorrt.so" in refusal(tiny_bundle, engines=right)
    # A library of something else.
    monkeypatch.setenv(TENSORRT_ENVIRONMENT, np.linalg._umath_linalg.__file__)
    assert 'is not backend "tensorrt" of this version' in refusal(tiny_bundle, engines=right)


def test_an_image_has_the_same_sources(tiny_bundle: Path, folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "tiny.vlj"
    pack(tiny_bundle, image)
    with Bundle(tiny_bundle) as one, Bundle(image) as other:
        for name in one.components:
            digest = engines.sources_digest(one.sections, name)
            assert digest == engines.sources_digest(other.sections, name)
            assert digest in (folder / engines.KEY).read_text(encoding="utf-8")
    right = rewrite(folder, tmp_path / "r")
    assert "libvljepa_tensorrt.so" in refusal(image, engines=right)


def test_auto_falls_back(
    tiny_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path / "cache"))
    said: list[str] = []
    right = rewrite(folder, tmp_path / "r")
    with load(
        tiny_bundle,
        backend="auto",
        engines=right,
        components=["x_encoder", "predictor"],
        log=lambda level, message: said.append(message),
    ) as model:
        assert model.description.backend in ("auto: ort", "auto: openvino")
    reasons = [line for line in said if "passes over tensorrt" in line]
    assert len(reasons) == 2 and all("libvljepa_tensorrt.so" in line for line in reasons)
    # Without engines nobody reads about TensorRT.
    said.clear()
    load(tiny_bundle, backend="auto", components=["x_encoder", "predictor"], log=print).close()
    assert not any("tensorrt" in line for line in said)


# ---- the Predictor for the plug-in ----


def pools(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == pooling.NAME]


def test_the_body_goes_and_the_rest_stays(tiny_bundle: Path) -> None:
    path = tiny_bundle / "predictor.onnx"
    assert (POOL, POOL_VERSION) == ((pooling.DOMAIN, pooling.NAME), pooling.VERSION)
    own, stripped = ir.load(path), ir.load(path)
    assert len(own.functions) == 1 and strip_pool_body(stripped) == 1
    assert not stripped.functions
    (pool,) = pools(stripped)
    assert pool.attributes["plugin_version"].as_string() == "1"
    assert pool.attributes["plugin_namespace"].as_string() == "vljepa"

    def told(node: ir.Node) -> tuple[Any, ...]:
        attributes = {k: str(v) for k, v in node.attributes.items() if "plugin" not in k}
        names = [[v and v.name for v in side] for side in (node.inputs, node.outputs)]
        return node.domain, node.op_type, node.name, attributes, *names

    assert [told(n) for n in own.graph] == [told(n) for n in stripped.graph]
    assert list(own.graph.initializers) == list(stripped.graph.initializers)
    for name, value in own.graph.initializers.items():
        other = stripped.graph.initializers[name]
        assert value.const_value is not None and other.const_value is not None
        assert np.array_equal(value.const_value.numpy(), other.const_value.numpy())
    assert [v.name for v in own.graph.outputs] == [v.name for v in stripped.graph.outputs]
    # There is nothing left that could run in the plug-in's place.
    with pytest.raises(Exception, match=r"MaskedMeanPool.*is not a registered"):
        onnxruntime.InferenceSession(ir.to_proto(stripped).SerializeToString())


@pytest.mark.parametrize("half", [False, True])
def test_the_plugin_gets_float32(tiny_bundle: Path, half: bool) -> None:
    model = for_tensorrt(ir.load(tiny_bundle / "predictor.onnx"), half=half, pool_plugin=True)
    (pool,) = pools(model)
    assert [v.dtype for v in pool.inputs if v is not None] == [ir.DataType.FLOAT] * 4
    kinds = {node.op_type for node in model.graph}
    assert "ReduceL2" not in kinds  # the body's own, which nothing else has


def test_widths_that_the_kernels_refuse(tiny_bundle: Path) -> None:
    model = ir.load(tiny_bundle / "predictor.onnx")
    (pool,) = pools(model)
    weight = pool.inputs[2]
    assert weight is not None
    for shape, reason in (((6, 8), "multiples of 4"), ((8192, 8), "at most 4096")):
        weight.shape = ir.Shape(shape)
        with pytest.raises(ExportError, match=reason):
            strip_pool_body(model)


def test_tensorrt_looks_for_the_plugin(tiny_bundle: Path, tmp_path: Path) -> None:
    """Its parser takes the node for a plug-in, which nobody has loaded here."""
    trt = pytest.importorskip(
        "tensorrt_rtx", reason="no TensorRT here: pip install 'vljepa-edge[tensorrt-test]'"
    )
    from vljepa_edge.export.engines.tensorrt import TensorrtBuilder
    from vljepa_edge.export.tensorrt_network import load_plugins, parse

    model = for_tensorrt(ir.load(tiny_bundle / "predictor.onnx"), pool_plugin=True)
    ir.save(model, tmp_path / "predictor.onnx")
    with pytest.raises(ExportError, match=r"\(MaskedMeanPool\): .*Plugin not found"):
        parse(tmp_path / "predictor.onnx", trt)
    with pytest.raises(ExportError, match="no library of TensorRT plug-ins"):
        load_plugins(trt, Path("/nowhere/libvljepa_tensorrt.so"))
    with pytest.raises(ExportError, match="has no plug-in layers"):
        TensorrtBuilder(capability="SM86", pool_plugin=tmp_path / "x.so")
