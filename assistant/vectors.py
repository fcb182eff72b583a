"""Embeddings as INT8 rows with a scale each, and an exact nearest-rows search over all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

# Rows turned into float32 at a time: 4 MB at 256 wide, so that a block is still in cache when it is
# multiplied.
_BLOCK_ROWS = 4096


def quantise(embedding: Floats) -> tuple[bytes, float]:
    """A row float32 [E] -> (E int8 bytes, scale), of unit length: row ~ scale * int8.

    The largest element becomes 127, so every element is within scale / 2 of what it was.
    """
    norm = float(np.linalg.norm(embedding))
    row = np.asarray(embedding, np.float64) / (norm if norm > 0 else 1.0)
    largest = float(np.abs(row).max())
    scale = largest / 127 if largest > 0 else 1.0
    return np.rint(row / scale).astype(np.int8).tobytes(), scale


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
        query = np.asarray(embedding, np.float32)
        best_ids = np.empty(0, np.int64)
        best = np.empty(0, np.float32)
        for begin in range(self._first, self._end, _BLOCK_ROWS):
            part = slice(begin, min(begin + _BLOCK_ROWS, self._end))
            cosines = (self._rows[part].astype(np.float32) @ query) * self._scales[part]
            ids = self._ids[part]
            inside = np.ones(len(ids), bool)
            if since_ns is not None:
                inside &= self._ends[part] >= since_ns
            if until_ns is not None:
                inside &= self._starts[part] <= until_ns
            if len(best) >= k:  # most blocks hold nothing better than what is known
                inside &= cosines > best.min()
            if not inside.all():
                cosines, ids = cosines[inside], ids[inside]
            if len(cosines) == 0:
                continue
            best = np.concatenate([best, cosines])
            best_ids = np.concatenate([best_ids, ids])
            if len(best) > k:
                # By (-cosine, id): equal rows come in the order in which they were written.
                kept = np.lexsort((best_ids, -best))[:k]
                best, best_ids = best[kept], best_ids[kept]
        order = np.lexsort((best_ids, -best))[:k]
        return [(int(best_ids[i]), float(best[i])) for i in order]

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
