"""The CUDA kernels from Python, as far as a machine without a GPU goes.

Arguments, grids and tables are run by tests/c/cuda/cpu_driver.c, which executes the kernels' own
arithmetic over the addresses that the launches name. pycuda and a GPU are not here.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from native import ROOT
from vljepa_edge.runtime import cuda
from vljepa_edge.runtime.errors import ArgumentError, BackendError
from vljepa_edge.runtime.frames import make_window

KERNELS = ("vlj_pool_partial", "vlj_pool_project", "vlj_nv12_window")


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("driver") / "driver.so"
    source = ROOT / "tests" / "c" / "cuda" / "cpu_driver.c"
    flags = ["-std=gnu11", "-O1", "-shared", "-fPIC", f"-I{ROOT / 'kernels'}"]
    subprocess.run(["cc", *flags, source, "-o", path, "-lm"], check=True)
    return ctypes.CDLL(str(path))


def run(cpu: ctypes.CDLL, launch: cuda.Launch) -> None:
    arguments = np.array(launch.arguments)
    pointers = (ctypes.c_void_p * 1)(arguments.ctypes.data)
    kernel = ctypes.c_void_p(KERNELS.index(launch.kernel) + 1)
    assert cpu.cuLaunchKernel(kernel, *launch.grid, *launch.block, 0, None, pointers, None) == 0


@pytest.mark.parametrize(
    ("batches", "tokens", "width", "embedding"), [(1, 7, 8, 12), (3, 300, 260, 132)]
)
def test_pooling(cpu: ctypes.CDLL, batches: int, tokens: int, width: int, embedding: int) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((batches, tokens, width)).astype(np.float32)
    mask = (rng.random((batches, tokens)) < 0.7).astype(np.float32)
    mask[:, 0] = 1
    weight = rng.standard_normal((width, embedding)).astype(np.float32)
    bias = rng.standard_normal(embedding).astype(np.float32)
    sizes = cuda.pool_sizes(hidden, mask, weight, bias)
    scratch = {
        name: np.zeros(words, np.uint32) for name, words in cuda.pool_scratch(*sizes).items()
    }
    out = np.empty((batches, embedding), np.float32)
    buffers = {
        "hidden": hidden,
        "mask": mask,
        "weight": weight,
        "bias": bias,
        "out": out,
        **scratch,
    }
    addresses = {name: array.ctypes.data for name, array in buffers.items()}
    for launch in cuda.pool_launches(addresses, *sizes):
        run(cpu, launch)
    mean = np.einsum("bm,bmw->bw", mask, hidden, dtype=np.float64) / mask.sum(1, keepdims=True)
    expected = mean @ weight.astype(np.float64) + bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(out - expected).max() < 3e-6
    assert not scratch["ticket"].any()  # ready for the next launch


@pytest.mark.parametrize("picture", [(76, 100), (101, 57)])
@pytest.mark.parametrize("yuv", ["bt601", "bt709-full"])
def test_windows_have_the_cpus_bytes(
    cpu: ctypes.CDLL, picture: tuple[int, int], yuv: cuda.YuvStandard
) -> None:
    rng = np.random.default_rng(1)
    height, width = picture
    luma = rng.integers(0, 256, (height, width + 9), dtype=np.uint8)[:, :width]  # padded rows
    chroma = rng.integers(0, 256, (-(-height // 2), -(-width // 2), 2), dtype=np.uint8)
    assert cuda.check_nv12(luma, chroma) == picture
    window = (40, 36)
    axes = cuda.window_axes(picture, 48, window)
    planar = np.empty((3, *window), np.uint8)
    buffers = {"luma": luma, "chroma": chroma, "planar": planar}
    buffers |= {name: axis.tables for name, axis in axes.items()}
    addresses = {name: array.ctypes.data for name, array in buffers.items()}
    strides = (luma.strides[0], chroma.strides[0])
    run(cpu, cuda.window_launch(axes, addresses, strides, yuv))
    own = make_window([(luma, chroma)], 1, *window, 48, "nv12", yuv)
    assert np.array_equal(planar, own[0])


def test_arguments_that_do_not_fit() -> None:
    def pool(*shapes: tuple[int, ...], dtype: type = np.float32) -> None:
        cuda.pool_sizes(*(np.zeros(shape, dtype) for shape in shapes))

    with pytest.raises(ArgumentError, match="multiples of 4"):
        pool((1, 2, 6), (1, 2), (6, 8), (8,))
    with pytest.raises(ArgumentError, match="at most 4096"):
        pool((1, 2, 8192), (1, 2), (8192, 8), (8,))
    with pytest.raises(ArgumentError, match="do not fit"):
        pool((1, 2, 8), (1, 3), (8, 8), (8,))
    with pytest.raises(ArgumentError, match="hidden is float64"):
        pool((1, 2, 8), (1, 2), (8, 8), (8,), dtype=np.float64)
    with pytest.raises(
        ArgumentError, match=r"chroma is uint8 \[4, 4, 2\], expected uint8 \[4, 5, 2\]"
    ):
        cuda.check_nv12(np.zeros((7, 9), np.uint8), np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ArgumentError, match="gaps"):
        cuda.check_nv12(np.zeros((8, 16), np.uint8)[:, ::2], np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ArgumentError, match="has no"):
        cuda.window_axes((100, 100), 20, (32, 32))
    with pytest.raises(ArgumentError, match="yuv 'rec2020' is not one of bt601"):
        cuda.window_launch({}, {}, (0, 0), "rec2020")  # type: ignore[arg-type]


def test_what_is_missing_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cuda.ENVIRONMENT, raising=False)
    with pytest.raises(BackendError, match=r"^vljepa_kernels.fatbin is not there: .*vlj_cubins"):
        cuda.find_fatbin()
    monkeypatch.setenv(cuda.ENVIRONMENT, str(tmp_path / "k.fatbin"))
    with pytest.raises(BackendError, match=r"k.fatbin is not there"):
        cuda.CudaKernels()
    (tmp_path / "k.fatbin").write_bytes(b"fatbin")
    assert cuda.find_fatbin() == tmp_path / "k.fatbin"
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(BackendError, match=r"^pycuda cannot be loaded .*pip install") as caught:
        cuda.CudaKernels()
    assert "\n" not in str(caught.value)

    # pycuda is there, and its driver part says what it says on a machine without one.
    def no_driver(name: str) -> None:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    package = ModuleType("pycuda")
    package.__getattr__ = no_driver  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    with pytest.raises(BackendError, match=r"pycuda cannot be loaded .*NVIDIA's driver"):
        cuda.CudaKernels()
