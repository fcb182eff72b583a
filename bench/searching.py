"""How long a search of the memory takes: `python -m vljepa_edge.bench.searching`.

Fills memories with 10 thousand to 1 million rows (clustered, as remembered segments are), then
times `Memory.search` for five rows: the first one, which reads the file, and those after it. Beside
it, where it is installed (`pip install usearch`), usearch's HNSW index over the same rows at the
same precision, INT8: milliseconds, the share of the exact five that it finds, how long it takes to
build, and its bytes. Prints JSON, a line as soon as a size is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.assistant import schema
from vljepa_edge.assistant.memory import BundleId, Memory
from vljepa_edge.bench.statistics import percentile
from vljepa_edge.runtime.search import quantise_rows

K = 5
SEARCHES = 50
BUNDLE = BundleId("0" * 64, "search bench", 0)
_AT_A_TIME = 8192
_CLUSTERS = 2000
Floats = npt.NDArray[np.float32]


def rows_of(count: int, width: int, seed: int = 1) -> Iterator[Floats]:
    """Unit rows float32 [n, width] around so many centres, a part at a time."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((_CLUSTERS, width)).astype(np.float32)
    for first in range(0, count, _AT_A_TIME):
        size = min(_AT_A_TIME, count - first)
        rows = centres[rng.integers(0, _CLUSTERS, size)]
        rows = rows + 0.5 * rng.standard_normal((size, width)).astype(np.float32)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def queries_of(width: int) -> Floats:
    """Unit rows float32 [SEARCHES, width] that are like the rows, and none of them."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((_CLUSTERS, width)).astype(np.float32)
    rng = np.random.default_rng(2)
    rows = centres[rng.integers(0, _CLUSTERS, SEARCHES)]
    rows = rows + 0.5 * rng.standard_normal(rows.shape).astype(np.float32)
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def fill(path: Path, count: int, width: int) -> None:
    """A memory of so many segments, in one transaction."""
    connection = schema.connect(path, read_only=False)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO bundles (id, sha256, name, width) VALUES (1, ?, ?, ?)",
            (BUNDLE.sha256, BUNDLE.name, width),
        )
        number = 0
        for rows in rows_of(count, width):
            quantised = quantise_rows(rows)
            given = [
                (int(at * 3e9), int((at + 1) * 3e9), scale, vector.tobytes(), at + 1)
                for at, (vector, scale) in enumerate(
                    zip(quantised.values, quantised.scales.tolist(), strict=True), number
                )
            ]
            connection.executemany(
                "INSERT INTO segments (bundle, source, query, start_ns, end_ns, text, windows, "
                "scale, vector, changed) VALUES (1, 'bench', 'q', ?, ?, 'a text', 12, ?, ?, ?)",
                given,
            )
            number += len(rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def search_memory(path: Path, width: int) -> tuple[dict[str, float], list[set[int]]]:
    """Times, and the exact five of each query (ids from 1 on)."""
    bundle = BundleId(BUNDLE.sha256, BUNDLE.name, width)
    found: list[set[int]] = []
    with Memory(path, read_only=True) as memory:
        queries = queries_of(width)
        began = time.perf_counter()
        memory.search(queries[0], bundle, K)
        first_ms = (time.perf_counter() - began) * 1e3
        took = _times(
            lambda query: found.append({one.row_id for one in memory.search(query, bundle, K)}),
            queries,
        )
    return {"first_ms": round(first_ms, 1), **took}, found


def search_usearch(count: int, width: int, exact: list[set[int]]) -> dict[str, Any]:
    """The same with usearch's HNSW; a reason where it isn't installed."""
    try:
        import usearch
        from usearch.index import Index
    except ImportError:
        return {"missing": "usearch is not installed (pip install usearch)"}
    began = time.perf_counter()
    index = Index(ndim=width, metric="cos", dtype="i8")
    for number, rows in enumerate(rows_of(count, width)):
        first = number * _AT_A_TIME + 1
        index.add(np.arange(first, first + len(rows)), rows)
    build_s = time.perf_counter() - began
    found: list[set[int]] = []
    took = _times(
        lambda query: found.append(set(index.search(query, K).keys.tolist())), queries_of(width)
    )
    shared = [len(one & other) / K for one, other in zip(found, exact, strict=True)]
    return {
        "version": usearch.__version__,
        **took,
        "of_the_exact_five": round(float(np.mean(shared)), 4),
        "build_s": round(build_s, 1),
        "bytes": int(index.memory_usage),
    }


def _times(search: Callable[[Floats], object], queries: Floats) -> dict[str, float]:
    took = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        took.append((time.perf_counter() - began) * 1e3)
    return {"median_ms": round(percentile(took, 50), 3), "max_ms": round(max(took), 3)}


def measure(count: int, width: int, with_usearch: bool) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory(prefix="vljepa-search-") as folder:
        path = Path(folder) / "memory"
        began = time.perf_counter()
        fill(path, count, width)
        filled_s = time.perf_counter() - began
        size = path.stat().st_size
        memory, exact = search_memory(path, width)
    told = {
        "rows": count,
        "width": width,
        "fill_s": round(filled_s, 1),
        "file_bytes": size,
        "memory": memory,
    }
    if with_usearch:
        told["usearch"] = search_usearch(count, width, exact)
    return told


def main() -> int:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.searching", description=__doc__
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=256, help="of an embedding; nano's: 256")
    parser.add_argument("--without-usearch", action="store_true")
    arguments = parser.parse_args()
    for count in arguments.rows:
        told = measure(count, arguments.width, not arguments.without_usearch)
        print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
