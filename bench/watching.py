"""Sprite-world streams watched by an assistant, kept so that several benches share the work.

A stream's file holds each window's embedding and where a search of the memory found each described
event. It is named after the bundle, so that another bundle watches anew.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.assistant import Assistant
from vljepa_edge.runtime.events import EmbeddingEvent
from vljepa_edge.runtime.model import Model
from vljepa_edge.runtime.sources import IterableSource
from vljepa_edge.world import WorldConfig, frame_times, frames, make_stream

FIRST_SEED = 9000  # no training, validation or calibration uses these
SLACK_S = 1.0  # a window spans a second: what it tells may lie that far off
_FOUND = 5

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Watched:
    """One stream: its annotations (world.Stream.timeline), each one's rank in the memory (0: found
    first; -1: not among five), and every window's middle (s) and embedding float32 [N, E]."""

    seed: int
    truth: list[dict[str, Any]]
    ranks: list[int]
    times_s: npt.NDArray[np.float64]
    embeddings: npt.NDArray[np.float32]

    def spans(self, kind: str, value: str) -> list[tuple[float, float]]:
        """When an annotation's "caption" or "object" was this."""
        return [(o["t_start_s"], o["t_end_s"]) for o in self.truth if o[kind] == value]


def watched_streams(
    model: Model, streams: int, seconds: float, version: int, keep: Path | None,
    progress: Progress | None = None,
) -> Iterator[Watched]:  # fmt: skip
    """Streams of consecutive seeds; those that lie in the folder `keep` are not watched again."""
    for number in range(streams):
        if progress is not None:
            progress(number, streams)
        seed = FIRST_SEED + number
        path = keep and keep / _name(model, seed, seconds, version)
        if path and path.exists():
            yield _read(path)
            continue
        found = watch(model, seed, seconds, version)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, found)
        yield found


def watch(model: Model, seed: int, seconds: float, version: int) -> Watched:
    """Runs an assistant over one stream, then searches its memory for each described event."""
    about = model.description
    stream = make_stream(seed, seconds, WorldConfig.of(version, size=about.height, fps=about.fps))
    truth = stream.timeline()
    pictures = (
        (np.ascontiguousarray(picture[:, :, ::-1]), round(at_s * 1e9))
        for picture, at_s in zip(frames(stream), frame_times(stream), strict=True)
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
    return Watched(
        seed,
        truth,
        ranks,
        np.array([(w.start_ns + w.end_ns) / 2e9 for w in windows]),
        np.stack([w.embedding for w in windows]),
    )


def _rank(assistant: Assistant, caption: str, truth: list[dict[str, Any]], epoch_ns: int) -> int:
    spans = [(o["t_start_s"], o["t_end_s"]) for o in truth if o["caption"] == caption]
    for rank, found in enumerate(assistant.recall(caption, k=_FOUND)):
        middle_s = ((found.start_ns + found.end_ns) / 2 - epoch_ns) / 1e9
        if any(begin - SLACK_S <= middle_s <= end + SLACK_S for begin, end in spans):
            return rank
    return -1


def _name(model: Model, seed: int, seconds: float, version: int) -> str:
    about = model.description
    return f"{about.name}-{about.bundle_sha256[:12]}-world{version}-{seed}-{seconds:g}s.npz"


def _write(path: Path, found: Watched) -> None:
    told = json.dumps({"seed": found.seed, "truth": found.truth, "ranks": found.ranks})
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, told=told, times_s=found.times_s, embeddings=found.embeddings)
    temporary.replace(path)


def _read(path: Path) -> Watched:
    with np.load(path, allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        return Watched(**told, times_s=arrays["times_s"], embeddings=arrays["embeddings"])
