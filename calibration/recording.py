"""Records the embedding stream of a model over frames whose true shifts are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..runtime.events import EmbeddingEvent
from ..runtime.frames import Pixels
from ..runtime.model import Model
from ..runtime.options import StreamOptions


@dataclass(frozen=True)
class Recording:
    """One query's embedding stream.

    `embeddings` float32 [n, E]; `end_ns` int64 [n], each window's last frame; `shifts_ns` int64,
    the true shifts in ascending order, the stream's beginning apart.
    """

    embeddings: npt.NDArray[np.float32]
    end_ns: npt.NDArray[np.int64]
    shifts_ns: npt.NDArray[np.int64]

    @property
    def duration_s(self) -> float:
        """From the first window's end to the last one's, in seconds."""
        return float(self.end_ns[-1] - self.end_ns[0]) / 1e9


def record(
    model: Model,
    frames: Iterable[tuple[Pixels, int]],
    shifts_s: Iterable[float],
    query: str | None = None,
) -> Recording:
    """Runs every window of (BGR frame uint8 [H,W,3], timestamp in ns) without decoding.

    Raises ValueError where the frames give no window.
    """
    rows, ends = [], []
    queries = None if query is None else [query]
    options = StreamOptions(emit_embeddings=True, text="none")
    stream = model.stream(frames, queries, options, realtime=False)
    for event in stream:
        if isinstance(event, EmbeddingEvent) and event.query_index == 0:
            assert event.embedding is not None
            rows.append(event.embedding)
            ends.append(event.end_ns)
    if not rows:
        raise ValueError("the frames gave no window: nothing to calibrate on")
    shifts = np.array([round(s * 1e9) for s in shifts_s], np.int64)
    return Recording(np.stack(rows), np.array(ends, np.int64), shifts)
