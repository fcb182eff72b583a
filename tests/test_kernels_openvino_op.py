"""Attention as one node: what is found in graphs, same results; and OpenVINO running our nodes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from native import ROOT, supported_isas
from onnx import helper, numpy_helper
from vljepa_edge.runtime.errors import BackendError
from vljepa_edge.runtime.library import (
    CACHE_ENVIRONMENT,
    OPENVINO_OPS_ENVIRONMENT,
    find_openvino,
)
from vljepa_edge.runtime.model import Model, load

COMPILER = os.environ.get("CXX", "c++")
Fuse = Callable[..., tuple[onnx.ModelProto, int]]

needs_amx = pytest.mark.skipif("amx" not in supported_isas(), reason="no AMX with BF16 here")
needs_openvino = pytest.mark.skipif(
    find_openvino() is None, reason="the openvino wheel is not installed (extra [openvino])"
)


# ---- the rewriting, without OpenVINO ----


class Fused(ctypes.Structure):
    """vlj_fused_onnx"""

    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("owned", ctypes.c_void_p),
        ("count", ctypes.c_uint32),
    ]


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Fuse:
    """vlj_onnx_fuse_attention of a model: the new one, and how many nodes were put in."""
    path = tmp_path_factory.mktemp("fuse") / "libfuse.so"
    sources = [
        ROOT / f"runtime/backends/onnx_{name}.c" for name in ("attention", "graph", "rewrite")
    ]
    sources += [ROOT / f"runtime/core/{name}.c" for name in ("error", "hooks")]
    include = [f"-I{ROOT / 'runtime' / part}" for part in ("include", "core", "backends")]
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O1", "-fPIC", "-shared", *include]
    subprocess.run([*command, *sources, "-o", path], check=True)
    library = ctypes.CDLL(str(path))

    def run(model: onnx.ModelProto, width: int = 64) -> tuple[onnx.ModelProto, int]:
        host, fused = ctypes.create_string_buffer(4096), Fused()
        content = model.SerializeToString()
        assert library.vlj_host_init(host, None) == 0
        status = library.vlj_onnx_fuse_attention(
            host, content, ctypes.c_size_t(len(content)), width, ctypes.byref(fused)
        )
        assert status == 0
        made = onnx.load_from_string(ctypes.string_at(fused.bytes, fused.size))
        library.vlj_onnx_fused_free(host, ctypes.byref(fused))
        return made, fused.count

    return run


def calls(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "RotaryAttention"]


def spelled_out(model: onnx.ModelProto, width: int) -> onnx.ModelProto:
    """Each RotaryAttention in operators, from its inputs and attributes alone."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    constants: dict[str, list[int]] = {}
    for node in model.graph.node:
        if node.op_type != "RotaryAttention":
            made.graph.node.append(node)
            continue
        assert node.domain == "vljepa"
        given = {one.name: one.i for one in node.attribute}
        heads, kv = given["heads"], given["kv_heads"]
        qkv, cosine, sine, *rest = node.input
        at = node.output[0] + "/"

        def ints(*values: int) -> str:
            name = "ints" + "_".join(map(str, values))
            constants[name] = list(values)
            return name

        def add(
            op: str, inputs: list[str], *outputs: str, at: str = at, **attributes: object
        ) -> None:
            named = [at + one for one in outputs]
            taken = [at + one[1:] if one.startswith("%") else one for one in inputs]
            made.graph.node.append(helper.make_node(op, taken, named, **attributes))

        add("Reshape", [qkv, ints(0, 0, heads + 2 * kv, width)], "x")
        add("Transpose", ["%x"], "t", perm=[0, 2, 1, 3])
        add("Split", ["%t", ints(heads + kv, kv)], "qk", "v", axis=1)
        add("Split", ["%qk"], "low", "high", axis=3, num_outputs=2)
        add("Concat", ["%high", "%low"], "swapped", axis=-1)
        add("Mul", ["%qk", cosine], "straight")
        add("Mul", ["%swapped", sine], "turned")
        add("Add", ["%straight", "%turned"], "rotated")
        add("Split", ["%rotated", ints(heads, kv)], "q", "k", axis=1)
        add("Reshape", ["%q", ints(0, kv, -1, width)], "grouped")
        add("Transpose", ["%k"], "kt", perm=[0, 1, 3, 2])
        add("MatMul", ["%grouped", "%kt"], "scores")
        if given["masked"]:
            add("Add", ["%scores", rest.pop(0)], "masked")
        add("Softmax", ["%masked" if given["masked"] else "%scores"], "weights", axis=-1)
        add("MatMul", ["%weights", "%v"], "mixed")
        add("Reshape", ["%mixed", ints(0, heads, -1, width)], "heads")
        add("Transpose", ["%heads"], "back", perm=[0, 2, 1, 3])
        add("Reshape", ["%back", ints(0, 0, heads * width)], "merged")
        if given["quantised"]:
            zero = at + "zero"
            made.graph.initializer.append(numpy_helper.from_array(np.int8(0), zero))
            add("QuantizeLinear", ["%merged", rest.pop(0), zero], "out")
        made.graph.node[-1].output[0] = node.output[0]
        assert not rest
    for name, values in constants.items():
        array = np.array(values, np.int64)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(made)
    return made


def results(model: onnx.ModelProto) -> list[np.ndarray]:
    """Outputs for noise, by ONNX Runtime without its rewriting: both sides the same operators."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    random = np.random.default_rng(0)
    fed = {}
    for one in session.get_inputs():
        shape = [d if isinstance(d, int) else 3 for d in one.shape]
        if one.type == "tensor(uint8)":
            fed[one.name] = random.integers(0, 256, shape, dtype=np.uint8)
        else:
            fed[one.name] = random.normal(size=shape).astype(np.float32)
        if one.name == "query_mask":
            fed[one.name] = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], np.float32)
    found: list[np.ndarray] = session.run(None, fed)
    return found


def graph(bundle: Path, component: str) -> onnx.ModelProto:
    return onnx.load(bundle / f"{component}.onnx")


@pytest.mark.parametrize(("component", "layers"), [("x_encoder", 6), ("predictor", 3)])
def test_results_are_the_same_to_the_bit(
    fuse: Fuse, nano_bundle: Path, component: str, layers: int
) -> None:
    model = graph(nano_bundle, component)
    fused, count = fuse(model)
    assert count == len(calls(fused)) == layers
    assert all({a.name: a.i for a in one.attribute}["quantised"] == 1 for one in calls(fused))
    assert not [node for node in fused.graph.node if node.op_type == "Softmax"]
    for ours, theirs in zip(results(spelled_out(fused, 64)), results(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("component", ["x_encoder", "predictor"])
def test_full_precision_and_another_width(fuse: Fuse, tiny_bundle: Path, component: str) -> None:
    model = graph(tiny_bundle, component)
    integers = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    width = next(  # of a head, from the first Reshape into heads
        int(integers[node.input[1]][3])
        for node in model.graph.node
        if node.op_type == "Reshape" and integers[node.input[1]].size == 4
    )
    fused, count = fuse(model, width)
    assert count == len(calls(fused)) > 0
    assert fuse(model, width + 2)[1] == 0
    for ours, theirs in zip(results(spelled_out(fused, width)), results(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_components_stay(fuse: Fuse, nano_bundle: Path) -> None:
    for component in ("y_encoder", "y_decoder", "y_decoder_prefix"):
        model = graph(nano_bundle, component)
        made, count = fuse(model)
        assert count == 0 and made == model


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def changed(model: onnx.ModelProto, gone: set[str]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """`model` with one thing different about a node that gives one of these values, in turn."""
    integers = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT64}
    for i, node in enumerate(model.graph.node):
        if node.output[0] not in gone:
            continue
        for op, domain in (("Sub", ""), ("Relu", ""), (node.op_type, "elsewhere")):
            made = copy_of(model)
            made.graph.node[i].op_type, made.graph.node[i].domain = op, domain
            yield f"{node.output[0]} is {domain} {op}", made
        for k, attribute in enumerate(node.attribute):
            made = copy_of(model)
            one = made.graph.node[i].attribute[k]
            one.i += 1
            one.ints[:] = [*one.ints[1:], *one.ints[:1]]
            yield f"{node.output[0]}.{attribute.name}", made
        for name in node.output:
            made = copy_of(model)
            made.graph.output.append(onnx.ValueInfoProto(name=name))
            yield f"{name} is an output too", made
        for k, name in enumerate(node.input):
            if name in integers:
                made = copy_of(model)
                array = numpy_helper.to_array(integers[name]).copy()
                array.flat[-1] += 1
                made.graph.initializer.append(numpy_helper.from_array(array, "other"))
                made.graph.node[i].input[k] = "other"
                yield f"{node.output[0]} takes {array}", made
    made = copy_of(model)
    next(one for one in made.opset_import if not one.domain).version = 17
    yield "an older operator set", made


@pytest.mark.parametrize(
    ("component", "prefix"), [("x_encoder", "blocks.2."), ("predictor", "layers.1")]
)
def test_anything_unexpected_is_left_alone(
    fuse: Fuse, nano_bundle: Path, component: str, prefix: str
) -> None:
    model = graph(nano_bundle, component)
    for one in model.graph.initializer:  # weights, which nobody reads here
        if len(one.raw_data) > 64:
            one.raw_data = b""
    fused, whole = fuse(model)
    left = {name for node in fused.graph.node for name in node.output}
    gone = {n.output[0] for n in model.graph.node if not left.intersection(n.output)}
    # What a quantiser takes may be taken by others too: then it just stays outside.
    gone -= {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    tried = 0
    for what, made in changed(model, {name for name in gone if name.startswith(prefix)}):
        assert fuse(made)[1] < whole, what
        tried += 1
    assert tried > 60


# ---- OpenVINO running it ----


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libvljepa_openvino_ops.so as CMake builds it, or a skip with the reason."""
    found = find_openvino()
    wheel = Path(found).parent.parent if found else Path()
    if not (wheel / "include" / "openvino").is_dir():
        pytest.skip("no OpenVINO with its headers here")
    if shutil.which(COMPILER) is None:
        pytest.skip(f"no C++ compiler ({COMPILER})")
    folder = tmp_path_factory.mktemp("operators")
    path = folder / "libvljepa_openvino_ops.so"
    kernels = ROOT / "kernels"
    flags = ["-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", f"-I{kernels}"]
    objects = []
    families = (*sorted(kernels.glob("attention*.c")), *sorted(kernels.glob("linear*.c")))
    for source in (*families, kernels / "isa.c"):
        objects.append(folder / f"{source.stem}.o")
        compiler = [os.environ.get("CC", "cc"), "-std=gnu11", "-ffp-contract=off"]
        subprocess.run([*compiler, *flags, "-c", source, "-o", objects[-1]], check=True)
    compiler = [COMPILER, "-std=c++17", "-shared", "-DIMPLEMENT_OPENVINO_EXTENSION_API"]
    libraries = [next((wheel / "libs").glob(f"lib{name}.so*")) for name in ("openvino", "tbb")]
    sources = sorted((kernels / "openvino").glob("*.cpp"))
    include = ["-isystem", wheel / "include"]
    command = [*compiler, *flags, *include, *sources, *objects, *libraries, "-lm", "-o", path]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path / "cache"))
    monkeypatch.delenv(OPENVINO_OPS_ENVIRONMENT, raising=False)


@pytest.fixture
def runs(operators: Path) -> Callable[[], int]:
    """How often our operators have run in this process."""
    ctypes.CDLL(str(find_openvino()))  # the OpenVINO that it needs, which it doesn't look for
    counter = ctypes.CDLL(str(operators)).vljepa_openvino_ops_runs
    counter.restype = ctypes.c_ulonglong

    def count() -> int:
        return int(counter())

    return count


def opened(bundle: Path, **options: object) -> Model:
    components = ["x_encoder", "predictor"]
    return load(bundle, backend="openvino", threads=1, components=components, **options)


FRAMES = np.random.default_rng(0).integers(0, 256, (8, 144, 160, 3), dtype=np.uint8)
TEXTS = ("What is happening?", "What is this?")


@needs_openvino
@needs_amx
def test_operators_run_in_place_of_attention_and_linear_maps(
    operators: Path,
    runs: Callable[[], int],
    nano_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(nano_bundle, own_ops=False) as plain, load(nano_bundle) as reference:
        queries = reference.queries
        exact = reference.predict(reference.encode_window(window(reference)), queries)
        before = runs()
        theirs = plain.predict(plain.encode_window(window(plain)), queries)
        assert runs() == before
    monkeypatch.setenv(OPENVINO_OPS_ENVIRONMENT, str(operators))
    for _ in range(2):  # the second time compiled models come from the cache
        with opened(nano_bundle) as model:
            before = runs()
            ours = model.predict(model.encode_window(window(model)), queries)
            assert runs() == before + (6 + 25) + (3 + 13)  # attention, and all INT8 products
        assert least_cosine(ours, theirs) > 0.9995
        assert least_cosine(ours, exact) > 0.9995
    with opened(nano_bundle, own_ops=False) as plain:
        before = runs()
        again = plain.predict(plain.encode_window(window(plain)), queries)
        assert runs() == before
        np.testing.assert_allclose(again, theirs, atol=1e-3)


def window(model: Model) -> np.ndarray:
    made: np.ndarray = model.window(list(FRAMES))
    return made


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum(axis=-1).min())  # both of unit length


@needs_openvino
@needs_amx
def test_it_is_for_bfloat16(
    operators: Path,
    runs: Callable[[], int],
    nano_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPENVINO_OPS_ENVIRONMENT, str(operators))
    with opened(nano_bundle, float_precision="float32") as model:
        before = runs()
        model.embed_video(FRAMES, TEXTS[0])
        assert runs() == before


@needs_openvino
@needs_amx
def test_it_is_found_beside_the_core(operators: Path, nano_bundle: Path, tmp_path: Path) -> None:
    """A tree of links in which the library lies in the runtime's folder."""
    package = tmp_path / "vljepa_edge"
    (package / "runtime").mkdir(parents=True)
    origin = Path(sys.modules["vljepa_edge"].__path__[0])
    runtime = Path(sys.modules["vljepa_edge.runtime"].__path__[0])
    for one in origin.iterdir():
        if one.name != "runtime":
            (package / one.name).symlink_to(one.resolve())
    for one in runtime.iterdir():
        (package / "runtime" / one.name).symlink_to(one.resolve())
    (package / "runtime" / operators.name).symlink_to(operators)
    program = f"""
import ctypes, numpy
from vljepa_edge.runtime.model import load
with load({str(nano_bundle)!r}, backend="openvino", threads=1, components=["x_encoder"]) as model:
    model.encode_window(model.window([numpy.zeros((144, 160, 3), numpy.uint8)] * 8))
    print(ctypes.CDLL({str(operators)!r}).vljepa_openvino_ops_runs())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "31", done.stderr


@needs_openvino
def test_a_named_library_must_suit(
    nano_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str, message: str) -> None:
        monkeypatch.setenv(OPENVINO_OPS_ENVIRONMENT, path)
        with pytest.raises(BackendError, match=message):
            opened(nano_bundle)
        opened(nano_bundle, own_ops=False).close()  # nobody asks for it

    old = tmp_path / "old.so"
    source = 'const char *vljepa_openvino_ops_version(void) { return "2020.1.0"; }'
    compiler = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-xc", "-", "-o", old]
    subprocess.run(compiler, input=source, text=True, check=True)
    if "amx" in supported_isas():
        refused("/nowhere/ops.so", r"backend openvino: cannot load its operators: /nowhere/ops\.so")
        refused("libc.so.6", r"backend openvino: libc\.so\.6 is not a library of this package's")
        refused(str(old), r"old\.so was built for OpenVINO 2020\.1\.0, and version 20\d\d")
    monkeypatch.setenv("VLJ_ISA", "avx2")
    refused(str(old), r"need AMX with BF16, which this CPU lacks or VLJ_ISA forbids")
