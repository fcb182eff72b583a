"""The CUDA kernels from Python: fused pooling, and NV12 pictures into windows, on an NVIDIA GPU.

They lie in `vljepa_kernels.fatbin`, which CMake builds where `nvcc` is, and are launched by pycuda
(extra "gpu"). What is launched, over which grid and with which arguments, is in `pool_launches` and
`window_launch`, which need no GPU; the C launcher, kernels/cuda/launch.c, does the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError, BackendError
from vljepa_edge.runtime.frames import YUV_STANDARDS, YuvStandard

ENVIRONMENT = "VLJEPA_CUDA_KERNELS"
FATBIN = "vljepa_kernels.fatbin"
# kernels/cuda/pool_block.h and kernels.cu
TILE, POOL_THREADS, MOST_WIDTH, SPLIT_TOKENS, MOST_SPLITS = 128, 256, 4096, 64, 32
PIXELS = (32, 8)
ROW_SHIFT, COLUMN_SHIFT = 22, 16  # kernels/resize.h: VLJ_RESIZE_MAX_SHIFT_*

Array = npt.NDArray[Any]

POOL_ARGUMENTS = np.dtype(
    [
        *((name, np.uint64) for name in ("hidden", "mask", "weight", "bias")),
        *((name, np.uint64) for name in ("sums", "counts", "squares", "out", "ticket")),
        *((name, np.uint32) for name in ("tokens", "width", "embedding", "splits")),
    ],
    align=True,
)
_AXIS = np.dtype(
    [
        *((name, np.uint32) for name in ("out_count", "in_first", "in_count", "taps", "shift")),
        *((name, np.uint64) for name in ("first", "count", "weights")),
    ],
    align=True,
)
_MATRIX = np.dtype(
    [(name, np.int16) for name in ("offset", "luma", "red_v", "green_u", "green_v", "blue_u")]
)
_AXES = ("rows", "columns", "chroma_rows", "chroma_columns")
WINDOW_ARGUMENTS = np.dtype(
    [
        *((name, np.uint64) for name in ("luma", "chroma", "luma_stride", "chroma_stride")),
        *((name, _AXIS) for name in _AXES),
        ("matrix", _MATRIX),
        ("planar", np.uint64),
    ],
    align=True,
)


@dataclass(frozen=True)
class Launch:
    """One kernel over one grid; `arguments` is its only parameter, by value."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: Any  # numpy.void, which pycuda passes by value


def find_fatbin(path: str | os.PathLike[str] | None = None) -> Path:
    """The kernels' file: `path`, else $VLJEPA_CUDA_KERNELS. BackendError where there is none."""
    chosen = path or os.environ.get(ENVIRONMENT)
    if chosen and Path(chosen).is_file():
        return Path(chosen)
    raise BackendError(
        f"{chosen or FATBIN} is not there: build it where nvcc is (cmake --build BUILD --target "
        f"vlj_cubins) and name it in ${ENVIRONMENT}"
    )


# ---- pooling ----


def pool_sizes(hidden: Any, mask: Any, weight: Any, bias: Any) -> tuple[int, int, int, int]:
    """(B, M, W, E) of hidden [B, M, W], mask [B, M], weight [W, E], bias [E], all float32."""
    shapes = [tuple(array.shape) for array in (hidden, mask, weight, bias)]
    names = ("hidden", "mask", "weight", "bias")
    for name, array, rank in zip(names, (hidden, mask, weight, bias), (3, 2, 2, 1), strict=True):
        if array.dtype != np.float32 or len(array.shape) != rank:
            raise ArgumentError(
                f"{name} is {array.dtype} {list(array.shape)}, expected float32 of rank {rank}"
            )
    batches, tokens, width = shapes[0]
    embedding = shapes[3][0]
    if shapes[1:3] != [(batches, tokens), (width, embedding)] or 0 in shapes[0]:
        raise ArgumentError(f"hidden, mask, weight and bias do not fit: {shapes}")
    if width % 4 or embedding % 4 or width > MOST_WIDTH or embedding == 0:
        raise ArgumentError(
            f"pooling of width {width} to {embedding}: expected multiples of 4, and a first one of "
            f"at most {MOST_WIDTH}"
        )
    return batches, tokens, width, embedding


def pool_scratch(batches: int, tokens: int, width: int, embedding: int) -> dict[str, int]:
    """32-bit words of device memory by their name in the kernels' arguments."""
    splits = min(MOST_SPLITS, -(-tokens // SPLIT_TOKENS))
    return {
        "sums": batches * splits * width,
        "counts": batches * splits,
        "squares": batches * -(-embedding // TILE),
        "ticket": batches,  # 0 before the first launch, and after each again
    }


def pool_launches(
    addresses: Mapping[str, int], batches: int, tokens: int, width: int, embedding: int
) -> list[Launch]:
    """The two launches of one pooling, in one stream. Addresses of inputs, `out` and scratch."""
    arguments = np.zeros((), POOL_ARGUMENTS)
    for name, address in addresses.items():
        arguments[name] = address
    splits = min(MOST_SPLITS, -(-tokens // SPLIT_TOKENS))
    sizes = {"tokens": tokens, "width": width, "embedding": embedding, "splits": splits}
    for name, size in sizes.items():
        arguments[name] = size
    block, tiles = (POOL_THREADS, 1, 1), -(-embedding // TILE)
    return [
        Launch("vlj_pool_partial", (-(-width // TILE), splits, batches), block, arguments[()]),
        Launch("vlj_pool_project", (tiles, batches, 1), block, arguments[()]),
    ]


# ---- windows ----


@dataclass(frozen=True)
class Axis:
    """One direction of a resize: the tables as one block, and where they lie in it."""

    tables: npt.NDArray[np.uint8]
    header: Array  # of _AXIS; pointers are offsets into `tables`

    def at(self, address: int) -> Array:
        """The header once `tables` lie at that address."""
        header: Array = self.header.copy()
        for name in ("first", "count", "weights"):
            header[name] += np.uint64(address)
        return header


def resize_axis(
    in_size: int, resized: int, crop_first: int, out_count: int, shift: int, chroma: bool
) -> Axis:
    """Tables by the core's own function: samples crop_first... of in_size resized to `resized`."""
    size = int(lib.vlj_resize_axis_bytes(out_count, max(1.0, in_size / resized)))
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    tables = memory[start : start + size]
    axis = ffi.new("vlj_resize_axis *")
    init = lib.vlj_resize_axis_init_chroma if chroma else lib.vlj_resize_axis_init
    pointer = ffi.cast("void *", tables.ctypes.data)
    init(axis, pointer, in_size, resized, crop_first, out_count, shift)
    header = np.zeros((), _AXIS)
    for name in ("out_count", "in_first", "in_count", "taps", "shift"):
        header[name] = getattr(axis, name)
    for name in ("first", "count", "weights"):
        header[name] = int(ffi.cast("uintptr_t", getattr(axis, name))) - tables.ctypes.data
    return Axis(tables, header)


def window_axes(
    picture: tuple[int, int], short_side: int, window: tuple[int, int]
) -> dict[str, Axis]:
    """Tables for pictures of (height, width): the bundle's recipe, as runtime/core/preprocess.h."""
    if short_side < min(window) or min(*picture, *window) < 1:
        raise ArgumentError(
            f"a picture of {picture}, its shorter side resized to {short_side}, has no {window}"
        )
    axes = {}
    for name, size, out, shift in (
        ("rows", picture[0], window[0], ROW_SHIFT),
        ("columns", picture[1], window[1], COLUMN_SHIFT),
    ):
        resized = max(short_side, short_side * size // min(picture))
        if resized < out:
            raise ArgumentError(f"a window of {window} is larger than the resized picture")
        first = round((resized - out) / 2)
        axes[name] = resize_axis(size, resized, first, out, shift, chroma=False)
        axes[f"chroma_{name}"] = resize_axis(size, resized, first, out, shift, chroma=True)
    return axes


def window_launch(
    axes: Mapping[str, Axis],
    addresses: Mapping[str, int],
    strides: tuple[int, int],
    yuv: YuvStandard = "bt601",
) -> Launch:
    """The launch of one picture. Addresses: luma, chroma, planar and each axis's tables."""
    if yuv not in YUV_STANDARDS:
        raise ArgumentError(f"yuv {yuv!r} is not one of {', '.join(YUV_STANDARDS)}")
    arguments = np.zeros((), WINDOW_ARGUMENTS)
    for name in ("luma", "chroma", "planar"):
        arguments[name] = addresses[name]
    arguments["luma_stride"], arguments["chroma_stride"] = strides
    for name in _AXES:
        arguments[name] = axes[name].at(addresses[name])
    matrix = lib.vlj_yuv_matrix_of(YUV_STANDARDS[yuv])
    for name in _MATRIX.names or ():
        arguments["matrix"][name] = getattr(matrix, name)
    height, width = (int(axes[name].header["out_count"]) for name in ("rows", "columns"))
    grid = (-(-width // PIXELS[0]), -(-height // PIXELS[1]), 1)
    return Launch("vlj_nv12_window", grid, (*PIXELS, 1), arguments[()])


def check_nv12(luma: Any, chroma: Any) -> tuple[int, int]:
    """(height, width) of luma [H, W] and chroma [ceil(H/2), ceil(W/2), 2], uint8."""
    height, width = luma.shape if len(luma.shape) == 2 else (0, 0)
    expected = (-(-height // 2), -(-width // 2), 2)
    for name, plane, shape in (("luma", luma, (height, width)), ("chroma", chroma, expected)):
        if plane.dtype != np.uint8 or tuple(plane.shape) != shape or 0 in shape:
            raise ArgumentError(
                f"{name} is {plane.dtype} {list(plane.shape)}, expected uint8 {list(shape)}"
            )
        if plane.strides[1:] not in ((1,), (2, 1)):
            raise ArgumentError(f"{name} has gaps between its samples")
    return height, width


# ---- on the GPU ----


class CudaKernels:
    """The kernels on one GPU, through pycuda. Use it on the thread that opened it, then close it.

    Arrays may be NumPy's, which are copied there, or pycuda's GPUArray; results are GPUArrays.
    """

    def __init__(self, device: int = 0, fatbin: str | os.PathLike[str] | None = None) -> None:
        """BackendError without the fatbin, pycuda, a driver or that device, in one line."""
        path = find_fatbin(fatbin)
        try:
            import pycuda.driver as driver
            from pycuda import gpuarray
        except ImportError as error:
            raise BackendError(
                f"pycuda cannot be loaded ({error}): it takes NVIDIA's driver, and "
                "pip install 'vljepa-edge[gpu]'"
            ) from error
        try:
            driver.init()
            self._context = driver.Device(device).retain_primary_context()
            self._context.push()
        except driver.Error as error:
            raise BackendError(f"CUDA device {device}: {error}") from error
        self._arrays = gpuarray
        self._axes: dict[tuple[int, ...], tuple[dict[str, Axis], dict[str, Any]]] = {}
        try:
            module = driver.module_from_file(str(path))
            names = ("vlj_pool_partial", "vlj_pool_project", "vlj_nv12_window")
            self._functions = {name: module.get_function(name) for name in names}
        except driver.Error as error:
            self.close()
            raise BackendError(f"{path}: {error}") from error

    def __enter__(self) -> CudaKernels:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the GPU's context; arrays that came from here must be gone by then."""
        if self._context is not None:
            self._axes.clear()
            self._context.pop()
            self._context = None

    def _there(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        return self._arrays.to_gpu(np.ascontiguousarray(array))

    def _launch(self, launch: Launch, stream: Any) -> None:
        self._functions[launch.kernel](
            launch.arguments, grid=launch.grid, block=launch.block, stream=stream
        )

    def pool(self, hidden: Any, mask: Any, weight: Any, bias: Any, stream: Any = None) -> Any:
        """Masked mean, projection, unit length: shapes as `pool_sizes` -> float32 [B, E]."""
        sizes = pool_sizes(hidden, mask, weight, bias)
        inputs = [self._there(array) for array in (hidden, mask, weight, bias)]
        scratch = {
            name: self._arrays.zeros(words, np.uint32)
            for name, words in pool_scratch(*sizes).items()
        }
        out = self._arrays.empty((sizes[0], sizes[3]), np.float32)
        named = dict(zip(("hidden", "mask", "weight", "bias"), inputs, strict=True))
        buffers = {**named, **scratch, "out": out}
        addresses = {name: int(array.gpudata) for name, array in buffers.items()}
        for launch in pool_launches(addresses, *sizes):
            self._launch(launch, stream)
        return out

    def nv12_window(
        self,
        luma: Any,
        chroma: Any,
        short_side: int,
        window: tuple[int, int],
        yuv: YuvStandard = "bt601",
        stream: Any = None,
    ) -> Any:
        """One NV12 picture (`check_nv12`) by the bundle's recipe -> uint8 [3, *window], RGB."""
        picture = check_nv12(luma, chroma)
        key = (*picture, short_side, *window)
        if key not in self._axes:
            axes = window_axes(picture, short_side, window)
            tables = {name: self._arrays.to_gpu(axis.tables) for name, axis in axes.items()}
            self._axes[key] = axes, tables
        axes, tables = self._axes[key]
        planes = {"luma": self._there(luma), "chroma": self._there(chroma)}
        planar = self._arrays.empty((3, *window), np.uint8)
        buffers = {**planes, **tables, "planar": planar}
        addresses = {name: int(array.gpudata) for name, array in buffers.items()}
        strides = (planes["luma"].strides[0], planes["chroma"].strides[0])
        self._launch(window_launch(axes, addresses, strides, yuv), stream)
        return planar
