"""Top 10 of 100,000 INT8 rows of 1,536, against NumPy in FP32 and the exact search of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...runtime.search import nearest_rows, quantise_rows
from .turns import take_turns

WIDTH, K = 1536, 10


def measure(count: int, rounds: int) -> dict[str, Any]:
    """One query at a time, one thread. usearch and faiss are timed where they are installed."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((count, WIDTH), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query = random.standard_normal(WIDTH, np.float32)
    query /= np.linalg.norm(query)
    stored = quantise_rows(rows)
    steps = np.rint(query / np.abs(query).max() * 127).astype(np.int8)

    def numpy_fp32() -> Any:
        scores = rows @ query
        best = np.argpartition(scores, -K)[-K:]
        return best[np.argsort(-scores[best])]

    contenders: dict[str, Callable[[], Any]] = {
        "ours_int8": lambda: nearest_rows(stored.values, query, K, stored.scales),
        "ours_fp32": lambda: nearest_rows(rows, query, K),
        "numpy_fp32": numpy_fp32,
    }
    versions: dict[str, str | None] = {"usearch": None, "faiss": None}
    try:
        from usearch import __version__ as usearch_version
        from usearch.index import MetricKind, search

        versions["usearch"] = usearch_version
        contenders["usearch_int8"] = lambda: search(
            stored.values, steps, K, MetricKind.Cos, exact=True, threads=1
        )
    except ImportError:
        pass
    try:
        import faiss

        versions["faiss"] = faiss.__version__
        faiss.omp_set_num_threads(1)
        index = faiss.IndexScalarQuantizer(
            WIDTH, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        index.add(stored.values.astype(np.float32))
        asked = steps.astype(np.float32)[None]
        contenders["faiss_int8"] = lambda: index.search(asked, K)
    except ImportError:
        pass
    found = set(nearest_rows(stored.values, query, K, stored.scales)[0].tolist())
    recall = len(found & set(numpy_fp32().tolist())) / K
    what = f"top {K} of {count} rows of {WIDTH}, one query, one thread"
    turns = take_turns(what, contenders, rounds)
    return turns.to_json("ours_int8", recall_against_fp32=recall, versions=versions)
