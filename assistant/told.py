"""What an assistant tells besides the stream's own events, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vljepa_edge.assistant.alerts import Firing
from vljepa_edge.runtime.events import Event
from vljepa_edge.runtime.model import Match

WatchState = Literal["opening", "watching", "lost", "ended", "failed"]


@dataclass(frozen=True)
class Caption:
    """What a stretch of the stream means. Not `final`: told at its beginning, and may be put
    right by a final one with the same `start_ns` and query."""

    start_ns: int
    end_ns: int
    text: str
    confidence: float
    query: str
    final: bool

    def __str__(self) -> str:
        end = f"{self.end_ns / 1e9:.1f}" if self.final else ""
        return f"{self.start_ns / 1e9:.1f}-{end} s  {self.text}"


@dataclass(frozen=True)
class Answer:
    """The answer to `ask`: its first match is what is held true; others follow with choices."""

    question: str
    matches: tuple[Match, ...]
    start_ns: int  # of the window that was asked about, in the stream's time
    end_ns: int

    @property
    def text(self) -> str:
        """The answer itself."""
        return self.matches[0].text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Watching:
    """The source's state, and a sentence where something is wrong with it."""

    state: WatchState
    source: str
    text: str = ""


@dataclass(frozen=True)
class Remembering:
    """The memory's state: `problem` is "" while all is written."""

    problem: str


@dataclass(frozen=True)
class Settings:
    """Queries, alerts or the gate have changed: ask the assistant for what holds now."""


@dataclass(frozen=True)
class Meters:
    """How the stream keeps up, once a second. Counters are since the assistant began."""

    window_p50_ms: float
    window_p99_ms: float
    latency_ms: float | None  # of the last window, arrival to event; real time only
    decode_duty: float  # share of the last second's time that the Y-Decoder ran
    decodes_per_minute: float  # over the last minute
    windows: int
    shifts: int
    decodes: int
    frames_dropped: int
    windows_dropped: int
    level: int  # of the overload ladder


Told = Event | Caption | Firing | Watching | Remembering | Settings | Meters
