"""Hands what is told to every viewer, with bounded queues: a slow one loses, nobody waits."""

from __future__ import annotations

import asyncio
import json
import secrets
import struct
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from vljepa_edge.assistant.server.wire import KEPT

MOST_VIEWERS = 64
_WAITING = 256  # messages per viewer
_MAILBOX = 4096  # between the stream's thread and the server's
_HISTORY = 2000  # messages kept for pages that come back
_SCORES = 480  # two minutes of them


class Viewer:
    """One page: its messages in order, and the newest picture alone."""

    def __init__(self) -> None:
        self.wants_pictures = True
        self.missed = 0  # messages dropped since the last one sent
        self._texts: deque[str] = deque()
        self._picture: bytes | None = None
        self._there = asyncio.Event()

    def offer(self, text: str) -> None:
        """Queues a message; the oldest ones go where nobody takes them."""
        if len(self._texts) >= _WAITING:
            self._texts.popleft()
            self.missed += 1
        self._texts.append(text)
        self._there.set()

    def offer_picture(self, picture: bytes) -> None:
        """Replaces the picture that was not sent yet."""
        if self.wants_pictures:
            self._picture = picture
            self._there.set()

    async def next(self) -> str | bytes:
        """What to send next: messages first."""
        while True:
            await self._there.wait()
            if self.missed:
                count, self.missed = self.missed, 0
                return json.dumps({"type": "missed", "count": count})
            if self._texts:
                return self._texts.popleft()
            if self._picture is not None:
                picture, self._picture = self._picture, None
                return picture
            self._there.clear()


class Hub:
    """All viewers of one server. `publish` is for any thread, everything else for its loop's."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(8)  # tells a page whether the server is still the same
        self.viewers: set[Viewer] = set()
        self.sequence = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._mailbox: deque[dict[str, Any]] = deque(maxlen=_MAILBOX)
        self._scheduled = False
        self._history: deque[tuple[int, str]] = deque(maxlen=_HISTORY)
        self._scores: deque[tuple[int, str]] = deque(maxlen=_SCORES)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on messages are delivered on this loop."""
        self._loop = loop
        with self._lock:
            self._scheduled = bool(self._mailbox)
        if self._scheduled:
            loop.call_soon(self._deliver)

    def publish(self, message: dict[str, Any]) -> None:
        """Takes a message, from any thread, and returns at once."""
        with self._lock:
            self._mailbox.append(message)
            if self._scheduled or self._loop is None:
                return
            self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop has ended; so has everyone who listened
            self._loop = None

    def _deliver(self) -> None:
        with self._lock:
            messages = [*self._mailbox]
            self._mailbox.clear()
            self._scheduled = False
        for message in messages:
            self.sequence += 1
            text = json.dumps({"n": self.sequence, **message}, ensure_ascii=False)
            if message["type"] in KEPT:
                self._history.append((self.sequence, text))
            elif message["type"] == "score":
                self._scores.append((self.sequence, text))
            for viewer in self.viewers:
                viewer.offer(text)

    def show(self, jpeg: bytes, at_s: float) -> None:
        """Offers a picture: eight bytes of time (float64, little-endian seconds), then JPEG."""
        picture = struct.pack("<d", at_s) + jpeg
        for viewer in self.viewers:
            viewer.offer_picture(picture)

    @property
    def looked_at(self) -> bool:
        """Whether anybody wants pictures."""
        return any(viewer.wants_pictures for viewer in self.viewers)

    def since(self, after: int, limit: int = _WAITING // 2) -> Iterator[str]:
        """The last `limit` kept messages after number `after`, and the scores, in their order."""
        kept = [entry for entry in self._history if entry[0] > after][-limit:]
        scores = [entry for entry in self._scores if entry[0] > after][-limit // 2 :]
        for _, text in sorted(kept + scores):
            yield text
