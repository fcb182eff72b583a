"""Sprite world streams as recordings to fit a gate on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import world
from ..runtime.frames import Pixels
from ..runtime.model import Model
from .recording import Recording, record


def timed_frames(stream: world.Stream) -> Iterator[tuple[Pixels, int]]:
    """A stream's pictures as (BGR uint8 [H,W,3], timestamp in ns), as the runtime takes them."""
    times = world.frame_times(stream)
    for frame, time_s in zip(world.frames(stream), times, strict=True):
        yield frame[..., ::-1], round(float(time_s) * 1e9)


def record_world(
    model: Model,
    *,
    streams: int = 8,
    seconds: float = 60.0,
    seed: int = 100,
    split: str = "val",
    version: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Records `streams` streams of the model's own frame size and rate.

    `version` of sprite world; None: the one that the model was trained on.
    """
    about = model.description
    config = world.WorldConfig.of(
        version or model.world, size=about.height, frames=about.frames, fps=about.fps
    )
    recordings = []
    for number in range(streams):
        stream = world.make_stream(seed + number, seconds, config, split=split)
        shifts = [segment.start_s for segment in stream.segments[1:]]
        recordings.append(record(model, timed_frames(stream), shifts))
        if progress is not None:
            progress(number + 1, streams)
    return recordings
