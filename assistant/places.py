"""What an assistant can watch: all that the runtime opens, network cameras, a browser's camera."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
from vljepa_edge.assistant.tap import QuietSource
from vljepa_edge.runtime.errors import SourceError
from vljepa_edge.runtime.frames import Pixels
from vljepa_edge.runtime.sources import Source, SourceFrame, open_source

BROWSER = "browser"
LARGEST_SIDE = 1920
LARGEST_PICTURE_BYTES = 1 << 20
_CONNECT_MS = 5000


class NetworkSource(Source):
    """A camera that is reached by a URL (RTSP, or a video over HTTP), in real time."""

    live = True

    def __init__(self, url: str) -> None:
        super().__init__(without_password(url))
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
        import cv2

        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _CONNECT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, _CONNECT_MS,
        ]  # fmt: skip
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise SourceError(
                f"{self.name}: cannot be reached, or is not a video; check the address, and that "
                "the camera is on and in this network"
            )

    def __iter__(self) -> Iterator[SourceFrame]:
        frames = 0
        while True:
            taken, pixels = self._capture.read()
            if not taken or pixels is None:
                raise SourceError(f"{self.name}: gave no more frames after {frames}")
            picture = np.asarray(pixels, np.uint8)
            yield SourceFrame(picture, time.monotonic_ns(), f"frame {frames}")
            frames += 1

    def close(self) -> None:
        """Hangs up."""
        self._capture.release()


class BrowserSource(QuietSource):
    """Pictures that a page sends from its own camera; the newest wins when they come too fast."""

    live = True

    def __init__(self) -> None:
        super().__init__("the browser's camera")
        self._waiting: queue.Queue[Pixels] = queue.Queue(maxsize=2)
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def put(self, picture: bytes) -> None:
        """Takes one JPEG or PNG, from any thread. ValueError for what is none, or is too large."""
        import cv2

        if len(picture) > LARGEST_PICTURE_BYTES:
            raise ValueError(
                f"a picture of {len(picture)} bytes; at most {LARGEST_PICTURE_BYTES} are taken"
            )
        pixels = None
        with contextlib.suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError("not a picture that can be read")
        if max(pixels.shape[:2]) > LARGEST_SIDE:
            raise ValueError(
                f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels; "
                f"at most {LARGEST_SIDE} a side are taken"
            )
        if self._waiting.full():
            with contextlib.suppress(queue.Empty):
                self._waiting.get_nowait()
        with contextlib.suppress(queue.Full):  # two pages at once: this one was the slower
            self._waiting.put_nowait(pixels.astype(np.uint8, copy=False))

    def take(self, timeout_s: float) -> SourceFrame | None:
        """The next picture. SourceError where its size changed: a stream keeps one size."""
        try:
            pixels = self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if self._shape is not None and pixels.shape != self._shape:
            self._shape = pixels.shape
            raise SourceError(f"{self.name}: the pictures' size changed (the phone was turned?)")
        self._shape = pixels.shape
        self._count += 1
        return SourceFrame(pixels, time.monotonic_ns(), f"frame {self._count - 1}")

    def __iter__(self) -> Iterator[SourceFrame]:
        while True:
            frame = self.take(1.0)
            if frame is not None:
                yield frame


class LoopedSource(Source):
    """A file again and again, in one unbroken time: something to show while no camera is there."""

    def __init__(self, opened: Callable[[], Source]) -> None:
        self._opened = opened
        self._source = opened()
        super().__init__(self._source.name)

    def __iter__(self) -> Iterator[SourceFrame]:
        offset_ns = 0
        while True:
            last_ns, step_ns = 0, 40_000_000
            for frame in self._source:
                step_ns = max(1, frame.timestamp_ns - last_ns) if last_ns else step_ns
                last_ns = frame.timestamp_ns
                yield frame._replace(timestamp_ns=last_ns + offset_ns)
            self._source.close()
            offset_ns += last_ns + step_ns
            self._source = self._opened()

    def close(self) -> None:
        """Closes the file."""
        self._source.close()


def open_place(place: str | os.PathLike[str] | int, folder_rate: float, loop: bool) -> Source:
    """A source for what was given: a file, folder, camera number, URL or `browser`. SourceError."""
    if str(place) == BROWSER and not os.path.exists(BROWSER):  # noqa: PTH110 (a name, not a path)
        return BrowserSource()
    if re.match(r"(?i)(rtsps?|https?|rtmp)://", str(place)):
        return NetworkSource(str(place))
    source = open_source(place, folder_rate)
    if loop and not source.live:
        source.close()
        return LoopedSource(lambda: open_source(place, folder_rate))
    return source


def without_password(url: str) -> str:
    """A URL as it may be shown: no user, no password, no query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
