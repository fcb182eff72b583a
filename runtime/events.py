"""What a stream tells: a frozen dataclass per kind of event, which prints as a line and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib

Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Event:
    """Any event. `type` is its name in JSON."""

    type: ClassVar[str] = "event"

    def to_json(self) -> str:
        """One line of JSON: the event's fields, floats at six digits, unset ones left out."""
        values: dict[str, Any] = {"type": self.type}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                values[field.name] = _plain(value)
        return json.dumps(values, ensure_ascii=False)


@dataclass(frozen=True)
class CoreEvent(Event):
    """An event that the core told; `sequence` counts them per stream from 0."""

    sequence: int
    window: int  # index of the window that it belongs to
    start_ns: int
    end_ns: int

    @property
    def span(self) -> str:
        """`12.40-14.00 s`."""
        return f"{self.start_ns / 1e9:.2f}-{self.end_ns / 1e9:.2f} s"


@dataclass(frozen=True)
class EmbeddingEvent(CoreEvent):
    """The predicted embedding of one window and query, with the gate's score for it."""

    type: ClassVar[str] = "embedding"
    query_index: int
    query: str
    score: float
    threshold: float
    embedding: Embedding  # float32 [E], unit length
    latency_ns: int | None = (
        None  # arrival of the window's last frame -> this event; real time only
    )

    def __str__(self) -> str:
        return f"{self.span}  embedding  score {self.score:.4f} of {self.threshold:.4f}"


@dataclass(frozen=True)
class ShiftEvent(CoreEvent):
    """The meaning shifted: this window starts a new segment."""

    type: ClassVar[str] = "shift"
    query_index: int
    query: str
    reason: str  # first, ward, variance or heartbeat
    score: float
    threshold: float
    latency_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.span}  shift ({self.reason}, {self.score:.4f} over {self.threshold:.4f})"


@dataclass(frozen=True)
class TextEvent(CoreEvent):
    """What a segment means, in words. The span is the segment's, as far as it is known."""

    type: ClassVar[str] = "text"
    query_index: int
    query: str
    reason: str  # onset; close, or end where the stream's end closed the segment
    text: str
    confidence: float  # exp(mean log-probability), or the cosine of the nearest phrase
    score: float
    threshold: float
    embedding: Embedding | None = None  # the mean embedding that was decoded
    latency_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.span}  {self.text}"


@dataclass(frozen=True)
class DroppedEvent(CoreEvent):
    """Something was lost: how many, and why."""

    type: ClassVar[str] = "dropped"
    reason: str
    count: int
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.span}  dropped {self.count} ({self.reason.replace('_', ' ')})"


@dataclass(frozen=True)
class LevelEvent(CoreEvent):
    """The overload ladder moved; `level` holds from now on (0: nothing is given up)."""

    reason: str
    level: int

    def __str__(self) -> str:
        return f"{self.span}  {self.type} to level {self.level} ({self.reason.replace('_', ' ')})"


@dataclass(frozen=True)
class DegradedEvent(LevelEvent):
    """The stream gives up something to keep pace."""

    type: ClassVar[str] = "degraded"


@dataclass(frozen=True)
class RecoveredEvent(LevelEvent):
    """The stream took a step back towards full work."""

    type: ClassVar[str] = "recovered"


@dataclass(frozen=True)
class EndEvent(CoreEvent):
    """The last event of every stream."""

    type: ClassVar[str] = "end"

    def __str__(self) -> str:
        return "end"


@dataclass(frozen=True)
class NoticeEvent(Event):
    """Something about the source that does not stop the stream, such as a video that ends early."""

    type: ClassVar[str] = "notice"
    text: str

    def __str__(self) -> str:
        return self.text


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, np.ndarray):
        return [float(f"{x:.6g}") for x in value.tolist()]
    return value


REASONS: dict[int, str] = {
    number: name.removeprefix("VLJ_REASON_").lower()
    for number, name in ffi.typeof("vlj_reason").elements.items()
}


def from_core(event: Any, queries: list[str], realtime: bool, keep_embedding: bool) -> Event:
    """Copies a `vlj_event` (whose text and embedding live until the next poll).

    Latencies are given in real time alone: a replay's would differ from run to run.
    """
    span = (int(event.sequence), int(event.window), int(event.start_ns), int(event.end_ns))
    reason = REASONS[event.reason]
    text = ffi.string(event.text).decode("utf-8", "replace") if event.text else ""
    latency = int(event.latency_ns) if realtime else None
    index = int(event.query)
    query = queries[index] if index < len(queries) else ""
    embedding = None
    if event.embedding and keep_embedding:
        size = 4 * event.embedding_width
        embedding = np.frombuffer(ffi.buffer(event.embedding, size), np.float32).copy()
    score, threshold = float(event.score), float(event.threshold)

    if event.type == lib.VLJ_EVENT_TEXT:
        confidence = float(event.confidence)
        return TextEvent(
            *span, index, query, reason, text, confidence, score, threshold, embedding, latency
        )
    if event.type == lib.VLJ_EVENT_SHIFT:
        return ShiftEvent(*span, index, query, reason, score, threshold, latency)
    if event.type == lib.VLJ_EVENT_EMBEDDING:
        if embedding is None:
            embedding = np.empty(0, np.float32)
        return EmbeddingEvent(*span, index, query, score, threshold, embedding, latency)
    if event.type == lib.VLJ_EVENT_DROPPED:
        return DroppedEvent(*span, reason, int(event.count), text or None)
    if event.type == lib.VLJ_EVENT_DEGRADED:
        return DegradedEvent(*span, reason, int(event.level))
    if event.type == lib.VLJ_EVENT_RECOVERED:
        return RecoveredEvent(*span, reason, int(event.level))
    return EndEvent(*span)
