"""What was seen, as files for people and programs: SRT, JSON, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal

from vljepa_edge.assistant.errors import AssistantError
from vljepa_edge.assistant.memory import Recollection

DiaryFormat = Literal["srt", "json", "md"]
FORMATS: tuple[DiaryFormat, ...] = ("srt", "json", "md")


def day_span(day: date, zone: tzinfo | None = None) -> tuple[int, int]:
    """First and last nanosecond (since 1970) of a day in a time zone; None: the machine's."""
    begin = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    return int(begin.timestamp()) * 10**9, int(end.timestamp()) * 10**9 - 1


def write_diary(
    segments: Iterable[Recollection], form: DiaryFormat, zone: tzinfo | None = None
) -> str:
    """The segments in one of `FORMATS`. Those without a text are left out of SRT and Markdown."""
    if form == "json":
        return _json(segments, zone)
    told = [segment for segment in segments if segment.text]
    if form == "srt":
        return _srt(told, zone)
    if form == "md":
        return _markdown(told, zone)
    raise AssistantError(f"a diary is written as {', '.join(FORMATS)}, not {form!r}")


def _local(at_ns: int, zone: tzinfo | None) -> datetime:
    at = (
        datetime.fromtimestamp(at_ns // 10**9, zone)
        if zone
        else datetime.fromtimestamp(at_ns // 10**9)
    )
    return at.replace(microsecond=at_ns % 10**9 // 1000)


def _srt(segments: list[Recollection], zone: tzinfo | None) -> str:
    """Subtitles; times count from the midnight before the first segment. No two overlap."""
    blocks = []
    midnight: datetime | None = None
    for number, segment in enumerate(segments, 1):
        begin, end = _local(segment.start_ns, zone), _local(segment.end_ns, zone)
        midnight = midnight or begin.replace(hour=0, minute=0, second=0, microsecond=0)
        if number < len(segments):
            end = min(end, max(begin, _local(segments[number].start_ns, zone)))
        text = " ".join(segment.text.split())
        span = f"{_srt_time(begin - midnight)} --> {_srt_time(end - midnight)}"
        blocks.append(f"{number}\n{span}\n{text}\n")
    return "\n".join(blocks)


def _srt_time(since: timedelta) -> str:
    ms = since // timedelta(milliseconds=1)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def _json(segments: Iterable[Recollection], zone: tzinfo | None) -> str:
    rows = [
        {
            "start": _local(s.start_ns, zone).isoformat(),
            "end": _local(s.end_ns, zone).isoformat(),
            "start_ns": s.start_ns,
            "end_ns": s.end_ns,
            "text": s.text,
            "query": s.query,
            "source": s.source,
            "windows": s.windows,
        }
        for s in segments
    ]
    return json.dumps({"segments": rows}, ensure_ascii=False, indent=1) + "\n"


def _markdown(segments: list[Recollection], zone: tzinfo | None) -> str:
    """A heading per day and hour, a line per segment."""
    lines: list[str] = []
    day = hour = ""
    for segment in segments:
        begin, end = _local(segment.start_ns, zone), _local(segment.end_ns, zone)
        if f"{begin:%Y-%m-%d}" != day:
            day, hour = f"{begin:%Y-%m-%d}", ""
            lines += [f"# {day}", ""] if not lines else ["", f"# {day}", ""]
        if f"{begin:%H}" != hour:
            lines += ["", f"## {begin:%H}:00", ""] if hour else [f"## {begin:%H}:00", ""]
            hour = f"{begin:%H}"
        text = _escaped(" ".join(segment.text.split()))
        lines.append(f"- {begin:%H:%M:%S}–{end:%H:%M:%S} {text}")
    return "\n".join(lines) + ("\n" if lines else "")


def _escaped(text: str) -> str:
    """A caption is a model's text: none of its signs may become markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~" else c for c in text)
