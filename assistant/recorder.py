"""Turns a stream's events into remembered segments, and writes them from a thread of its own.

Open segments are written too, twice a second: what a killed process loses is the last second.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from vljepa_edge.assistant.memory import BundleId, Memory, SegmentRow
from vljepa_edge.runtime.events import EmbeddingEvent, EndEvent, Event, ShiftEvent, TextEvent

FLUSH_S = 0.5
LONGEST_S = 30.0  # a longer segment is remembered in parts, so that a time found is not vague
_SLOWEST_RETRY_S = 8.0
_MOST_UNWRITTEN = 1024  # rows kept while the disk takes none
_ROWS_WITH_TEXT_TO_COME = 8


@dataclass
class _Open:
    """A query's segment under way, with the prediction that no event has placed yet.

    The core tells a window's prediction before the shift that the same window may bring, so a
    prediction is placed when the next event has come.
    """

    sum: npt.NDArray[np.float64] | None = None
    row: SegmentRow | None = None
    shift: int = 0  # the window whose shift began the gate's segment
    pending: EmbeddingEvent | None = None
    shifts: deque[int] = field(default_factory=lambda: deque(maxlen=_ROWS_WITH_TEXT_TO_COME))
    texts: dict[int, str] = field(default_factory=dict)  # by the shift that began the segment
    parts: deque[tuple[int, SegmentRow]] = field(
        default_factory=lambda: deque(maxlen=_ROWS_WITH_TEXT_TO_COME)
    )


class Recorder:
    """Feeds a memory from events. `take` never waits for the disk.

    `problem` says why nothing is being remembered, "" while all is well; `lost` counts segments
    that had to be given up meanwhile. `on_change` is called whenever `problem` changes.
    """

    def __init__(
        self,
        memory: Memory,
        bundle: BundleId,
        source: str,
        *,
        thumbnail: Callable[[], bytes | None] | None = None,
        on_change: Callable[[str], None] | None = None,
        flush_s: float = FLUSH_S,
    ) -> None:
        self.memory = memory
        self.source = source
        self.problem = ""
        self.lost = 0
        self._bundle = bundle
        self._thumbnail = thumbnail
        self._on_change = on_change
        self._flush_s = flush_s
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._dirty: dict[int, SegmentRow] = {}  # by id(): rows have no number before their write
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="vljepa-memory", daemon=True)
        self._thread.start()

    # ---- events, on the stream's thread ----

    def take(self, event: Event, epoch_ns: int) -> None:
        """Takes any event; `epoch_ns` + its time is nanoseconds since 1970."""
        with self._lock:
            if isinstance(event, EmbeddingEvent):
                state = self._open.setdefault(event.query, _Open())
                self._place(state, epoch_ns)
                state.pending = event
            elif isinstance(event, ShiftEvent):
                state = self._open.setdefault(event.query, _Open())
                if state.pending is not None and state.pending.window != event.window:
                    self._place(state, epoch_ns)
                state.row = state.sum = None
                state.shift = event.window
                state.shifts.append(event.window)
            elif isinstance(event, TextEvent):
                self._name(event)
            elif isinstance(event, EndEvent):
                for state in self._open.values():
                    self._place(state, epoch_ns)
                self._open.clear()

    def _place(self, state: _Open, epoch_ns: int) -> None:
        """Adds the pending prediction to the segment that it turned out to belong to."""
        event, state.pending = state.pending, None
        if event is None or event.embedding.size != self._bundle.width:
            return
        row = state.row
        started_ns = epoch_ns + event.start_ns
        if row is not None and started_ns - row.start_ns > LONGEST_S * 1e9:
            row = None
        if row is None or state.sum is None:
            text = state.texts.get(state.shift, "")
            picture = self._thumbnail() if self._thumbnail is not None else None
            mean = event.embedding.copy()
            end_ns = epoch_ns + event.end_ns
            row = SegmentRow(self.source, event.query, started_ns, end_ns, text, 1, mean, picture)
            state.sum = event.embedding.astype(np.float64)
            state.row = row
            state.parts.append((state.shift, row))
        else:
            state.sum += event.embedding
            row.windows += 1
            row.end_ns = epoch_ns + event.end_ns
            row.mean = state.sum.astype(np.float32)
        self._dirty[id(row)] = row

    def _name(self, event: TextEvent) -> None:
        """Gives a text to the rows of the segment that it tells about."""
        state = self._open.get(event.query)
        if state is None:
            return
        # Told by the shift, not by time: the gate cuts some windows before the shift at which it
        # was sure, so that a segment may begin before the shift of the one before it.
        closed = event.reason == "close"
        last = [at for at in state.shifts if at < event.window + (0 if closed else 1)]
        if not last:
            return
        # Its row may not be there yet: the segment's first prediction waits to be placed.
        state.texts[last[-1]] = event.text
        while len(state.texts) > _ROWS_WITH_TEXT_TO_COME:
            del state.texts[next(iter(state.texts))]
        for shift, row in state.parts:
            if shift == last[-1]:
                row.text = event.text
                self._dirty[id(row)] = row

    # ---- the disk, on a thread of its own ----

    def flush(self) -> bool:
        """Writes what waits. False: the disk did not take it; it waits on."""
        with self._lock:
            rows = list(self._dirty.values())
            self._dirty.clear()
            # What is written is what holds now; a row may grow on while it is written.
            writing = [
                SegmentRow(
                    r.source, r.query, r.start_ns, r.end_ns, r.text, r.windows, r.mean,
                    r.thumbnail, r.row_id,
                )
                for r in rows
            ]  # fmt: skip
        if not rows:
            return True
        try:
            self.memory.write(writing, self._bundle)
        except sqlite3.Error as error:
            self._put_back(rows)
            self._tell(f"nothing is being remembered: {self.memory.path}: {error}")
            return False
        with self._lock:
            for row, written in zip(rows, writing, strict=True):
                row.row_id, row.thumbnail = written.row_id, None
        self._tell("")
        return True

    def _put_back(self, rows: list[SegmentRow]) -> None:
        with self._lock:
            waiting = {id(row): row for row in rows}
            waiting.update(self._dirty)
            while len(waiting) > _MOST_UNWRITTEN:
                del waiting[next(iter(waiting))]
                self.lost += 1
            self._dirty = waiting

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            if self._on_change is not None:
                self._on_change(problem)

    def _run(self) -> None:
        wait_s = self._flush_s
        while not self._stopped:
            self._wake.wait(wait_s)
            wait_s = self._flush_s if self.flush() else min(2 * wait_s, _SLOWEST_RETRY_S)

    def close(self) -> None:
        """Writes what is left, once, and stops."""
        self._stopped = True
        self._wake.set()
        self._thread.join()
        self.flush()
