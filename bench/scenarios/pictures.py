"""The pictures that scenarios are fed with: a short sprite world stream, shown round and round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ... import world
from ...runtime.frames import Pixels

SECONDS = 12.0
RENDER_FPS = 4.0


def test_pictures(width: int, height: int, seed: int = 7) -> list[Pixels]:
    """BGR uint8 [H, W, 3]: twelve seconds of scenes that change, four pictures a second."""
    stream = world.make_stream(seed, SECONDS, world.WorldConfig(size=min(width, height)))
    frames = world.frames(stream, fps=RENDER_FPS, size=(height, width))
    return [frame[..., ::-1].copy() for frame in frames]


def endless(pictures: list[Pixels]) -> Iterator[Pixels]:
    """Round and round."""
    return itertools.cycle(pictures)
