"""Exact search through the public Python functions, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.runtime.errors import ArgumentError
from vljepa_edge.runtime.search import nearest_rows, quantise_rows


def unit_rows(seed: int, count: int, width: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 200),
    width=st.integers(1, 300),
    k=st.integers(1, 210),
    dtype=st.sampled_from(["float32", "float16", "int8"]),
    seed=st.integers(0, 2**31),
)
def test_equals_float64(count: int, width: int, k: int, dtype: str, seed: int) -> None:
    floats = unit_rows(seed, count, width)
    query = np.random.default_rng(seed + 1).normal(size=width) * 17
    scales = None
    if dtype == "int8":
        quantised = quantise_rows(floats)
        rows, scales = quantised.values, quantised.scales
        meant = rows.astype(np.float64) * scales[:, None]
        np.testing.assert_allclose(np.linalg.norm(meant, axis=1), 1, atol=1e-6)
    else:
        rows = floats.astype(dtype)
        meant = rows.astype(np.float64)
    exact = meant @ (query / np.linalg.norm(query))
    indices, cosines = nearest_rows(rows, query, k, scales)
    k = min(k, count)
    assert indices.shape == cosines.shape == (k,) and len(set(indices.tolist())) == k
    np.testing.assert_allclose(cosines, exact[indices], atol=2e-4 if dtype == "int8" else 1e-5)
    np.testing.assert_allclose(cosines, np.sort(exact)[::-1][:k], atol=2e-4)
    assert (np.diff(cosines) <= 0).all()


def test_int8_finds_what_floats_find() -> None:
    """Recall at 10 of INT8 rows against the float rows that they were made from."""
    rows = unit_rows(5, 3000, 256).astype(np.float32)
    quantised = quantise_rows(rows)
    common = 0
    for query in unit_rows(6, 20, 256):
        ours, _ = nearest_rows(quantised.values, query, 10, quantised.scales)
        common += len(set(ours.tolist()) & set(np.argsort(-(rows @ query))[:10].tolist()))
    assert common >= 0.95 * 200


def test_an_int8_query_is_its_direction() -> None:
    rows = quantise_rows(unit_rows(1, 50, 64))
    indices, cosines = nearest_rows(rows.values, rows.values[31], 2, rows.scales)
    assert indices[0] == 31 and cosines[0] == pytest.approx(1, abs=1e-3)


def test_slices_transposes_and_an_empty_memory() -> None:
    rows = unit_rows(2, 40, 32).astype(np.float32)
    spread = np.repeat(rows, 2, axis=1)[:, ::2]
    assert not spread.flags.c_contiguous
    assert nearest_rows(spread, rows[9], 1)[0][0] == 9
    memory = np.zeros((100, 32), np.float32)
    memory[:40] = rows
    assert nearest_rows(memory[:40], rows[39], 1)[0][0] == 39
    indices, cosines = nearest_rows(memory[:0], rows[0], 5)
    assert indices.shape == cosines.shape == (0,)


def test_refusals() -> None:
    rows = unit_rows(3, 4, 8)
    with pytest.raises(ArgumentError, match="float64"):
        nearest_rows(rows, rows[0], 1)  # type: ignore[arg-type]
    single = rows.astype(np.float32)
    with pytest.raises(ArgumentError, match=r"shape \[7\], wanted \[8\]"):
        nearest_rows(single, single[0, :7], 1)
    with pytest.raises(ArgumentError, match="k is 0"):
        nearest_rows(single, single[0], 0)
    with pytest.raises(ArgumentError, match="length 0"):
        nearest_rows(single, np.zeros(8), 1)
    with pytest.raises(ArgumentError, match="go with int8"):
        nearest_rows(single, single[0], 1, np.ones(4, np.float32))
    with pytest.raises(ArgumentError, match="row 2"):
        quantise_rows(np.where(np.arange(4)[:, None] == 2, np.nan, rows))
