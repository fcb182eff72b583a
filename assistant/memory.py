"""`Memory`: everything seen, as segment means with their texts and times, in one SQLite file."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from vljepa_edge.assistant import schema
from vljepa_edge.assistant.errors import MemoryFileError
from vljepa_edge.assistant.vectors import Floats, VectorTable, quantise

DEFAULT_BUDGET_BYTES = 256 << 20
SMALLEST_BUDGET_BYTES = 1 << 20
# Forgotten at a time, so that not every write forgets something.
_FORGET_SHARE = 16
_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class BundleId:
    """What made the vectors: those of different bundles lie in different spaces."""

    sha256: str
    name: str
    width: int


@dataclass
class SegmentRow:
    """One stretch of a stream to remember; `row_id` is given by the first write.

    Times are nanoseconds since 1970. `mean` is float32 [E], of any length.
    """

    source: str
    query: str
    start_ns: int
    end_ns: int
    text: str
    windows: int
    mean: Floats
    thumbnail: bytes | None = None
    row_id: int = field(default=0)


@dataclass(frozen=True)
class Recollection:
    """A remembered segment. `score`: cosine to what was asked, 0 where nothing was asked."""

    row_id: int
    score: float
    text: str
    query: str
    source: str
    start_ns: int  # since 1970
    end_ns: int
    windows: int
    has_thumbnail: bool = False


@dataclass(frozen=True)
class MemorySummary:
    """What a memory holds, for `vljepa memory show`."""

    path: str
    segments: int
    thumbnails: int
    first_ns: int | None
    last_ns: int | None
    used_bytes: int
    file_bytes: int
    bundles: dict[str, int]  # "name sha256" -> segments
    queries: dict[str, int]
    sources: dict[str, int]


class Memory:
    """A store of segment means. Safe to use from several threads; one process writes at a time.

    `budget_bytes` bounds the file. When it is full, the oldest thumbnails are forgotten first, then
    the segments that were written first, a sixteenth at a time.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        if budget_bytes < SMALLEST_BUDGET_BYTES:
            raise MemoryFileError(
                f"a memory's budget is {budget_bytes} bytes, wanted {SMALLEST_BUDGET_BYTES} or more"
            )
        self.budget_bytes = budget_bytes
        self.read_only = read_only
        self._lock = threading.RLock()
        self._tables: dict[str, tuple[VectorTable, int]] = {}  # sha256 -> (rows, changed)
        self._searching = threading.Lock()
        self._writer = None
        if not read_only:
            if not self.path.parent.is_dir():
                raise MemoryFileError(f"{path}: there is no folder {self.path.parent}")
            self._writer = schema.WriterLock(self.path)
        try:
            self._connection = schema.connect(self.path, read_only=read_only)
        except BaseException:
            if self._writer is not None:
                self._writer.release()
            raise
        changed = self._one("SELECT max(changed) FROM segments")
        self._changed = changed or 0

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._lock:
            self._connection.close()
            if self._writer is not None:
                self._writer.release()

    def _one(self, statement: str, *values: object) -> int | None:
        with self._lock:
            row = self._connection.execute(statement, values).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    # ---- writing ----

    def write(self, rows: Iterable[SegmentRow], bundle: BundleId) -> None:
        """Writes rows in one transaction, new ones and those written before, and keeps the budget.

        Raises sqlite3.Error where the disk is full or fails; then nothing of it was written, and
        new rows still have no id.
        """
        given: list[tuple[SegmentRow, int]] = []
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                bundle_id = self._bundle_id(bundle)
                for row in rows:
                    given.append((row, self._put(row, bundle_id)))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            for row, row_id in given:
                row.row_id = row_id
            self._keep_budget()

    def _bundle_id(self, bundle: BundleId) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO bundles (sha256, name, width) VALUES (?, ?, ?)",
            (bundle.sha256, bundle.name, bundle.width),
        )
        found = self._one("SELECT id FROM bundles WHERE sha256 = ?", bundle.sha256)
        assert found is not None
        return found

    def _put(self, row: SegmentRow, bundle_id: int) -> int:
        vector, scale = quantise(row.mean)
        self._changed += 1
        facts = (row.end_ns, row.text, row.windows, scale, vector, self._changed)
        if row.row_id:
            self._connection.execute(
                "UPDATE segments SET end_ns = ?, text = ?, windows = ?, scale = ?, vector = ?, "
                "changed = ? WHERE id = ?",
                (*facts, row.row_id),
            )
            return row.row_id
        cursor = self._connection.execute(
            "INSERT INTO segments (end_ns, text, windows, scale, vector, changed, "
            "bundle, source, query, start_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*facts, bundle_id, row.source, row.query, row.start_ns),
        )
        assert cursor.lastrowid is not None
        if row.thumbnail is not None:
            self._connection.execute(
                "INSERT INTO thumbnails VALUES (?, ?)", (cursor.lastrowid, row.thumbnail)
            )
        return cursor.lastrowid

    def _keep_budget(self) -> None:
        """Forgets until what is held fits; oldest thumbnails first, then oldest segments."""
        while schema.used_bytes(self._connection) > self.budget_bytes:
            table, key = ("thumbnails", "segment")
            count = self._one("SELECT count(*) FROM thumbnails") or 0
            if not count:
                table, key = ("segments", "id")
                count = self._one("SELECT count(*) FROM segments") or 0
                if count <= 1:
                    return
            self._connection.execute(
                f"DELETE FROM {table} WHERE {key} IN "
                f"(SELECT {key} FROM {table} ORDER BY {key} LIMIT ?)",
                (-(-count // _FORGET_SHARE),),
            )

    # ---- searching ----

    def search(
        self,
        embedding: Floats,
        bundle: BundleId,
        k: int = 5,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[Recollection]:
        """The k segments nearest to a text's embedding float32 [E], best first; all are compared.

        Only segments of the same bundle: vectors of another one mean something else.
        """
        with self._searching:
            table = self._refreshed(bundle)
            found = table.nearest(embedding, k, since_ns, until_ns)
        recollections = []
        for row_id, score in found:
            recollections += list(self._read("WHERE segments.id = ?", (row_id,), score))
        return recollections

    def _refreshed(self, bundle: BundleId) -> VectorTable:
        """All rows of a bundle in memory, with what was written since the last search."""
        table, changed = self._tables.get(bundle.sha256, (VectorTable(bundle.width), 0))
        with self._lock:
            first = self._one("SELECT min(id) FROM segments") or 0
            table.forget_before(first)
            newest = changed
            # By id, since new ids have to come in their order.
            found = self._connection.execute(
                "SELECT segments.id, vector, scale, start_ns, end_ns, changed FROM segments "
                "JOIN bundles ON bundles.id = bundle "
                "WHERE changed > ? AND sha256 = ? AND length(vector) = ? ORDER BY +segments.id",
                (changed, bundle.sha256, bundle.width),
            )
            while rows := found.fetchmany(_ROWS_AT_A_TIME):
                known = bisect.bisect_right(rows, table.last_id, key=lambda row: row[0])
                for row_id, vector, scale, start_ns, end_ns, _ in rows[:known]:
                    table.put(row_id, vector, scale, start_ns, end_ns)
                if rows[known:]:
                    ids, vectors, scales, starts, ends, _ = zip(*rows[known:], strict=True)
                    table.extend(ids, vectors, scales, starts, ends)
                newest = max(newest, *(row[5] for row in rows))
        self._tables[bundle.sha256] = (table, newest)
        return table

    def segments(
        self, since_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[Recollection]:
        """Every remembered segment that touches a stretch of time, by its start."""
        low = np.iinfo(np.int64).min if since_ns is None else since_ns
        high = np.iinfo(np.int64).max if until_ns is None else until_ns
        yield from self._read(
            "WHERE end_ns >= ? AND start_ns <= ? ORDER BY start_ns, segments.id",
            (int(low), int(high)),
        )

    def _read(
        self, rest: str, values: tuple[int, ...], score: float = 0.0
    ) -> Iterator[Recollection]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT segments.id, text, query, source, start_ns, end_ns, windows, "
                "thumbnails.segment IS NOT NULL FROM segments "
                f"LEFT JOIN thumbnails ON thumbnails.segment = segments.id {rest}",
                values,
            ).fetchall()
        for row_id, text, query, source, start_ns, end_ns, windows, pictured in rows:
            yield Recollection(
                row_id, score, text, query, source, start_ns, end_ns, windows, bool(pictured)
            )

    def thumbnail(self, row_id: int) -> bytes | None:
        """The JPEG kept for a segment, if one was."""
        with self._lock:
            row = self._connection.execute(
                "SELECT jpeg FROM thumbnails WHERE segment = ?", (row_id,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    # ---- what it holds ----

    def summary(self) -> MemorySummary:
        """Counts, times and sizes."""

        def counted(statement: str) -> dict[str, int]:
            return {str(name): int(count) for name, count in self._connection.execute(statement)}

        with self._lock:
            return MemorySummary(
                str(self.path),
                self._one("SELECT count(*) FROM segments") or 0,
                self._one("SELECT count(*) FROM thumbnails") or 0,
                self._one("SELECT min(start_ns) FROM segments"),
                self._one("SELECT max(end_ns) FROM segments"),
                schema.used_bytes(self._connection),
                sum(f.stat().st_size for f in schema.files_of(self.path) if f.exists()),
                counted(
                    "SELECT name || ' ' || sha256, count(*) FROM segments "
                    "JOIN bundles ON bundles.id = bundle GROUP BY bundle"
                ),
                counted("SELECT query, count(*) FROM segments GROUP BY query"),
                counted("SELECT source, count(*) FROM segments GROUP BY source"),
            )


def erase(path: str | Path) -> list[Path]:
    """Deletes a memory and everything beside it; gives what was deleted.

    MemoryFileError where it isn't there, isn't a memory, or is being written.
    """
    path = Path(path)
    if not path.is_file():
        raise MemoryFileError(f"{path}: no such memory; there is nothing to erase")
    lock = schema.WriterLock(path)
    try:
        try:
            schema.connect(path, read_only=False).close()  # refuses what is not ours
        except MemoryFileError:
            lock.path.unlink(missing_ok=True)
            raise
        deleted = [file for file in schema.files_of(path) if file.exists()]
        for file in deleted:
            file.unlink()
    finally:
        lock.release()
    return deleted


def now_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()
