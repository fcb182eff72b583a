"""Clips as recordings to fit a gate on: true shifts from a timeline, else by the offline method."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..export.errors import ExportError
from ..runtime.frames import Pixels
from ..runtime.gate import segment
from ..runtime.model import Model
from ..runtime.sources import open_source
from .recording import Recording, record
from .windows import find_clips

# Segments a second where nothing else tells: the rate at which the paper's selective decoding
# equals uniform decoding at 1 Hz.
OFFLINE_RATE_HZ = 0.35


def record_clips(
    model: Model,
    place: Path,
    *,
    rate_hz: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Records each clip of a file or folder.

    `<clip>.timeline.json` beside a clip tells its true shifts. Without one they are the boundaries
    of the paper's Ward segmentation into `rate_hz` segments a second.
    """
    clips = find_clips(place)
    recordings = []
    for number, clip in enumerate(clips):
        recording = record(model, _frames(clip, model.description.fps), ())
        shifts = timeline_shifts(clip)
        if shifts is None:
            shifts = offline_shifts(recording, rate_hz or OFFLINE_RATE_HZ)
        recordings.append(Recording(recording.embeddings, recording.end_ns, shifts))
        if progress is not None:
            progress(number + 1, len(clips))
    return recordings


def offline_shifts(
    recording: Recording, rate_hz: float
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """When segments of the offline method begin, the first apart."""
    count = len(recording.embeddings)
    segments = min(count, max(1, round(recording.duration_s * rate_hz)))
    starts = segment(recording.embeddings, segments)
    return np.asarray(recording.end_ns[np.array(starts[1:], np.int64)], np.int64)


def timeline_shifts(clip: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """Starts of a timeline's annotations in ns, the first apart; None without a timeline."""
    path = clip.with_suffix(".timeline.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        starts = [float(entry["t_start_s"]) for entry in content["annotations"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: not a timeline", 'wanted {"annotations": [{"t_start_s", ...}, ...]}'
        ) from error
    return np.array([round(start * 1e9) for start in sorted(starts)[1:]], np.int64)


def _frames(clip: Path, rate: float) -> Iterator[tuple[Pixels, int]]:
    source = open_source(clip, folder_rate=rate)
    try:
        for frame in source:
            yield frame.pixels, frame.timestamp_ns
    finally:
        source.close()
