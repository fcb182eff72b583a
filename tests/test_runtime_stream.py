"""`Stream` and `Session`: replay, real time, stopping, failing sources, steady state."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vljepa_edge.runtime import errors
from vljepa_edge.runtime.events import (
    DroppedEvent,
    EmbeddingEvent,
    EndEvent,
    NoticeEvent,
    ShiftEvent,
    TextEvent,
)
from vljepa_edge.runtime.gate import Gate, segment
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.runtime.options import GateOptions, StreamOptions
from vljepa_edge.runtime.session import Session
from vljepa_edge.runtime.sources import Source, open_source

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Iterator[Model]:
    with load(tiny_bundle) as opened:
        yield opened


def pictures(count: int, rate: float = 8.0) -> Iterator[tuple[np.ndarray, int]]:
    """A scene that changes its colours every two seconds."""
    for i in range(count):
        rng = np.random.default_rng(int(i / rate / 2))
        colours = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        yield np.repeat(np.repeat(colours, 8, 0), 8, 1), round(i * SECOND / rate)


def test_iterating_a_stream(model: Model) -> None:
    with model.stream(pictures(80), options=StreamOptions(emit_embeddings=True)) as stream:
        events = list(stream)
    assert isinstance(events[-1], EndEvent)
    windows = [event.window for event in events if isinstance(event, EmbeddingEvent)]
    assert windows == list(range((80 - 4) // 2 + 1))
    stats = stream.stats()  # still there after close
    assert stats.windows == len(windows) and stats.frames_pushed == 80
    assert stats.shifts == sum(isinstance(event, ShiftEvent) for event in events)
    assert stats.decodes == sum(isinstance(event, TextEvent) for event in events) > 0
    assert stats.stages["encode"].count == len(windows)
    assert stats.stages["encode"].p50_ns <= stats.stages["encode"].p99_ns
    assert stream.frames_read == 80


def test_events_print_and_turn_into_json(model: Model) -> None:
    import json

    for event in model.stream(pictures(40), options=StreamOptions(emit_embeddings=True)):
        assert json.loads(event.to_json())["type"] == event.type
        assert "\n" not in str(event) and str(event)
        assert not hasattr(event, "__dict__") or event == event
        with pytest.raises(AttributeError):
            event.type = "other"  # type: ignore[misc]


def test_gate_by_hand_is_the_streams(model: Model) -> None:
    """A gate fed with a stream's embeddings tells the same shifts: there is one implementation."""
    options = StreamOptions(emit_embeddings=True, text="none")
    events = list(model.stream(pictures(120), options=options))
    gate = Gate(model.description.embedding_width, model.gate)
    embeddings = [event for event in events if isinstance(event, EmbeddingEvent)]
    shifts = {event.window: event for event in events if isinstance(event, ShiftEvent)}
    for event in embeddings:
        result = gate.push(event.embedding, event.end_ns)
        assert result.shift == (event.window in shifts)
        assert result.score == event.score and result.threshold == event.threshold
        if result.shift:
            assert result.reason == shifts[event.window].reason
    assert 1 < len(shifts) < len(embeddings)
    rows = np.stack([event.embedding for event in embeddings])
    starts = segment(rows, 4)
    assert starts[0] == 0 and starts == sorted(set(starts)) and len(starts) == 4


def test_gate_options_are_taken(model: Model) -> None:
    def shifts(gate: GateOptions) -> int:
        options = StreamOptions(text="none", gate=gate)
        return sum(isinstance(e, ShiftEvent) for e in model.stream(pictures(120), options=options))

    never = GateOptions(ward_threshold=1e9, variance_threshold=-1, max_interval_ns=-1)
    assert shifts(never) == 1  # the first window
    assert shifts(GateOptions(ward_threshold=1e9, max_interval_ns=SECOND)) > 5  # heartbeat


def test_source_that_fails(model: Model) -> None:
    def failing() -> Iterator[tuple[np.ndarray, int]]:
        yield from pictures(20)
        raise ConnectionError("the cable was pulled")

    events = []
    with pytest.raises(ConnectionError, match="cable"):
        for event in model.stream(failing(), options=StreamOptions(emit_embeddings=True)):
            events.append(event)
    # What had come is processed and told, the end included.
    assert isinstance(events[-1], EndEvent)
    assert sum(isinstance(event, EmbeddingEvent) for event in events) == (20 - 4) // 2 + 1


def test_bad_timestamps_are_told(model: Model) -> None:
    def stuttering() -> Iterator[tuple[np.ndarray, int]]:
        for i, (pixels, at_ns) in enumerate(pictures(40)):
            yield pixels, at_ns
            if i == 20:
                yield pixels, at_ns

    stream = model.stream(stuttering())
    events = list(stream)
    (dropped,) = [event for event in events if isinstance(event, DroppedEvent)]
    assert (dropped.reason, dropped.count) == ("timestamp", 1)
    (notice,) = [event for event in events if isinstance(event, NoticeEvent)]
    assert events.index(notice) == len(events) - 2 and stream.problems == [notice.text]


def test_stopping_and_leaving(model: Model) -> None:
    def endless() -> Iterator[tuple[np.ndarray, int]]:
        yield from pictures(10**9)

    stream = model.stream(endless(), options=StreamOptions(emit_embeddings=True))
    for number, event in enumerate(stream):
        if number == 10:
            stream.stop()
        last = event
    assert isinstance(last, EndEvent)
    with model.stream(endless()) as left:
        next(left)
    assert left.stats().frames_pushed > 0


def test_closing_in_any_order(tiny_bundle: Path) -> None:
    """Python may let go of a model before its streams; the core must not notice."""
    model = load(tiny_bundle)
    stream = model.stream(pictures(40))
    next(iter(stream))
    model.close()
    assert isinstance(list(stream)[-1], EndEvent)  # it keeps the engines that it uses
    with pytest.raises(errors.ArgumentError, match="closed"):
        model.embed_text(["a text"])
    stream.close()
    with pytest.raises(errors.ArgumentError, match="closed"):
        stream.session.step()
    cycle: list[object] = [load(tiny_bundle)]
    cycle += [cycle, cycle[0].stream(pictures(40), realtime=True)]  # type: ignore[attr-defined]
    next(cycle[2])  # type: ignore[call-overload]
    del cycle
    gc.collect()


def test_limits(model: Model, clip: Path) -> None:
    stream = model.stream(clip, max_frames=33)
    list(stream)
    assert stream.stats().frames_pushed == 33
    assert stream.source.frame_count == 33
    with pytest.raises(errors.ArgumentError, match="poem"):
        model.stream(clip, options=StreamOptions(text="poem"))  # type: ignore[arg-type]
    with pytest.raises(errors.ArgumentError, match="negative"):
        model.stream(clip, options=StreamOptions(stride=-1))


def test_realtime(model: Model) -> None:
    started = time.monotonic()
    options = StreamOptions(emit_embeddings=True)
    events = list(model.stream(pictures(17, rate=16), options=options, realtime=True))
    assert 0.9 < time.monotonic() - started < 10
    assert isinstance(events[-1], EndEvent)
    told = [event for event in events if isinstance(event, EmbeddingEvent)]
    assert told and all(event.latency_ns is not None for event in told)


def test_slow_engine_degrades_in_real_time(tiny_bundle: Path) -> None:
    """Too slow an engine: frames keep coming in at their pace, and what is lost is told."""

    def engine(component: str, inputs: Any, outputs: Any) -> None:
        if component == "x_encoder":
            time.sleep(0.3)
        for array in outputs.values():
            array[...] = 0
            array.reshape(len(array), -1)[:, 0] = 1  # unit rows

    with load(tiny_bundle, backend="callback", engine=engine) as model:
        stream = model.stream(
            pictures(128, rate=64), options=StreamOptions(fps=64, stride=1), realtime=True
        )
        started = time.monotonic()
        events = list(stream)
        seconds = time.monotonic() - started
        stats = stream.stats()
    assert seconds < 5  # 128 windows at 0.3 s would take 38
    assert stats.windows < 20
    lost = {
        "frame_ring_full": stats.frames_dropped,
        "window_late": stats.windows_dropped,
    }
    assert sum(lost.values()) > 50
    for reason, count in lost.items():
        drops = [e for e in events if isinstance(e, DroppedEvent) and e.reason == reason]
        assert sum(event.count for event in drops) == count
    assert {"degraded", "dropped"} <= {event.type for event in events}


class Endless(Source):
    """One picture again and again at 8 a second, until `count`."""

    def __init__(self, count: int) -> None:
        super().__init__("endless")
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (64, 48, 64, 3), dtype=np.uint8)
        for i in range(self.count):
            yield frames[i // 16 % 64], i * SECOND // 8, f"frame {i}"


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_steady_state(tiny_bundle: Path) -> None:
    """20,000 windows on ONNX Runtime: the core allocates nothing, and memory stays where it is."""
    with load(tiny_bundle, threads=1) as model:
        options = StreamOptions(decode_when="both")
        session = Session(model, model.queries, options)
        at_start, warm, decodes = 0, 0, 0
        for pixels, at_ns, _ in Endless(2 * 20_400):
            while not session.push(pixels, at_ns):
                session.step()
                while session.poll() is not None:
                    pass
            window = at_ns // (SECOND // 4)
            if window >= 400 and not at_start:
                stats = session.stats()
                at_start, warm, decodes = resident_bytes(), stats.allocations, stats.decodes
        stats = session.stats()
        grown = resident_bytes() - at_start
        session.close()
    assert stats.windows > 20_000 and stats.decodes > decodes + 1000
    assert stats.allocations == warm
    assert grown < 2 * 1024 * 1024


def test_memory_is_told_beforehand(model: Model) -> None:
    options = StreamOptions(trace_capacity=100)
    memory = Session.memory(model, model.queries, options)
    larger = Session.memory(model, model.queries, StreamOptions(trace_capacity=100_000))
    assert 0 < memory.stream_bytes < larger.stream_bytes
    assert memory.mapped_bytes > 100_000


def test_trace(model: Model) -> None:
    import json

    stream = model.stream(pictures(40), options=StreamOptions(trace_capacity=1000))
    list(stream)
    spans = json.loads(stream.session.trace())["traceEvents"]
    assert len(spans) > 40


def test_open_source(clip: Path, tmp_path: Path) -> None:
    source = open_source(clip)
    assert source.frame_count == 160 and not source.live
    frames = list(source)
    assert len(frames) == 160 and frames[16].timestamp_ns == SECOND
    with pytest.raises(errors.SourceError, match="no such file"):
        open_source(tmp_path / "none.mp4")
    with pytest.raises(OSError):
        open_source("camera.mp4")
