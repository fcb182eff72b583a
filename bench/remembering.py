"""How well an assistant remembers and alerts: `python -m vljepa_edge.bench.remembering`.

On sprite-world streams, whose events are known: R@1 and R@5 of searching each described event in
the memory of its stream; recall and false alarms an hour of alerts at the thresholds that they
calibrate themselves; and milliseconds of a search over 10 thousand to 1 million rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.alerts import Alert, smoothed
from vljepa_edge.assistant.threshold import calibrate
from vljepa_edge.assistant.vectors import VectorTable, quantise
from vljepa_edge.runtime.events import EmbeddingEvent
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.runtime.sources import IterableSource
from vljepa_edge.world import WorldConfig, frame_times, frames, make_stream

_FPS = 8.0
_SLACK_S = 1.0  # a window spans a second: what it tells may lie that far off
_PER_HOUR = 1.0


def watch(model: Model, seed: int, seconds: float, version: int | None = None) -> dict[str, Any]:
    """One stream: what was true, what recall finds, and every window's embedding.

    `version` of sprite world; None: the one that the bundle was trained on.
    """
    stream = make_stream(seed, seconds, WorldConfig.of(version or model.world, size=128))
    truth = stream.timeline()
    pictures = (
        (np.ascontiguousarray(picture[:, :, ::-1]), round(at_s * 1e9))
        for picture, at_s in zip(frames(stream, _FPS), frame_times(stream, _FPS), strict=True)
    )
    windows: list[EmbeddingEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        assistant = Assistant(model, IterableSource(pictures), Path(folder) / "m")
        assistant.subscribe(lambda t: windows.append(t) if isinstance(t, EmbeddingEvent) else None)
        with assistant:
            assistant.wait()
            assert assistant._recorder is not None
            while not assistant._recorder.flush():
                time.sleep(0.1)
            epoch_ns = assistant.watcher.epoch_ns
            ranks = [_rank(assistant, one["caption"], truth, epoch_ns) for one in truth]
    return {
        "seed": seed,
        "truth": truth,
        "ranks": ranks,
        "times_s": np.array([(w.start_ns + w.end_ns) / 2e9 for w in windows]),
        "embeddings": np.stack([w.embedding for w in windows]),
    }


def _rank(assistant: Assistant, caption: str, truth: list[dict[str, Any]], epoch_ns: int) -> int:
    """0: the first finding is a time at which this was true; -1: none of the first five is."""
    spans = [(o["t_start_s"], o["t_end_s"]) for o in truth if o["caption"] == caption]
    for rank, found in enumerate(assistant.recall(caption, k=5)):
        middle_s = ((found.start_ns + found.end_ns) / 2 - epoch_ns) / 1e9
        if any(begin - _SLACK_S <= middle_s <= end + _SLACK_S for begin, end in spans):
            return rank
    return -1


def alerts(model: Model, watched: list[dict[str, Any]]) -> dict[str, Any]:
    """Each stream's objects as alerts, calibrated on the first other stream without that object."""
    true = seen = false = 0
    hours = 0.0
    for stream in watched:
        for name in sorted({one["object"] for one in stream["truth"]}):
            quiet = next((s for s in watched if all(o["object"] != name for o in s["truth"])), None)
            if quiet is None:
                continue
            text = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
            vector = model.embed_text([text])[0]
            told = calibrate(
                smoothed(quiet["embeddings"] @ vector), quiet["times_s"], per_hour=_PER_HOUR
            )
            if told is None:
                continue
            alert = Alert(1, text, vector, None, told.threshold)
            spans = [(o["t_start_s"], o["t_end_s"]) for o in stream["truth"] if o["object"] == name]
            hit = set()
            for at_s, cosine in zip(stream["times_s"], stream["embeddings"] @ vector, strict=True):
                if alert.push(float(cosine), int(at_s * 1e9)) is None:
                    continue
                inside = [
                    i for i, (b, e) in enumerate(spans) if b - _SLACK_S <= at_s <= e + _SLACK_S
                ]
                hit |= set(inside)
                false += not inside
            true += len(spans)
            seen += len(hit)
            hours += (stream["times_s"][-1] - sum(e - b for b, e in spans)) / 3600
    return {
        "events": true,
        "recall": round(seen / true, 4) if true else None,
        "false_alarms_per_hour": round(false / hours, 3) if hours else None,
        "alert_hours": round(hours, 1),
        "asked_per_hour": _PER_HOUR,
    }


def search_times(width: int, counts: list[int]) -> list[dict[str, float]]:
    """Median and worst of a search for five rows, in ms."""
    rng = np.random.default_rng(1)
    told = []
    for count in counts:
        table = VectorTable(width, count)
        for i in range(count):
            table.put(i + 1, *quantise(rng.standard_normal(width).astype(np.float32)), i, i)
        took = []
        for _ in range(20):
            query = rng.standard_normal(width).astype(np.float32)
            began = time.perf_counter()
            table.nearest(query / np.linalg.norm(query), 5)
            took.append((time.perf_counter() - began) * 1e3)
        told.append(
            {"rows": count, "median_ms": round(float(np.median(took)), 2), "max_ms": max(took)}
        )
    return told


def main() -> int:
    """Print JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.remembering", description=__doc__
    )
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--bundle")
    parser.add_argument("--world", type=int, help="its version; default: the bundle's own")
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    model = load(arguments.bundle)
    watched = [
        watch(model, 9000 + i, arguments.seconds, arguments.world) for i in range(arguments.streams)
    ]
    ranks = np.array([rank for stream in watched for rank in stream["ranks"]])
    told = {
        "bundle": f"{model.description.name} {model.description.precision}",
        "bundle_sha256": model.description.bundle_sha256,
        "world": arguments.world or model.world,
        "streams": arguments.streams,
        "seconds": arguments.seconds,
        "events": len(ranks),
        "recall_at_1": round(float((ranks == 0).mean()), 4),
        "recall_at_5": round(float((ranks >= 0).mean()), 4),
        "alerts": alerts(model, watched),
        "search": search_times(model.description.embedding_width, arguments.rows),
    }
    json.dump(told, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
