"""The C kernels, gate and segmentation as a small library over ctypes, built once per session.

Tests compare what these functions give with Pillow, NumPy in float64 and scikit-learn. Internal
symbols are visible here, so that single kernels can be called too.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
CORE_SOURCES = ("error", "hooks", "preprocess", "gate", "gate_options", "segment")
RGB24, BGR24, GRAY8, NV12, I420 = range(5)
BT601, BT709, BT601_FULL, BT709_FULL = range(4)
REASONS = {0: "none", 1: "first", 2: "ward", 3: "variance", 4: "heartbeat"}

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Frame(ctypes.Structure):
    """vlj_frame"""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("format", ctypes.c_int),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("planes", ctypes.c_void_p * 3),
        ("stride_bytes", ctypes.c_size_t * 3),
        ("timestamp_ns", ctypes.c_int64),
        ("yuv", ctypes.c_int),
    ]


class GateOptions(ctypes.Structure):
    """vlj_gate_options"""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("smoothing", ctypes.c_uint32),
        ("confirm", ctypes.c_uint32),
        ("ward_threshold", ctypes.c_float),
        ("variance_threshold", ctypes.c_float),
        ("hysteresis", ctypes.c_float),
        ("target_rate_hz", ctypes.c_float),
        ("min_interval_ns", ctypes.c_int64),
        ("max_interval_ns", ctypes.c_int64),
    ]


class GateResult(ctypes.Structure):
    """vlj_gate_result"""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("shift", ctypes.c_uint32),
        ("reason", ctypes.c_int),
        ("score", ctypes.c_float),
        ("threshold", ctypes.c_float),
        ("ward", ctypes.c_float),
        ("variance", ctypes.c_float),
    ]


class NativeError(Exception):
    """A call gave an error status; `status` is its name."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status


@functools.cache
def library() -> ctypes.CDLL:
    """Builds and loads the library; the folder goes away with the process."""
    folder = Path(tempfile.mkdtemp(prefix="vljepa-native-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sources = sorted((ROOT / "kernels").glob("*.c"))
    sources += [ROOT / "runtime" / "core" / f"{name}.c" for name in CORE_SOURCES]
    include = [f"-I{ROOT / part}" for part in ("runtime/include", "runtime/core", "kernels")]
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-fPIC", "-shared", *include]
    subprocess.run(
        [*command, *map(str, sources), "-o", str(folder / "native.so"), "-lm"], check=True
    )
    lib = ctypes.CDLL(str(folder / "native.so"))
    lib.vlj_last_error.restype = ctypes.c_char_p
    lib.vlj_status_name.restype = ctypes.c_char_p
    lib.vlj_gate_close.argtypes = [ctypes.c_void_p]
    lib.vlj_gate_close.restype = None
    for name in ("segment_count", "closed_count"):
        function = getattr(lib, f"vlj_gate_{name}")
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_uint64
    for name in ("segment_start_ns", "segment_end_ns", "closed_start_ns", "closed_end_ns"):
        function = getattr(lib, f"vlj_gate_{name}")
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int64
    lib.vlj_gate_ward_threshold.argtypes = [ctypes.c_void_p]
    lib.vlj_gate_ward_threshold.restype = ctypes.c_float
    lib.vlj_gate_push.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.POINTER(GateResult),
    ]
    return lib


def check(status: int) -> None:
    """Raises NativeError with the library's own sentence."""
    if status != 0:
        lib = library()
        raise NativeError(lib.vlj_status_name(status).decode(), lib.vlj_last_error().decode())


def supported_isas() -> list[str]:
    """Instruction sets that this CPU runs, for VLJ_ISA."""
    return [
        name
        for level, name in enumerate(("generic", "avx2", "avx512", "amx", "neon"))
        if library().vlj_isa_supported(level)
    ]


def prepare_frame(
    picture: Bytes, pixel_format: int, short_side: int, height: int, width: int, stride: int = 0
) -> Bytes:
    """vlj_prepare_frame of [h, w, 3] or [h, w]; `stride` > 0: that many bytes from row to row."""
    rows = np.ascontiguousarray(picture).reshape(picture.shape[0], -1)
    if stride:
        spaced = np.full((rows.shape[0], max(stride, rows.shape[1])), 0xA5, np.uint8)
        spaced[:, : rows.shape[1]] = rows
        rows = spaced
    frame = Frame(ctypes.sizeof(Frame), pixel_format, picture.shape[1], picture.shape[0])
    frame.planes[0] = rows.ctypes.data
    frame.stride_bytes[0] = stride
    planar = np.zeros((3, height, width), np.uint8)
    check(
        library().vlj_prepare_frame(
            ctypes.byref(frame),
            short_side,
            height,
            width,
            ctypes.c_void_p(planar.ctypes.data),
            ctypes.c_size_t(planar.nbytes),
        )
    )
    return planar


def prepare_yuv(
    luma: Bytes,
    chroma: tuple[Bytes, Bytes],
    pixel_format: int,
    standard: int,
    short_side: int,
    height: int,
    width: int,
) -> Bytes:
    """vlj_prepare_frame of luma [h, w] with u and v [(h + 1) // 2, (w + 1) // 2]."""
    planes = [luma, np.stack(chroma, axis=-1)] if pixel_format == NV12 else [luma, *chroma]
    frame = Frame(ctypes.sizeof(Frame), pixel_format, luma.shape[1], luma.shape[0], yuv=standard)
    planes = [np.ascontiguousarray(plane) for plane in planes]
    for i, plane in enumerate(planes):
        frame.planes[i] = plane.ctypes.data
    planar = np.zeros((3, height, width), np.uint8)
    check(
        library().vlj_prepare_frame(
            ctypes.byref(frame),
            short_side,
            height,
            width,
            ctypes.c_void_p(planar.ctypes.data),
            ctypes.c_size_t(planar.nbytes),
        )
    )
    return planar


@dataclass(frozen=True)
class Decision:
    """vlj_gate_result of one prediction."""

    shift: bool
    reason: str
    score: float
    threshold: float
    ward: float
    variance: float


class Gate:
    """vlj_gate_*; options by their C names. Options left out are off, not the defaults."""

    def __init__(self, width: int, **options: float) -> None:
        off = {
            "smoothing": 1,
            "confirm": 1,
            "ward_threshold": -1.0,
            "variance_threshold": -1.0,
            "hysteresis": -1.0,
            "target_rate_hz": -1.0,
            "min_interval_ns": -1,
            "max_interval_ns": -1,
        }
        filled = GateOptions(
            struct_size=ctypes.sizeof(GateOptions), width=width, **{**off, **options}
        )
        self.width = width
        self.handle = ctypes.c_void_p()
        check(library().vlj_gate_open(ctypes.byref(filled), ctypes.byref(self.handle)))

    def __del__(self) -> None:
        library().vlj_gate_close(self.handle)

    def push(self, embedding: Floats, timestamp_ns: int) -> Decision:
        """One prediction [E]."""
        row = np.ascontiguousarray(embedding, np.float32)
        result = GateResult(struct_size=ctypes.sizeof(GateResult))
        check(
            library().vlj_gate_push(
                self.handle, row.ctypes.data, timestamp_ns, ctypes.byref(result)
            )
        )
        return Decision(
            bool(result.shift),
            REASONS[result.reason],
            result.score,
            result.threshold,
            result.ward,
            result.variance,
        )

    def run(self, embeddings: Floats, period_ns: int = 1_000_000_000) -> list[Decision]:
        """Pushes [N, E] with equal steps in time, from 0."""
        return [self.push(row, i * period_ns) for i, row in enumerate(embeddings)]

    def mean(self, which: str) -> Floats:
        """Unit mean [E] of "recent", "segment" or "closed"."""
        out = np.zeros(self.width, np.float32)
        function = getattr(library(), f"vlj_gate_{which}_mean")
        check(function(self.handle, ctypes.c_void_p(out.ctypes.data), ctypes.c_size_t(out.size)))
        return out

    def value(self, name: str) -> float:
        """One of the gate's counts, times or its Ward threshold."""
        found: float = getattr(library(), f"vlj_gate_{name}")(self.handle)
        return found


def segment(embeddings: Floats, segments: int) -> NDArray[np.uint64]:
    """vlj_segment of [N, E]: the first index of each stretch."""
    rows = np.ascontiguousarray(embeddings, np.float32)
    starts = np.zeros(max(segments, 1), np.uint64)
    check(
        library().vlj_segment(
            ctypes.c_void_p(rows.ctypes.data),
            ctypes.c_size_t(rows.shape[0]),
            ctypes.c_uint32(rows.shape[1]),
            ctypes.c_size_t(segments),
            ctypes.c_void_p(starts.ctypes.data),
        )
    )
    return starts
