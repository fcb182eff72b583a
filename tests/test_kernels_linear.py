"""Linear kernels against float64: norms, rounding, activations, factors, sums, odd row counts."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

import numpy as np
import pytest
from native import library
from numpy.typing import NDArray

Any64 = NDArray[np.float64]
ALIGNMENT = 64
FLOAT32, BFLOAT16, INT8 = range(3)
NONE, LAYER, RMS = range(3)
IDENTITY, GELU, SILU = range(3)
EPSILON = 1e-5


class Linear(ctypes.Structure):
    """vlj_linear"""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("rows", "inner", "columns")),
        *((name, ctypes.c_int) for name in ("in_type", "out_type", "norm", "activation")),
        *((name, ctypes.c_void_p) for name in ("in_", "norm_weight", "norm_bias")),
        *((name, ctypes.c_float) for name in ("epsilon", "in_scale")),
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "bias", "factor", "sum", "out")),
        ("out_scale", ctypes.c_float),
    ]


class Kernels(ctypes.Structure):
    """vlj_linear_kernels"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("isa", ctypes.c_int),
        ("scratch_bytes", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)),
        (
            "run",
            ctypes.CFUNCTYPE(
                None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
            ),
        ),
    ]


def to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Cut off, which is as good as any for input."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(x: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (x.astype(np.uint32) << 16).view(np.float32)


def pack(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    packed = np.full_like(weights, 99)
    library().vlj_linear_pack(
        ctypes.c_void_p(weights.ctypes.data),
        ctypes.c_size_t(weights.shape[0]),
        ctypes.c_size_t(weights.shape[1]),
        ctypes.c_void_p(packed.ctypes.data),
    )
    return packed


@dataclass(frozen=True)
class Case:
    """A map of rows [M, K] by weights [K, N]; `heat`: deviation of what the activation sees."""

    rows: int
    inner: int = 128
    columns: int = 64
    in_type: int = FLOAT32
    out_type: int = FLOAT32
    norm: int = NONE
    activation: int = IDENTITY
    biased: bool = True
    norm_biased: bool = False
    factored: bool = False
    summed: bool = False
    heat: float = 1.0
    out_scale: float = 0.03
    in_scale: float = 0.0213

    def given(self) -> tuple[NDArray[np.generic], dict[str, NDArray[np.float32]]]:
        """The rows in their type, and everything else in float32."""
        random = np.random.default_rng(self.rows + self.inner)
        x = (random.normal(size=(self.rows, self.inner)) * 1.5 + 0.3).astype(np.float32)
        some = {
            "weights": random.integers(-127, 128, (self.inner, self.columns)).astype(np.float32),
            "scale": random.uniform(0.5, 1.5, self.columns).astype(np.float32),
            "bias": random.normal(size=self.columns).astype(np.float32),
            "norm_weight": random.uniform(0.5, 1.5, self.inner).astype(np.float32),
            "norm_bias": random.normal(size=self.inner).astype(np.float32) * np.float32(0.1),
            "factor": random.normal(size=(self.rows, self.columns)).astype(np.float32),
            "sum": random.normal(size=(self.rows, self.columns)).astype(np.float32),
        }
        # INT8 of deviation 64 by weights of 73: the sums' own deviation is taken off
        some["scale"] *= np.float32(self.heat / (64 * 73 * math.sqrt(self.inner)))
        some["factor"] = from_bfloat16(to_bfloat16(some["factor"]))
        if self.in_type == INT8:
            return np.clip(np.rint(x / np.float32(0.02)), -128, 127).astype(np.int8), some
        return (to_bfloat16(x) if self.in_type == BFLOAT16 else x), some

    def run(self, name: str, parts: int = 1) -> NDArray[np.generic]:
        """Through the kernels of that name, rows in `parts` calls: int8 as such, else float32."""
        found = library().vlj_linear_kernels_named
        found.restype = ctypes.POINTER(Kernels)
        kernels = found(name.encode())
        x, some = self.given()
        packed = pack(some["weights"].astype(np.int8))
        types = {FLOAT32: np.float32, BFLOAT16: np.uint16, INT8: np.int8}
        guarded = np.full((self.rows + 2, self.columns), 7, types[self.out_type])
        factor = to_bfloat16(some["factor"])
        item = Linear(self.rows, self.inner, self.columns)
        item.in_type, item.out_type = self.in_type, self.out_type
        item.norm, item.activation = self.norm, self.activation
        item.in_, item.weights = x.ctypes.data, packed.ctypes.data
        item.epsilon, item.in_scale, item.out_scale = EPSILON, self.in_scale, self.out_scale
        item.scale, item.norm_weight = some["scale"].ctypes.data, some["norm_weight"].ctypes.data
        item.norm_bias = some["norm_bias"].ctypes.data if self.norm_biased else None
        item.bias = some["bias"].ctypes.data if self.biased else None
        item.factor = factor.ctypes.data if self.factored else None
        item.sum = some["sum"].ctypes.data if self.summed else None
        item.out = guarded[1:].ctypes.data
        address = ctypes.addressof(item)
        size = kernels.contents.scratch_bytes(address)
        scratch = np.full(size + ALIGNMENT, 0xAB, np.uint8)  # what is in it must not matter
        aligned = -(-scratch.ctypes.data // ALIGNMENT) * ALIGNMENT
        for rows in np.array_split(np.arange(self.rows), parts):
            kernels.contents.run(address, int(rows[0]), len(rows), aligned)
        assert (scratch[aligned - scratch.ctypes.data + size :] == 0xAB).all()
        assert (guarded[[0, -1]] == 7).all()
        out = guarded[1:-1]
        return from_bfloat16(out) if self.out_type == BFLOAT16 else out

    def rounded(self) -> Any64:
        """What is multiplied: [M, K], whole numbers."""
        x, some = self.given()
        if self.in_type == INT8:
            return x.astype(np.float64)
        floats = from_bfloat16(x) if self.in_type == BFLOAT16 else x  # type: ignore[arg-type]
        y = floats.astype(np.float64)
        if self.norm == LAYER:
            y = y - y.mean(axis=1, keepdims=True)
        if self.norm != NONE:
            y = y / np.sqrt((y**2).mean(axis=1, keepdims=True) + EPSILON) * some["norm_weight"]
            y = y + some["norm_bias"] if self.norm_biased else y
        return np.clip(np.rint(y.astype(np.float32) / np.float32(self.in_scale)), -128, 127)

    def exact(self) -> Any64:
        """[M, N] in float64, before it is rounded to the result's type."""
        some = {name: values.astype(np.float64) for name, values in self.given()[1].items()}
        y = self.rounded() @ some["weights"] * some["scale"]
        y = y + some["bias"] if self.biased else y
        if self.activation == GELU:
            y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
        elif self.activation == SILU:
            y = y / (1 + np.exp(-np.maximum(y, -700)))
        y = y * some["factor"] if self.factored else y
        return y + some["sum"] if self.summed else y


def names() -> list[str]:
    found = library().vlj_linear_kernels_named
    found.restype = ctypes.c_void_p
    return [name for name in ("generic", "amx") if found(name.encode())]


CASES = {
    "one row": Case(1, in_type=INT8),
    "31 rows": Case(31, in_type=INT8, biased=False),
    "33 rows of BF16": Case(33, in_type=BFLOAT16),
    "long rows": Case(70, inner=1984, columns=96, in_type=INT8, summed=True),
    "more than one group": Case(1000, inner=2048, columns=32, in_type=INT8),
    "layer norm": Case(40, inner=192, norm=LAYER, norm_biased=True),
    "layer norm without bias": Case(40, inner=192, norm=LAYER),
    "RMS norm of BF16": Case(65, in_type=BFLOAT16, norm=RMS),
    "GELU": Case(48, activation=GELU, heat=3.0),
    "GELU, hot": Case(48, activation=GELU, heat=300.0),
    "SiLU": Case(48, activation=SILU, heat=5.0),
    "SiLU, hot": Case(48, activation=SILU, heat=1e4),
    "all of it": Case(50, norm=RMS, activation=SILU, factored=True, summed=True),
    "to BF16": Case(40, out_type=BFLOAT16, norm=LAYER, norm_biased=True),
    "to INT8": Case(40, in_type=INT8, out_type=INT8),
    "to INT8, saturated": Case(40, in_type=INT8, out_type=INT8, out_scale=0.003),
    "GELU to INT8": Case(100, inner=256, out_type=INT8, norm=LAYER, activation=GELU),
    "gate": Case(100, out_type=INT8, norm=RMS, activation=SILU, factored=True),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_kernel = pytest.mark.parametrize("name", names())


@every_kernel
@every_case
def test_is_exact(case: Case, name: str) -> None:
    """Sums of whole numbers are exact; a float's last digit may round one value otherwise."""
    some = case.given()[1]
    exact, found = case.exact(), case.run(name).astype(np.float64)
    unit = case.out_scale if case.out_type == INT8 else 1.0
    tight = 1e-4 * np.maximum(1, np.abs(exact)) / unit
    if case.out_type == INT8:
        exact, tight = np.clip(exact / unit, -128, 127), tight + 0.5
    elif case.out_type == BFLOAT16:
        tight = tight + np.abs(exact) * 2.0**-8
    one_more = 0.0 if case.in_type == INT8 else 1.2 * 127 * some["scale"] / unit
    if case.factored:
        tight, one_more = (x * np.maximum(1, np.abs(some["factor"])) for x in (tight, one_more))
    difference = np.abs(found - exact)
    assert (difference <= tight + one_more).all(), difference.max()
    assert (difference > tight).mean() < 0.01


@every_kernel
def test_rows_may_be_shared_out(name: str) -> None:
    case = Case(130, inner=192, norm=LAYER, norm_biased=True, activation=GELU, out_type=INT8)
    np.testing.assert_array_equal(case.run(name), case.run(name, parts=3))


@dataclass(frozen=True)
class Passed(Case):
    """A row that comes out as it was rounded: by a product with the identity."""

    values: tuple[float, ...] = ()

    def given(self) -> tuple[NDArray[np.generic], dict[str, NDArray[np.float32]]]:
        x = np.zeros((1, self.inner), np.float32)
        x[0, : len(self.values)] = self.values
        ones = np.ones(self.inner, np.float32)
        some = dict.fromkeys(("scale", "bias", "norm_weight", "norm_bias", "factor", "sum"), ones)
        return x, {**some, "weights": np.eye(self.inner, dtype=np.float32)}


@every_kernel
def test_rounds_to_even_and_saturates(name: str) -> None:
    values = (0.25, 0.75, 1.25, -0.25, -0.75, 63.4, 70, 1e9, -64, -70, -1e9)
    case = Passed(1, inner=64, columns=64, in_scale=0.5, biased=False, values=values)
    expected = [0, 2, 2, 0, -2, 127, 127, 127, -128, -128, -128]
    np.testing.assert_array_equal(case.run(name)[0, : len(values)], expected)


def test_packed_order() -> None:
    weights = np.random.default_rng(0).integers(-128, 128, (128, 96)).astype(np.int8)
    order = weights.reshape(2, 16, 4, 6, 16).transpose(3, 0, 1, 4, 2)
    np.testing.assert_array_equal(pack(weights).ravel(), order.ravel())


def test_unknown_name() -> None:
    found = library().vlj_linear_kernels_named
    found.restype = ctypes.c_void_p
    assert found(b"avx9000") is None
