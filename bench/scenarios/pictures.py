"""The pictures that scenarios are fed with: a short sprite world stream, shown round and round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ... import world
from ...runtime.bundle import Bundle
from ...runtime.frames import Pixels
from .spec import Spec

SECONDS = 12.0
RENDER_FPS = 4.0


def pictures_for(spec: Spec) -> list[Pixels]:
    """BGR uint8 [H, W, 3] of the sprite world that the scenario's bundle was trained on."""
    with Bundle(spec.bundle) as bundle:
        version = bundle.world()
    return test_pictures(spec.width, spec.height, version=version)


def test_pictures(width: int, height: int, seed: int = 7, version: int = 1) -> list[Pixels]:
    """BGR uint8 [H, W, 3]: twelve seconds of scenes that change, four pictures a second."""
    config = world.WorldConfig.of(version, size=min(width, height))
    stream = world.make_stream(seed, SECONDS, config)
    frames = world.frames(stream, fps=RENDER_FPS, size=(height, width))
    return [frame[..., ::-1].copy() for frame in frames]


def endless(pictures: list[Pixels]) -> Iterator[Pixels]:
    """Round and round."""
    return itertools.cycle(pictures)
