"""What the assistant tells, as the JSON that pages get. Times are seconds of the stream."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vljepa_edge.assistant.alerts import Firing
from vljepa_edge.assistant.assistant import Assistant
from vljepa_edge.assistant.memory import Recollection
from vljepa_edge.assistant.told import (
    Answer,
    Caption,
    Meters,
    Remembering,
    Settings,
    Told,
    Watching,
)
from vljepa_edge.runtime.events import (
    DroppedEvent,
    EmbeddingEvent,
    LevelEvent,
    NoticeEvent,
    ShiftEvent,
)

# Kept for pages that come later or come back; the rest holds for a moment only.
KEPT = frozenset({"caption", "shift", "fired", "dropped", "level", "notice"})


def told_to_page(told: Told, assistant: Assistant) -> dict[str, Any] | None:
    """A message for the page; None for what it doesn't show."""
    if isinstance(told, Caption):
        return {
            "type": "caption",
            "start_s": seconds(told.start_ns),
            "end_s": seconds(told.end_ns),
            "text": told.text,
            "confidence": round(told.confidence, 3),
            "query": told.query,
            "final": told.final,
        }
    if isinstance(told, EmbeddingEvent):
        message: dict[str, Any] = {
            "type": "score",
            "at_s": seconds(told.end_ns),
            "query_index": told.query_index,
            "score": round(told.score, 5),
            "threshold": round(told.threshold, 5),
        }
        if told.query_index == 0:
            # The alerts have not yet seen this window: their scores are of the one before.
            message["alerts"] = {
                a.number: [round(a.score, 4), rounded(a.threshold)] for a in assistant.alerts.all()
            }
        return message
    if isinstance(told, ShiftEvent):
        return {
            "type": "shift",
            "at_s": seconds(told.end_ns),
            "query_index": told.query_index,
            "reason": told.reason,
            "score": round(told.score, 5),
        }
    if isinstance(told, Firing):
        return {
            "type": "fired",
            "alert": told.alert,
            "text": told.text,
            "at_s": seconds(told.at_ns),
            "score": round(told.score, 4),
            "threshold": round(told.threshold, 4),
        }
    if isinstance(told, DroppedEvent):
        return {
            "type": "dropped",
            "at_s": _now_s(told.end_ns, assistant),
            "reason": told.reason.replace("_", " "),
            "count": told.count,
        }
    if isinstance(told, LevelEvent):
        return {
            "type": "level",
            "at_s": _now_s(told.end_ns, assistant),
            "change": told.type,
            "level": told.level,
            "reason": told.reason.replace("_", " "),
        }
    if isinstance(told, NoticeEvent):
        return {"type": "notice", "text": told.text}
    if isinstance(told, Meters):
        return {"type": "meters", **{k: rounded(v) for k, v in asdict(told).items()}}
    if isinstance(told, Watching | Remembering):
        return state(assistant)
    return settings(assistant) if isinstance(told, Settings) else None


def state(assistant: Assistant) -> dict[str, Any]:
    """What is watched, and whether it is remembered."""
    watching = assistant.watcher.state
    memory = assistant.memory
    return {
        "type": "state",
        "state": watching.state,
        "source": watching.source,
        "text": watching.text,
        "live": assistant.watcher.live,
        "browser": assistant.browser is not None,
        "epoch_s": round(assistant.watcher.epoch_ns / 1e9, 3),
        "remembers": memory is not None,
        "memory_problem": assistant.memory_problem,
        "thumbnails": assistant.keep_thumbnails,
        "model": f"{assistant.model.description.name} {assistant.model.description.precision}",
    }


def settings(assistant: Assistant) -> dict[str, Any]:
    """Queries, alerts and gate as they hold now."""
    return {
        "type": "settings",
        "queries": list(assistant.queries),
        "alerts": [
            {
                "alert": alert.number,
                "text": alert.text,
                "threshold": None if alert.threshold is None else round(alert.threshold, 4),
                "fixed": alert.fixed,
                "fired": alert.fired,
                "score": round(alert.score, 4),
            }
            for alert in assistant.alerts.all()
        ],
        "gate": {
            "threshold": round(assistant.gate.ward_threshold, 5),
            "bundle": round(assistant.model.gate.ward_threshold, 5),
        },
    }


def answer(told: Answer) -> dict[str, Any]:
    """The answer to a question."""
    return {
        "text": told.text,
        "start_s": seconds(told.start_ns),
        "end_s": seconds(told.end_ns),
        "matches": [{"text": m.text, "score": round(m.score, 4)} for m in told.matches],
    }


def recollection(found: Recollection) -> dict[str, Any]:
    """A remembered segment; its times are seconds since 1970."""
    return {
        "row": found.row_id,
        "score": round(found.score, 4),
        "text": found.text,
        "query": found.query,
        "source": found.source,
        "start_s": found.start_ns / 1e9,
        "end_s": found.end_ns / 1e9,
        "thumbnail": found.has_thumbnail,
    }


def _now_s(at_ns: int, assistant: Assistant) -> float:
    """Losses belong to no window, and so have no time of their own."""
    newest = assistant.watcher.tap.newest
    return seconds(newest.timestamp_ns if at_ns == 0 and newest is not None else at_ns)


def seconds(at_ns: int) -> float:
    """Milliseconds are enough for a page."""
    return round(at_ns / 1e9, 3)


def rounded(value: Any) -> Any:
    """Four digits are enough for a meter."""
    return round(value, 4) if isinstance(value, float) else value
