"""`Stream`: a source watched by a session, given as an iterator of events."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from time import monotonic_ns
from types import TracebackType

from vljepa_edge.runtime._core import lib
from vljepa_edge.runtime.errors import ArgumentError
from vljepa_edge.runtime.events import EndEvent, Event, NoticeEvent
from vljepa_edge.runtime.session import Session
from vljepa_edge.runtime.sources import Source, SourceFrame
from vljepa_edge.runtime.stats import StreamStats

POLL_S = 0.1  # so that signals are seen while nothing happens


class Stream:
    """Events of one source: `for event in stream`. The EndEvent comes last.

    What the source gave before it failed is processed and told first; then the error is raised.
    `problems` lists what was wrong with the source without stopping it, in sentences (they are
    NoticeEvents as well).
    """

    def __init__(self, source: Source, session: Session) -> None:
        self.source = source
        self.session = session
        self.problems: list[str] = []
        self.frames_read = 0
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._untaken = 0
        self._first_untaken = ""
        self._final_stats: StreamStats | None = None
        self._events = self._run()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def stats(self) -> StreamStats:
        """Counters and per-stage times; after `close`, as they were then."""
        return self._final_stats or self.session.stats()

    def stop(self) -> None:
        """Takes no more frames, processes those it has, and ends. From any thread."""
        self._stop.set()

    def close(self) -> None:
        """Frees the core's stream and the source, whether or not all events were taken."""
        if self._final_stats is None:
            self._stop.set()
            self._events.close()
            self._final_stats = self.session.stats()
            self.session.close()
            self.source.close()

    def _frames(self) -> Iterator[SourceFrame]:
        """The source's frames until it ends, fails or is stopped; a failure is kept for the end."""
        try:
            for frame in self.source:
                if self._stop.is_set():
                    return
                yield frame
        except Exception as error:
            self._error = error

    def _push(self, frame: SourceFrame) -> bool:
        """False: step first. A refused frame is counted (bad timestamp) or ends the source."""
        try:
            taken = self.session.push(
                frame.pixels, frame.timestamp_ns, self.source.pixel_format, self.source.yuv
            )
        except ArgumentError as error:
            if error.status == lib.VLJ_E_TIMESTAMP:
                self._untaken += 1
                self._first_untaken = self._first_untaken or frame.name
            else:
                sentence = f"{self.source.name}: {frame.name}: {error}"
                self._error = ArgumentError(sentence, error.status, error.status_name)
                self._stop.set()
            return True
        self.frames_read += taken
        return taken

    def _source_notices(self) -> list[NoticeEvent]:
        """Call once, after the last frame."""
        self.problems += self.source.notices
        if self._untaken:
            self.problems.append(
                f"{self.source.name}: {self._untaken} of {self.frames_read + self._untaken} frames "
                "left out, their timestamps repeat or go backwards "
                f"(first: {self._first_untaken})"
            )
        return [NoticeEvent(text) for text in self.problems]

    def _run(self) -> Generator[Event, None, None]:
        """All events, the source's notices just before the end, and then what went wrong."""
        for event in self._realtime() if self.session.options.realtime else self._replay():
            if isinstance(event, EndEvent):
                yield from self._source_notices()
            yield event
        if self._error is not None:
            raise self._error

    # ---- replay: all on the caller's thread ----

    def _replay(self) -> Iterator[Event]:
        for frame in self._frames():
            while not self._push(frame):
                yield from self._step()
            yield from self._step()
        self.session.finish()
        yield from self._step()

    def _step(self) -> Iterator[Event]:
        """Processes the windows that wait."""
        while self.session.step():
            yield from self._drain()
        yield from self._drain()

    def _drain(self) -> Iterator[Event]:
        while (event := self.session.poll()) is not None:
            yield event

    # ---- real time: a thread feeds, the caller's polls ----

    def _realtime(self) -> Iterator[Event]:
        feeder = threading.Thread(target=self._feed, name="vljepa-feed", daemon=True)
        feeder.start()
        try:
            while True:
                event = self.session.poll(POLL_S)
                if event is not None:
                    yield event
                if isinstance(event, EndEvent):
                    return
        finally:
            self._stop.set()
            feeder.join()

    def _feed(self) -> None:
        try:
            offset: int | None = None  # wall clock - timestamp
            for frame in self._frames():
                if offset is None:
                    offset = monotonic_ns() - frame.timestamp_ns
                early_ns = frame.timestamp_ns + offset - monotonic_ns()
                if early_ns > 0 and not self.source.live:
                    self._stop.wait(early_ns / 1e9)
                self._push(frame)
        except Exception as error:
            self._error = error
        finally:
            self.session.finish()
