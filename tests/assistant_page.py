"""What tests of the assistant's page share: a source that is made here, a browser, a server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.serve import ServerThread
from vljepa_edge.runtime.errors import SourceError
from vljepa_edge.runtime.sources import Source, SourceFrame

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DEMO = Path(__file__).resolve().parent.parent / "examples" / "clips" / "demo.mp4"


class Flicker(Source):
    """Pictures whose colour changes every two seconds, at ten a second, for as long as it's asked.

    `lost_after`: a live camera that goes away after so many frames.
    """

    def __init__(self, seconds: float = 3600, lost_after: int | None = None) -> None:
        super().__init__("flicker")
        self._count = int(seconds * 10)
        self._lost_after = lost_after
        self.live = lost_after is not None
        self.closed = 0

    def __iter__(self) -> Iterator[SourceFrame]:
        begin = time.monotonic_ns()
        for i in range(self._count):
            if i == self._lost_after:
                raise SourceError("flicker: the cable was pulled")
            picture = np.full((120, 160, 3), 40, np.uint8)
            cv2.circle(picture, (80 + i % 20, 60), 40, colour(i // 20), -1)
            at_ns = i * 10**8
            if self.live:
                at_ns += begin
                time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))
            yield SourceFrame(picture, at_ns, f"frame {i}")

    def close(self) -> None:
        self.closed += 1


def colour(part: int) -> tuple[int, int, int]:
    return [(30, 30, 220), (220, 60, 20), (40, 200, 40), (30, 210, 230)][part % 4]


@contextmanager
def serving(assistant: Assistant) -> Iterator[ServerThread]:
    """The assistant started, and its page served."""
    with assistant, ServerThread(assistant) as server:
        assistant.start()
        yield server


@contextmanager
def browser(**options: Any) -> Iterator[Any]:
    """A headless Chromium by Playwright."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += options.pop("arguments", [])
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield opened
        finally:
            opened.close()
