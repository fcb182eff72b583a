"""Embeddings as INT8 rows with a scale each, in memory, searched by the core's kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime.search import nearest_rows, quantise_rows

Floats = npt.NDArray[np.float32]


def quantise(embedding: Floats) -> tuple[bytes, float]:
    """A row float32 [E] of any length -> (E int8 bytes, scale): scale * int8 has unit length."""
    rows = quantise_rows(embedding[np.newaxis])
    return rows.values.tobytes(), float(rows.scales[0])


def dequantise(vector: bytes, scale: float) -> Floats:
    """The row float32 [E] that `quantise` made bytes of."""
    row: Floats = np.frombuffer(vector, np.int8).astype(np.float32) * np.float32(scale)
    return row


class VectorTable:
    """INT8 rows in memory, by ascending id: append, overwrite, forget the first ones, search."""

    def __init__(self, width: int, capacity: int = 1024) -> None:
        self.width = width
        self._first = 0  # rows before it are forgotten
        self._end = 0
        self._rows = np.empty((capacity, width), np.int8)
        self._scales = np.empty(capacity, np.float32)
        self._ids = np.empty(capacity, np.int64)
        self._starts = np.empty(capacity, np.int64)
        self._ends = np.empty(capacity, np.int64)

    def __len__(self) -> int:
        return self._end - self._first

    def put(self, row_id: int, vector: bytes, scale: float, start_ns: int, end_ns: int) -> None:
        """Appends a row, or overwrites the one of this id. New ids ascend."""
        at = self._end
        if len(self) and row_id <= self._ids[self._end - 1]:
            at = self._first + int(np.searchsorted(self._ids[self._first : self._end], row_id))
            if self._ids[at] != row_id:
                return  # a row that was forgotten meanwhile
        elif at == len(self._ids):
            self._make_room()
            at = self._end
        self._rows[at] = np.frombuffer(vector, np.int8)
        self._scales[at], self._ids[at] = scale, row_id
        self._starts[at], self._ends[at] = start_ns, end_ns
        self._end = max(self._end, at + 1)

    def extend(
        self,
        ids: Sequence[int],
        vectors: Sequence[bytes],
        scales: Sequence[float],
        starts_ns: Sequence[int],
        ends_ns: Sequence[int],
    ) -> None:
        """Appends rows whose ids ascend and lie above all that are there."""
        while len(self._ids) - self._end < len(ids):
            self._make_room()
        new = slice(self._end, self._end + len(ids))
        self._rows[new] = np.frombuffer(b"".join(vectors), np.int8).reshape(-1, self.width)
        self._scales[new], self._ids[new] = scales, ids
        self._starts[new], self._ends[new] = starts_ns, ends_ns
        self._end = new.stop

    @property
    def last_id(self) -> int:
        """The largest id; 0 without rows."""
        return int(self._ids[self._end - 1]) if len(self) else 0

    def forget_before(self, row_id: int) -> None:
        """Drops all rows with a smaller id."""
        ids = self._ids[self._first : self._end]
        self._first += int(np.searchsorted(ids, row_id))

    def nearest(
        self, embedding: Floats, k: int, since_ns: int | None = None, until_ns: int | None = None
    ) -> list[tuple[int, float]]:
        """(id, cosine) of the k rows nearest to a unit row float32 [E], best first, all compared.

        `since_ns` and `until_ns` keep rows whose span touches that stretch.
        """
        live = slice(self._first, self._end)
        if since_ns is not None or until_ns is not None:
            inside = np.ones(len(self), bool)
            if since_ns is not None:
                inside &= self._ends[live] >= since_ns
            if until_ns is not None:
                inside &= self._starts[live] <= until_ns
            chosen = np.flatnonzero(inside)
            if not len(chosen):
                return []
            live = slice(self._first + int(chosen[0]), self._first + int(chosen[-1]) + 1)
            if len(chosen) < live.stop - live.start:  # rows of a time need not lie together
                return self._nearest(embedding, k, self._first + chosen)
        return self._nearest(embedding, k, live)

    def _nearest(
        self, embedding: Floats, k: int, which: slice | npt.NDArray[np.int64]
    ) -> list[tuple[int, float]]:
        places, cosines = nearest_rows(self._rows[which], embedding, k, self._scales[which])
        ids = self._ids[which]
        return [(int(ids[i]), float(cosine)) for i, cosine in zip(places, cosines, strict=True)]

    def _make_room(self) -> None:
        """Moves rows to the front, or doubles the arrays."""
        count = len(self)
        capacity = len(self._ids) if self._first > len(self._ids) // 2 else 2 * len(self._ids)
        live = slice(self._first, self._end)
        for name in ("_rows", "_scales", "_ids", "_starts", "_ends"):
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[:count] = old[live]
            setattr(self, name, new)
        self._first, self._end = 0, count
