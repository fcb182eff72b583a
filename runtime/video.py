"""Takes a few frames evenly from a whole video, however long it is."""

from __future__ import annotations

import os

from vljepa_edge.runtime.frames import Pixels, uniform_indices
from vljepa_edge.runtime.sources import SourceFrame, open_source


def read_uniform(place: str | os.PathLike[str], wanted: int) -> list[Pixels]:
    """At most `wanted` BGR pictures uint8 [H, W, 3], evenly from a whole video file or folder.

    Reads it twice where its frame count is not exact, and holds only the pictures that it gives.
    SourceError when there are none.
    """
    source = open_source(place)
    count = source.frame_count or 0
    source.close()
    taken, seen = _take(place, set(uniform_indices(count, wanted)) if count else set())
    if seen != count:
        taken, _ = _take(place, set(uniform_indices(seen, wanted)))
    return [frame.pixels for frame in taken]


def _take(place: str | os.PathLike[str], indices: set[int]) -> tuple[list[SourceFrame], int]:
    """(the frames at these indices, how many frames there are)."""
    source = open_source(place)
    taken = []
    seen = 0
    try:
        for i, frame in enumerate(source):
            seen = i + 1
            if i in indices:
                taken.append(frame)
    finally:
        source.close()
    return taken, seen
