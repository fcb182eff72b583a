"""Queries compiled to token embeddings, and their form in the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi


@dataclass(frozen=True, eq=False)
class Query:
    """A query as the Predictor takes it: token embeddings float32 [tokens, query width]."""

    text: str
    embeddings: npt.NDArray[np.float32]


def from_core(query: Any, width: int) -> Query:
    """Copies a `vlj_query` of the bundle."""
    size = 4 * query.token_count * width
    embeddings = np.frombuffer(ffi.buffer(query.embeddings, size), np.float32)
    text = ffi.string(query.text).decode("utf-8", "replace")
    return Query(text, embeddings.reshape(query.token_count, width).copy())


def core_queries(queries: Sequence[Query]) -> tuple[Any, list[Any]]:
    """(a `vlj_query[]`, what must stay alive while it is used)."""
    array = ffi.new("vlj_query[]", max(1, len(queries)))
    kept: list[Any] = []
    for i, query in enumerate(queries):
        embeddings = np.ascontiguousarray(query.embeddings, np.float32)
        text = ffi.new("char[]", query.text.encode("utf-8"))
        kept += [embeddings, text]
        array[i].struct_size = ffi.sizeof("vlj_query")
        array[i].token_count = len(embeddings)
        array[i].embeddings = ffi.cast("float *", embeddings.ctypes.data)
        array[i].text = text
    return array, kept
