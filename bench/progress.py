"""Progress of a long measurement on standard error, where somebody looks at it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def on_stderr(what: str) -> Callable[[int, int], None]:
    """Writes "what 3/10, 42 s" over itself on a terminal, nothing elsewhere."""
    began = time.monotonic()

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            seconds = time.monotonic() - began
            print(f"\r{what} {done}/{total}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)

    return tell
