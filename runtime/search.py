"""Exact search over rows of embeddings: a memory's, or a bank of labels, as floats or as INT8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError, check

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.float16] | npt.NDArray[np.int8]
Indices = npt.NDArray[np.uint32]

_DTYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): lib.VLJ_FLOAT32,
    np.dtype(np.float16): lib.VLJ_FLOAT16,
    np.dtype(np.int8): lib.VLJ_INT8,
}


@dataclass(frozen=True)
class Int8Rows:
    """Rows of unit length: row i is `scales[i] * values[i]`."""

    values: Bytes  # [N, E]
    scales: Floats  # [N]


def quantise_rows(rows: npt.ArrayLike) -> Int8Rows:
    """Float rows [N, E] of any length as INT8 rows of unit length, a quarter of the bytes.

    ArgumentError for values that are not finite.
    """
    floats = np.ascontiguousarray(rows, np.float32)
    if floats.ndim != 2:
        raise ArgumentError(f"rows have shape {list(floats.shape)}, wanted [N, E]")
    values = np.empty(floats.shape, np.int8)
    scales = np.empty(len(floats), np.float32)
    check(
        lib.vlj_quantise_rows(
            ffi.cast("float *", floats.ctypes.data),
            floats.shape[0],
            floats.shape[1],
            ffi.cast("int8_t *", values.ctypes.data),
            ffi.cast("float *", scales.ctypes.data),
        )
    )
    return Int8Rows(values, scales)


def nearest_rows(
    rows: Rows, query: npt.ArrayLike, k: int, scales: Floats | None = None
) -> tuple[Indices, Floats]:
    """The k rows with the largest cosine to `query`: (indices uint32 [k], cosines float32 [k]).

    rows: float32, float16 or int8 [N, E], contiguous (others are copied), of unit length; int8 row
    i means `scales[i] * rows[i]`, scales float32 [N]; None: 1/127 for all. query: [E], floats or
    int8, of any length but 0. Best first; of equal ones the earlier row. k above N gives N. Takes
    no memory besides, releases the GIL, and may be called from several threads.
    """
    found = np.ascontiguousarray(rows)
    asked = np.ascontiguousarray(query, np.float32)
    if found.ndim != 2 or found.dtype not in _DTYPES:
        raise ArgumentError(
            f"rows are {found.dtype} {list(found.shape)}, wanted float32, float16 or int8 [N, E]"
        )
    if asked.shape != found.shape[1:]:
        raise ArgumentError(f"query has shape {list(asked.shape)}, wanted [{found.shape[1]}]")
    if k < 1:
        raise ArgumentError(f"k is {k}, wanted at least 1")
    factors = None
    if scales is not None:
        factors = np.ascontiguousarray(scales, np.float32)
        if found.dtype != np.int8 or factors.shape != found.shape[:1]:
            raise ArgumentError(
                f"scales {list(factors.shape)} go with int8 rows [{len(found)}, E], "
                f"these are {found.dtype}"
            )
    k = min(k, len(found))
    indices, cosines = np.empty(k, np.uint32), np.empty(k, np.float32)
    if k == 0:  # nothing remembered yet
        return indices, cosines
    bank = ffi.new("vlj_rows *")
    bank.struct_size = ffi.sizeof("vlj_rows")
    bank.dtype = _DTYPES[found.dtype]
    bank.count, bank.width = found.shape
    bank.data = ffi.cast("void *", found.ctypes.data)
    if factors is not None:
        bank.scales = ffi.cast("float *", factors.ctypes.data)
    check(
        lib.vlj_nearest_rows(
            bank,
            ffi.cast("float *", asked.ctypes.data),
            asked.size,
            k,
            ffi.cast("uint32_t *", indices.ctypes.data),
            ffi.cast("float *", cosines.ctypes.data),
        )
    )
    return indices, cosines
