"""How a stream keeps up, once a second, over all the sessions that it took."""

from __future__ import annotations

import time
from collections import deque

from vljepa_edge.assistant.told import Meters
from vljepa_edge.runtime.stats import StreamStats

_EVERY_S = 1.0
_RATE_OVER_S = 60.0


class MeterReader:
    """Reads a session's counters on the stream's thread; `end_session` carries them on."""

    def __init__(self) -> None:
        self._carried = dict.fromkeys(
            ("windows", "shifts", "decodes", "frames_dropped", "windows_dropped"), 0
        )
        self._read_s = 0.0
        self._decode_ns = 0
        self._session_decode_ns = 0
        self._history: deque[tuple[float, int]] = deque()  # (when, decodes)
        self.last: Meters | None = None

    def due(self) -> bool:
        """Whether a second has passed."""
        return time.monotonic() - self._read_s >= _EVERY_S

    def read(self, stats: StreamStats, latency_ns: int | None) -> Meters:
        """The meters now. Call it where `due`."""
        now = time.monotonic()
        elapsed_s = now - self._read_s if self._read_s else None
        self._read_s = now
        decode_ns = sum(
            stats.stages[name].count * stats.stages[name].mean_ns
            for name in ("prefill", "tokens")
            if name in stats.stages
        )
        spent_ns = max(0, decode_ns - self._session_decode_ns)
        self._session_decode_ns = decode_ns
        totals = {name: carried + getattr(stats, name) for name, carried in self._carried.items()}
        self._history.append((now, totals["decodes"]))
        while now - self._history[0][0] > _RATE_OVER_S:
            self._history.popleft()
        began_s, decodes = self._history[0]
        over_s = now - began_s
        window = stats.stages.get("window")
        self.last = Meters(
            window_p50_ms=window.p50_ns / 1e6 if window else 0.0,
            window_p99_ms=window.p99_ns / 1e6 if window else 0.0,
            latency_ms=None if latency_ns is None else latency_ns / 1e6,
            decode_duty=min(1.0, spent_ns / 1e9 / elapsed_s) if elapsed_s else 0.0,
            decodes_per_minute=60 * (totals["decodes"] - decodes) / over_s if over_s else 0.0,
            level=stats.level,
            **totals,
        )
        return self.last

    def end_session(self, stats: StreamStats) -> None:
        """The next session counts from 0 again."""
        for name in self._carried:
            self._carried[name] += getattr(stats, name)
        self._session_decode_ns = 0
