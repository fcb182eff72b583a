"""`Watcher`: the thread that keeps a stream going over lost cameras and changed settings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from vljepa_edge.assistant.meters import MeterReader
from vljepa_edge.assistant.tap import Tap
from vljepa_edge.assistant.told import Told, Watching
from vljepa_edge.runtime.errors import VljepaError
from vljepa_edge.runtime.events import Event
from vljepa_edge.runtime.model import Model
from vljepa_edge.runtime.options import GateOptions, StreamOptions
from vljepa_edge.runtime.sources import Source

_LONGEST_RETRY_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What the next session is opened with."""

    queries: tuple[str, ...]
    gate: GateOptions | None


class Watcher:
    """Runs sessions, one after the other, over one source.

    `on_event` gets the core's events with the epoch that makes their times wall-clock times;
    `tell` gets everything else. Both are called on the watching thread.
    """

    def __init__(
        self,
        model: Model,
        reopen: Callable[[], Source],
        source: Source,
        wanted: Wanted,
        options: StreamOptions,
        *,
        paced: bool,
        began_ns: int | None,
        retry_s: float,
        on_event: Callable[[Event, int], None],
        on_restart: Callable[[], None],
        tell: Callable[[Told], None],
    ) -> None:
        self.model = model
        self.meters = MeterReader()
        self.state = Watching("opening", source.name)
        self.live = source.live
        self.realtime = source.live or paced
        self.latency_ns: int | None = None
        self._reopen = reopen
        self._paced = paced
        self._options = options
        self._began_ns = began_ns
        self._retry_s = retry_s
        self._on_event = on_event
        self._on_restart = on_restart
        self._tell = tell
        self._lock = threading.Lock()
        self._wanted = wanted
        self._changed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vljepa-watch", daemon=True)
        self.tap = self._tapped(source)

    # ---- from any thread ----

    @property
    def wanted(self) -> Wanted:
        """What holds, or will in a moment."""
        with self._lock:
            return self._wanted

    def want(self, change: Callable[[Wanted], Wanted]) -> Wanted:
        """Changes what is wanted; the session under way gives place to one that has it."""
        with self._lock:
            self._wanted = change(self._wanted)
            self._changed = True
            self.tap.pause()
            return self._wanted

    def start(self) -> None:
        """Begins to watch; a second call does nothing."""
        with self._lock:
            if not self._thread.ident:
                self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it watches, or waits for a camera to come back."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends, processes what was taken, and closes the source."""
        self._stopped.set()
        self.tap.pause()
        if self._thread.ident and self._thread is not threading.current_thread():
            self._thread.join()
        self.tap.shut()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the end of the source. False: it goes on."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def epoch_ns(self) -> int:
        """Nanoseconds since 1970 at the stream's time 0."""
        if self.live:
            return time.time_ns() - time.monotonic_ns()
        if self._began_ns is None:
            self._began_ns = time.time_ns()
        return self._began_ns - (self.tap.first_ns or 0)

    # ---- the thread ----

    def _tapped(self, source: Source) -> Tap:
        about = self.model.description
        return Tap(
            source,
            frames=about.frames,
            stride=self._options.stride or about.stride,
            fps=self._options.fps or about.fps,
            paced=self._paced,
        )

    def _set(self, state: Watching) -> None:
        if state != self.state:
            self.state = state
            self._tell(state)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                problem = self._session()
                with self._lock:
                    changed = self._changed
                if self._stopped.is_set() or (changed and not problem):
                    continue
                if not self.live:
                    kind = "failed" if problem else "ended"
                    self._set(Watching(kind, self.tap.name, problem))  # type: ignore[arg-type]
                    return
                self._set(Watching("lost", self.tap.name, problem or "the source ended"))
                self._come_back()
            self._set(Watching("ended", self.tap.name))
        except Exception as error:  # told, since nobody else sees this thread
            _log.exception("watching %s failed", self.tap.name)
            self._set(Watching("failed", self.tap.name, f"{type(error).__name__}: {error}"))

    def _session(self) -> str:
        """One session until the source ends or settings change; what went wrong, or ""."""
        with self._lock:
            wanted, self._changed = self._wanted, False
            self.tap.resume()
        if self._stopped.is_set():
            return ""
        options = replace(self._options, gate=wanted.gate or self._options.gate)
        epoch_ns: int | None = None
        try:
            with self.model.stream(self.tap, wanted.queries, options) as stream:
                for event in stream:
                    if epoch_ns is None:
                        epoch_ns = self.epoch_ns
                        self._set(Watching("watching", self.tap.name))
                    self.latency_ns = getattr(event, "latency_ns", None) or self.latency_ns
                    self._on_event(event, epoch_ns)
                    if self.meters.due():
                        self._tell(self.meters.read(stream.stats(), self.latency_ns))
            self.meters.end_session(stream.stats())
        except VljepaError as error:
            return str(error)
        return ""

    def _come_back(self) -> None:
        """Opens a live source again, for as long as it takes."""
        wait_s = self._retry_s
        self.tap.shut()
        while not self._stopped.wait(wait_s):
            try:
                source = self._reopen()
            except VljepaError as error:
                self._set(Watching("lost", self.tap.name, str(error)))
                wait_s = min(2 * wait_s, _LONGEST_RETRY_S)
                continue
            with self._lock:
                self.tap = self._tapped(source)
            self._on_restart()
            return
