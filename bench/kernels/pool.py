"""Masked mean pool over tokens that fit in no L2 cache, against this machine's read bandwidth."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .turns import take_turns

TOKENS, WIDTH, EMBEDDING = 8192, 2048, 1536


def measure(library: ctypes.CDLL, rounds: int) -> dict[str, Any]:
    """hidden [8192, 2048] and weight [2048, 1536] are read once: 80 MB; beside it, the same bytes
    read by a loop that only combines them."""
    random = np.random.default_rng(0)
    hidden = random.standard_normal((TOKENS, WIDTH), np.float32)
    weight = random.standard_normal((WIDTH, EMBEDDING), np.float32) * np.float32(0.02)
    mask, bias = np.ones(TOKENS, np.float32), np.zeros(EMBEDDING, np.float32)
    scratch, out = np.empty(WIDTH, np.float32), np.empty(EMBEDDING, np.float32)
    library.vlj_pool_kernels_best.restype = ctypes.c_void_p
    kernels = ctypes.c_void_p(library.vlj_pool_kernels_best())
    pool, read_all = library.vlj_pool_project, library.bench_read_all
    pool.restype, read_all.restype = None, ctypes.c_uint64

    def pointer(array: Any) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def size(value: int) -> ctypes.c_size_t:
        return ctypes.c_size_t(value)

    def ours() -> None:
        pool(
            kernels, pointer(hidden), pointer(mask), size(TOKENS), size(WIDTH), pointer(weight),
            pointer(bias), size(EMBEDDING), pointer(scratch), pointer(out),
        )  # fmt: skip

    def read() -> None:
        read_all(pointer(hidden), size(hidden.nbytes))
        read_all(pointer(weight), size(weight.nbytes))

    def numpy_steps() -> Any:
        mean = (mask[None] @ hidden)[0] / mask.sum()
        projected = mean @ weight + bias
        return projected / np.linalg.norm(projected)

    ours()
    np.testing.assert_allclose(out, numpy_steps(), atol=1e-4)
    bytes_read = hidden.nbytes + weight.nbytes
    what = f"pool [{TOKENS}, {WIDTH}] and project to {EMBEDDING}, {bytes_read / 1e6:.0f} MB"
    turns = take_turns(what, {"ours": ours, "read": read, "numpy": numpy_steps}, rounds)
    rates = {name: bytes_read / turns.median_ms(name) / 1e6 for name in ("ours", "read", "numpy")}
    return turns.to_json(
        "ours",
        gigabytes_per_s={name: round(rate, 2) for name, rate in rates.items()},
        share_of_read_bandwidth=round(turns.ratio("read", "ours"), 3),
    )
