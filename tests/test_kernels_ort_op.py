"""The custom op library: ONNX Runtime really runs it, and the result is the function body's."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from native import ROOT
from onnx import TensorProto, helper
from vljepa_edge.export.pooling import DOMAIN, NAME, function_body

OPSET = 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ops") / "libvljepa_ort_ops.so"
    folders = (ROOT / "kernels" / "ort", ROOT / "kernels" / "ort" / "library", ROOT / "kernels")
    sources = [path for folder in folders for path in sorted(folder.glob("*.c"))]
    include = [f"-I{ROOT / part}" for part in ("kernels", "kernels/ort", "runtime/backends")]
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *flags, *include, *sources, "-o", path, "-lm"], check=True)
    return path


def model() -> bytes:
    """One call of the op, with its body."""
    names = ("hidden", "mask", "weight", "bias")
    shapes = (["b", "m", "w"], ["b", "m"], ["w", "e"], ["e"])
    graph = helper.make_graph(
        [helper.make_node(NAME, names, ["embedding"], domain=DOMAIN)],
        "pool",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=True)
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", "e"])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=[function_body(OPSET)])
    made.ir_version = 9
    serialized: bytes = made.SerializeToString()
    return serialized


def session(library: Path | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if library is not None:
        options.register_custom_ops_library(str(library))
    return ort.InferenceSession(model(), options, providers=["CPUExecutionProvider"])


def inputs(batch: int, tokens: int, width: int, embedding: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch * 1000 + tokens)
    mask = (np.arange(tokens) < random.integers(1, tokens + 1, (batch, 1))).astype(np.float32)
    shapes = {
        "hidden": (batch, tokens, width),
        "weight": (width, embedding),
        "bias": (embedding,),
    }
    made = {k: random.normal(size=v).astype(np.float32) for k, v in shapes.items()}
    return {**made, "mask": mask}


def test_the_library_runs_and_gives_the_same(library: Path) -> None:
    runs = ctypes.CDLL(str(library)).vljepa_ort_ops_runs
    runs.restype = ctypes.c_ulonglong
    with_library, without = session(library), session(None)
    for shape in ((1, 40, 32, 16), (3, 7, 65, 33), (2, 1, 8, 8)):
        given = inputs(*shape)
        before = runs()
        (ours,) = with_library.run(None, given)
        assert runs() == before + 1
        (body,) = without.run(None, given)
        assert runs() == before + 1
        np.testing.assert_allclose(ours, body, atol=2e-6)
        mask = given["mask"].astype(np.float64)
        mean = (given["hidden"] * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        exact = mean @ given["weight"].astype(np.float64) + given["bias"]
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        np.testing.assert_allclose(ours, exact, atol=2e-6)


def test_a_misfit_is_an_error(library: Path) -> None:
    given = inputs(2, 5, 8, 4)
    given["mask"] = given["mask"][:, :4]
    message = r"hidden \[2,5,8\] doesn't go with mask \[2,4\]"
    with pytest.raises(Exception, match=message):
        session(library).run(None, given)


def test_it_takes_the_place_of_a_bundles_function(library: Path, tiny_bundle: Path) -> None:
    path = tiny_bundle / "predictor.onnx"
    assert [f.name for f in onnx.load(path, load_external_data=False).functions] == [NAME]
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(library))
    runs = ctypes.CDLL(str(library)).vljepa_ort_ops_runs
    runs.restype = ctypes.c_ulonglong
    random = np.random.default_rng(0)
    found = []
    for chosen in (options, ort.SessionOptions()):
        opened = ort.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])
        if not found:
            given = {
                i.name: random.normal(
                    size=[d if isinstance(d, int) else 2 for d in i.shape]
                ).astype(np.float32)
                for i in opened.get_inputs()
            }
            given["query_mask"] = np.array([[1, 1], [1, 0]], np.float32)
        before = runs()
        found.append((opened.run(None, given)[0], runs() - before))
    assert [count for _, count in found] == [1, 0]
    np.testing.assert_allclose(found[0][0], found[1][0], atol=2e-6)
