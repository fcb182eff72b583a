"""The lines of `vljepa run`, captions beside the truth or JSON, and what the plot draws."""

from __future__ import annotations

from dataclasses import dataclass, field

from vljepa_edge.cli.truth import Annotation, truth_for
from vljepa_edge.runtime.events import (
    EmbeddingEvent,
    EndEvent,
    Event,
    ShiftEvent,
    TextEvent,
)

CAPTION_COLUMNS = 52


@dataclass
class Score:
    """The gate's score at one time, as a multiple of its threshold."""

    at_s: float
    ratio: float


@dataclass
class History:
    """What happened to one query."""

    query: str
    scores: list[Score] = field(default_factory=list)
    shifts_s: list[float] = field(default_factory=list)
    texts: list[TextEvent] = field(default_factory=list)


class Report:
    """Turns events into lines and remembers them for the plot."""

    def __init__(
        self, queries: list[str], timeline: list[Annotation], as_json: bool, embeddings: bool
    ) -> None:
        self.queries = queries
        self.history = [History(query) for query in queries]
        self._timeline = timeline
        self._as_json = as_json
        self._embeddings = embeddings

    def header(self) -> list[str]:
        """The queries, and the columns."""
        numbered = len(self.queries) > 1
        lines = [f"query{f' {i}' if numbered else ''}: {q}" for i, q in enumerate(self.queries)]
        if self._timeline:
            lines.append(f"{'seconds':>15}  {'caption':<{CAPTION_COLUMNS}}  truth")
        return lines

    def lines(self, event: Event) -> list[str]:
        """What to print for an event: nothing, or a line."""
        self._remember(event)
        if isinstance(event, EmbeddingEvent) and not self._embeddings:
            return []
        if self._as_json:
            return [event.to_json()]
        if isinstance(event, TextEvent):
            return [self._caption(event)]
        if isinstance(event, ShiftEvent | EndEvent):
            return []
        return [str(event)]

    def _caption(self, event: TextEvent) -> str:
        start_s, end_s = event.start_ns / 1e9, event.end_ns / 1e9
        number = f"[{event.query_index}] " if len(self.queries) > 1 else ""
        # A segment that has only begun is told by its start.
        span = f"{start_s:.1f}-" if event.reason == "onset" else f"{start_s:.1f}-{end_s:.1f}"
        line = f"{span:>15}  {number}{event.text}"
        if self._timeline:
            truth = truth_for(self._timeline, start_s, end_s)
            line = f"{line:<{17 + CAPTION_COLUMNS}}  {truth or '-'}"
        return line

    def _remember(self, event: Event) -> None:
        if isinstance(event, EmbeddingEvent):
            ratio = event.score / event.threshold if event.threshold > 0 else 0.0
            self.history[event.query_index].scores.append(Score(event.end_ns / 1e9, ratio))
        elif isinstance(event, ShiftEvent):
            self.history[event.query_index].shifts_s.append(event.end_ns / 1e9)
        elif isinstance(event, TextEvent):
            self.history[event.query_index].texts.append(event)
