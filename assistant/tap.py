"""`Tap`: a source that sessions take turns at, paced, with its last frames at hand.

A stream's queries and gate are fixed when its session opens. To change them, the assistant ends a
session and opens the next one on the same tap, which gives it the last frames first: no window is
missed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

from vljepa_edge.assistant.pictures import as_bgr, jpeg
from vljepa_edge.runtime.frames import Pixels
from vljepa_edge.runtime.sources import Source, SourceFrame

# Of a sampling step: a frame is kept when this much of the step has passed, so that rates that
# don't divide keep the average.
_SAMPLE_EARLY = 0.75


class QuietSource(Source):
    """A source that may have nothing for a while, and says so instead of keeping a reader."""

    def take(self, timeout_s: float) -> SourceFrame | None:
        """The next frame, None when none came in time."""
        raise NotImplementedError


class Tap(Source):
    """Frames of another source. `paced`: a file's frames come at their times, as a camera's do.

    `recent` holds the last `frames` pictures at `fps`; `newest` is the last of all. A session that
    closes the tap only gives it back; `shut` closes the source.
    """

    def __init__(
        self, source: Source, *, frames: int, stride: int, fps: float, paced: bool
    ) -> None:
        super().__init__(source.name, source.frame_count)
        self.live = source.live or paced
        self.pixel_format = getattr(source, "pixel_format", "bgr")
        self.yuv = getattr(source, "yuv", "bt601")
        self.notices = source.notices
        self.newest: SourceFrame | None = None
        self.first_ns: int | None = None
        self.exhausted = False
        self._source = source
        self._frames = iter(source)
        self._paced = paced and not source.live
        self._step_ns = int(1e9 / fps * _SAMPLE_EARLY)
        self._stride = stride
        self._recent: deque[SourceFrame] = deque(maxlen=frames)
        self._lock = threading.Lock()
        self._pause = threading.Event()
        self._ahead_ns: int | None = None  # monotonic clock - timestamp, of a paced file

    @property
    def recent(self) -> list[SourceFrame]:
        """The window that a question is asked about, oldest first."""
        with self._lock:
            return [*self._recent]

    def pictures(self) -> list[Pixels]:
        """`recent` as BGR uint8 [H, W, 3]."""
        return [as_bgr(frame.pixels, self.pixel_format) for frame in self.recent]

    def newest_jpeg(self, longest_side: int, quality: int) -> bytes | None:
        """The last picture as JPEG."""
        frame = self.newest
        if frame is None:
            return None
        return jpeg(as_bgr(frame.pixels, self.pixel_format), longest_side, quality)

    def pause(self) -> None:
        """Ends the iteration that is under way, or the next one, soon."""
        self._pause.set()

    def resume(self) -> None:
        """Lets the next iteration go on from there."""
        self._pause.clear()

    def __iter__(self) -> Iterator[SourceFrame]:
        # All but one stride of a window: the first new window is the next one in line.
        yield from self.recent[self._stride :]
        while not self._pause.is_set():
            frame = self._next()
            if frame is None:
                if self.exhausted:
                    return
                continue
            self._keep(frame)
            yield frame

    def _next(self) -> SourceFrame | None:
        if isinstance(self._source, QuietSource):
            return self._source.take(0.2)
        frame = next(self._frames, None)
        if frame is None:
            self.exhausted = True
            return None
        if self._paced:
            if self._ahead_ns is None:
                self._ahead_ns = time.monotonic_ns() - frame.timestamp_ns
            early_ns = frame.timestamp_ns + self._ahead_ns - time.monotonic_ns()
            if early_ns > 0:
                time.sleep(min(1.0, early_ns / 1e9))
        return frame

    def _keep(self, frame: SourceFrame) -> None:
        with self._lock:
            self.newest = frame
            if self.first_ns is None:
                self.first_ns = frame.timestamp_ns
            if (
                not self._recent
                or frame.timestamp_ns - self._recent[-1].timestamp_ns >= self._step_ns
            ):
                self._recent.append(frame)

    def close(self) -> None:
        """Gives the tap back; the source stays open."""

    def shut(self) -> None:
        """Closes the source."""
        self._pause.set()
        self._source.close()
