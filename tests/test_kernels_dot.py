"""The vector kernels against NumPy in float64, for every instruction set and length of tail."""

from __future__ import annotations

import ctypes

import native
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

POINTER, SIZE, DOUBLE = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double


class DotKernels(ctypes.Structure):
    """vlj_dot_kernels"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("isa", ctypes.c_int),
        ("dot", ctypes.CFUNCTYPE(ctypes.c_float, POINTER, POINTER, SIZE)),
        ("dot_half", ctypes.CFUNCTYPE(ctypes.c_float, POINTER, POINTER, SIZE)),
        ("square", ctypes.CFUNCTYPE(DOUBLE, POINTER, SIZE)),
        ("distance", ctypes.CFUNCTYPE(DOUBLE, POINTER, POINTER, SIZE)),
        ("add", ctypes.CFUNCTYPE(None, POINTER, POINTER, DOUBLE, SIZE)),
        ("sum_square", ctypes.CFUNCTYPE(DOUBLE, POINTER, DOUBLE, SIZE)),
        ("sum_distance", ctypes.CFUNCTYPE(DOUBLE, POINTER, DOUBLE, POINTER, DOUBLE, SIZE)),
        ("dot_int8", ctypes.CFUNCTYPE(ctypes.c_int32, POINTER, POINTER, SIZE)),
    ]


# AMX multiplies tiles: rows have no kernels of their own for it.
ROWS_ISAS = [name for name in native.supported_isas() if name != "amx"]


@pytest.fixture(params=ROWS_ISAS, scope="module")
def kernels(request: pytest.FixtureRequest) -> DotKernels:
    find = native.library().vlj_dot_kernels_named
    find.restype = ctypes.POINTER(DotKernels)
    found: DotKernels = find(request.param.encode()).contents
    assert found.name == request.param.encode()
    return found


@settings(max_examples=100, deadline=None)
@given(n=st.integers(0, 300), offset=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_equals_float64(kernels: DotKernels, n: int, offset: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, n + offset)).astype(np.float32)[:, offset:]  # unaligned too
    half = x.astype(np.float16)
    a, b = random.normal(size=(2, n + offset))[:, offset:] * 1000
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    size = max(np.abs(wide_x * wide_y).sum(), 1e-30)
    exact = {"rel": 1e-13, "abs": 1e-13}

    assert kernels.dot(x.ctypes.data, y.ctypes.data, n) == pytest.approx(
        wide_x @ wide_y, abs=1e-6 * size
    )
    assert kernels.dot_half(half.ctypes.data, y.ctypes.data, n) == pytest.approx(
        half.astype(np.float64) @ wide_y, abs=1e-6 * size
    )
    assert kernels.square(x.ctypes.data, n) == pytest.approx(wide_x @ wide_x, **exact)
    assert kernels.distance(x.ctypes.data, y.ctypes.data, n) == pytest.approx(
        ((wide_x - wide_y) ** 2).sum(), **exact
    )
    assert kernels.sum_square(a.ctypes.data, 0.125, n) == pytest.approx(a @ a / 64, **exact)
    assert kernels.sum_distance(a.ctypes.data, 0.5, b.ctypes.data, 0.3, n) == pytest.approx(
        ((a * 0.5 - b * 0.3) ** 2).sum(), **exact
    )
    steps = random.integers(-8191, 8192, n).astype(np.int16)
    bytes_ = random.integers(-128, 128, n).astype(np.int8)
    product = kernels.dot_int8(bytes_.ctypes.data, steps.ctypes.data, n)
    assert product == int(bytes_.astype(np.int64) @ steps.astype(np.int64))
    total = a.copy()
    kernels.add(total.ctypes.data, x.ctypes.data, -1.0, n)
    np.testing.assert_array_equal(total, a - wide_x)


def test_every_half_is_read_exactly(kernels: DotKernels) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    for repeat in (1, 64):  # the tail's code, and the vector code
        ones = np.zeros(repeat, np.float32)
        ones[0] = 1
        for bits in halves[:: 7 if repeat == 64 else 3]:
            value = float(bits.view(np.float16))
            if not np.isfinite(value):
                continue
            row = np.zeros(repeat, np.uint16)
            row[0] = bits
            assert kernels.dot_half(row.ctypes.data, ones.ctypes.data, repeat) == value


def test_unknown_names_are_refused() -> None:
    find = native.library().vlj_dot_kernels_named
    find.restype = ctypes.POINTER(DotKernels)
    assert not find(b"avx3")
