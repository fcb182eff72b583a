"""Per-stage samples and counters of a session, out of the core's own trace and statistics."""

from __future__ import annotations

import json

from ...runtime.session import Session
from .recorder import Recorder


def record_stages(session: Session, recorder: Recorder, wall_s: float, after_us: float = 0) -> None:
    """`after_us`: spans that began before it (on the core's clock) were warm-up."""
    decode_us = 0.0
    by_stage: dict[tuple[str, bool], list[float]] = {}
    for span in json.loads(session.trace())["traceEvents"]:
        if span["ph"] != "X":
            continue
        warmup = span["ts"] < after_us
        by_stage.setdefault((span["name"], warmup), []).append(span["dur"] / 1e3)
        if span["name"] in ("prefill", "tokens"):
            decode_us += span["dur"]
    for (stage, warmup), values in by_stage.items():
        recorder.samples(f"stage.{stage}_ms", values, warmup)
    stats = session.stats()
    for name in (
        "frames_pushed", "frames_sampled", "frames_dropped", "windows", "windows_dropped",
        "shifts", "decodes", "decodes_superseded", "tokens", "events_dropped", "allocations",
        "degradations", "level",
    ):  # fmt: skip
        recorder.counter(name, getattr(stats, name))
    tokens = stats.stages.get("tokens")
    if tokens is not None and stats.tokens:
        recorder.counter("token_ms", tokens.mean_ns * tokens.count / stats.tokens / 1e6)
    if wall_s > 0:
        recorder.counter("decode_duty", decode_us / 1e6 / wall_s)
        recorder.counter("decodes_per_minute", stats.decodes / wall_s * 60)
        recorder.counter("windows_per_s", stats.windows / wall_s)


def trace_capacity(seconds: float, frames_per_s: float) -> int:
    """Room for all spans: one a frame, and at most eight a window, which needs a frame."""
    return int(min(2_000_000, max(4096, 10 * seconds * max(frames_per_s, 100))))
