"""vlj_segment against scikit-learn's Ward clustering on a chain, the paper's method."""

from __future__ import annotations

import time

import native
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Floats
from scipy.sparse import diags
from sklearn.cluster import AgglomerativeClustering


def oracle(embeddings: Floats, segments: int) -> list[int]:
    """First indices of the stretches that AgglomerativeClustering finds on a chain."""
    count = len(embeddings)
    chain = diags([np.ones(count - 1), np.ones(count - 1)], [-1, 1], shape=(count, count))
    ward = AgglomerativeClustering(segments, linkage="ward", connectivity=chain)
    labels = ward.fit_predict(embeddings.astype(np.float64))
    return [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]


def stream(count: int, width: int, seed: int, noise: float = 0.6) -> Floats:
    """Unit rows that wander, with a change of subject now and then."""
    random = np.random.default_rng(seed)
    jumps = random.random((count, 1)) < 0.05
    steps = np.where(jumps, 3.0, 0.1) * random.normal(size=(count, width))
    rows = np.cumsum(steps, axis=0) + noise * random.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 300),
    width=st.integers(2, 80),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**31),
    isa=st.sampled_from(native.supported_isas()),
)
def test_equals_scikit_learn(count: int, width: int, share: float, seed: int, isa: str) -> None:
    rows = stream(count, width, seed)
    segments = 1 + round(share * (count - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLJ_ISA", isa)
        found = native.segment(rows, segments)
    assert found.tolist() == oracle(rows, segments)


@pytest.mark.parametrize("count", [600, 1500])
def test_equals_scikit_learn_on_long_streams(count: int) -> None:
    rows = stream(count, 64, count)
    for segments in (1, 2, 7, 40, count // 3, count):
        assert native.segment(rows, segments).tolist() == oracle(rows, segments)


def test_finds_the_changes_of_subject() -> None:
    random = np.random.default_rng(0)
    lengths = [7, 1, 30, 12, 3, 55]
    centres = np.repeat(random.normal(size=(len(lengths), 32)), lengths, axis=0)
    rows = (centres + 0.05 * random.normal(size=centres.shape)).astype(np.float32)
    assert native.segment(rows, len(lengths)).tolist() == [0, *np.cumsum(lengths)[:-1].tolist()]


def test_identical_embeddings_join_first() -> None:
    for width in (4, 40):  # below and above the kernels' own step
        rows = np.repeat(np.eye(width, dtype=np.float32)[:4], [5, 1, 3, 2], axis=0)
        assert native.segment(rows, 4).tolist() == [0, 5, 6, 9]
        assert native.segment(rows[:5], 2).tolist() == [0, 4]  # ties: the earlier pair joins first


def test_a_day_of_windows_takes_seconds() -> None:
    """20,000 windows; O(N log N), so four times as many take about four times as long."""
    rows = stream(20_000, 256, 1)
    started = time.perf_counter()
    found = native.segment(rows, 400)
    elapsed = time.perf_counter() - started
    assert len(np.unique(found)) == 400
    assert (np.diff(found.astype(np.int64)) > 0).all()
    assert elapsed < 5.0, f"{elapsed:.2f} s; 0.1 s on a quiet machine"


@pytest.mark.parametrize(
    ("shape", "segments", "words"),
    [
        ((0, 4), 1, "embeddings are"),
        ((3, 0), 1, "embeddings are"),
        ((3, 4), 0, "segments is 0"),
        ((3, 4), 4, "expected 1 to 3"),
    ],
)
def test_bad_arguments(shape: tuple[int, int], segments: int, words: str) -> None:
    with pytest.raises(native.NativeError, match=words):
        native.segment(np.zeros(shape, np.float32), segments)


def test_nan_is_refused() -> None:
    rows = np.zeros((5, 3), np.float32)
    rows[3, 1] = np.nan
    with pytest.raises(native.NativeError, match="embedding 3 holds"):
        native.segment(rows, 2)
