"""A stream's counters and per-stage times, read from the core."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vljepa_edge.runtime._core import ffi, lib

STAGES = ("frame", "encode", "predict", "gate", "prefill", "tokens", "window", "overhead")


@dataclass(frozen=True)
class StageStats:
    """Times of one stage in nanoseconds; percentiles are exact to 2.5 %."""

    count: int
    min_ns: int
    mean_ns: int
    max_ns: int
    p50_ns: int
    p90_ns: int
    p95_ns: int
    p99_ns: int


@dataclass(frozen=True)
class StreamStats:
    """Counters since the stream was opened; `stages` has those that ran."""

    level: int
    frames_pushed: int
    frames_sampled: int
    frames_dropped: int
    windows: int
    windows_dropped: int
    predictions: int
    shifts: int
    decodes: int
    decodes_superseded: int
    decode_failures: int
    tokens: int
    events_dropped: int
    degradations: int
    recoveries: int
    allocations: int  # made by the core since open; 0 in steady state
    first_frame_ns: int
    last_frame_ns: int
    stages: dict[str, StageStats]
    # By stage, what went from one buffer to another beside its work: frames kept twice for windows
    # in one piece, tensors to and from a device, embeddings into the gate. Told where it isn't 0.
    bytes_copied: dict[str, int]

    @property
    def duration_s(self) -> float:
        """Seconds between the first and the last frame."""
        return max(0, self.last_frame_ns - self.first_frame_ns) / 1e9

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


_COUNTERS = [
    name for name in StreamStats.__dataclass_fields__ if name not in ("stages", "bytes_copied")
]
_FIELDS = list(StageStats.__dataclass_fields__)


def from_core(stats: Any) -> StreamStats:
    """Copies a filled `vlj_stats`."""
    stages = {}
    for i, stage in enumerate(STAGES):
        values = stats.stages[i]
        if values.count:
            stages[stage] = StageStats(**{name: int(getattr(values, name)) for name in _FIELDS})
    copied = {stage: int(stats.bytes_copied[i]) for i, stage in enumerate(STAGES)}
    return StreamStats(
        **{name: int(getattr(stats, name)) for name in _COUNTERS},
        stages=stages,
        bytes_copied={stage: count for stage, count in copied.items() if count},
    )


def new_core() -> Any:
    """An empty `vlj_stats` to fill."""
    stats = ffi.new("vlj_stats *")
    stats.struct_size = ffi.sizeof("vlj_stats")
    if len(STAGES) != lib.VLJ_STAGE_COUNT:
        raise RuntimeError("runtime/stats.py and vljepa.h name different stages")
    return stats
