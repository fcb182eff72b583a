"""Writes what is measured line by line, so that an interrupted run keeps what it has."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import conditions

FLUSH_S = 0.5


class Recorder:
    """Appends JSON lines: samples, counters, timeline points, and `done` at the very end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, bool], list[float]] = {}
        self._flushed_at = time.monotonic()
        self.started_at = self._flushed_at

    def sample(self, name: str, milliseconds: float, warmup: bool = False) -> None:
        """One raw sample."""
        self.samples(name, (milliseconds,), warmup)

    def samples(self, name: str, milliseconds: Iterable[float], warmup: bool = False) -> None:
        """Raw samples of one kind; they reach the disk within half a second."""
        values = list(milliseconds)
        with self._lock:
            if values:
                self._waiting.setdefault((name, warmup), []).extend(values)
            if time.monotonic() - self._flushed_at > FLUSH_S:
                self._flush()

    def counter(self, name: str, value: float | None) -> None:
        """A figure of the whole run; a later one of the same name replaces it."""
        self._write({"counter": name, "value": value})

    def point(self, **values: float | None) -> None:
        """A point of the timeline, with its time since the beginning."""
        self._write({"point": {"t_s": time.monotonic() - self.started_at, **values}})

    def note(self, name: str, value: Any) -> None:
        """Conditions, energy, or the reason of a failure."""
        self._write({"note": name, "value": value})

    def close(self, done: bool) -> None:
        """`done`: all that was asked for has been measured."""
        if done:
            self._write({"done": True})
        with self._lock:
            self._flush()
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._flush()
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def _flush(self) -> None:
        for (name, warmup), values in self._waiting.items():
            line = {"samples": name, "warmup": warmup, "values": [round(v, 6) for v in values]}
            self._file.write(json.dumps(line) + "\n")
        self._waiting.clear()
        self._file.flush()
        self._flushed_at = time.monotonic()


class Monitor:
    """Reads memory, temperature, clock and background load once a period, in a thread."""

    def __init__(self, recorder: Recorder, period_s: float = 1.0) -> None:
        self._recorder, self._period_s = recorder, period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        busy = conditions.BusyClock.now()
        while not self._stop.wait(self._period_s):
            self._recorder.point(
                rss_mb=conditions.rss_mb(),
                temperature_c=conditions.temperature_c(),
                clock_mhz=conditions.clock_mhz(),
                background_cores=busy.background_cores(),
            )
            busy = conditions.BusyClock.now()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that was cut off is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
