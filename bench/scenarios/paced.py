"""`paced`, `burst`, `soak` and `multi`: cameras at a fixed rate, in real time.

Latency counts from the moment a window's last frame was *scheduled* to be captured, so that time
spent waiting (for a slow push, a busy engine, a late thread) is not hidden.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...runtime.errors import ArgumentError
from ...runtime.events import DroppedEvent, EmbeddingEvent, EndEvent, TextEvent
from ...runtime.frames import Pixels
from ...runtime.model import Model
from ...runtime.options import StreamOptions
from ...runtime.session import Session
from ..statistics import percentile
from .pictures import pictures_for
from .recorder import Recorder
from .single import ALWAYS, open_model
from .spec import Spec
from .stages import record_stages, trace_capacity

MULTI_TRIAL_S = 4.0


@dataclass
class Seen:
    """What one camera's events told, warm-up apart."""

    embedding_ms: list[float] = field(default_factory=list)
    text_ms: list[float] = field(default_factory=list)
    staleness_ms: list[float] = field(default_factory=list)
    windows_dropped: int = 0
    decodes_superseded: int = 0


class Camera:
    """One stream in real time: a thread pushes on schedule, another takes the events."""

    def __init__(
        self, model: Model, spec: Spec, pictures: list[Pixels], seconds: float,
        recorder: Recorder | None, *, phase: float = 0.0,
    ) -> None:  # fmt: skip
        self._pictures, self._seconds, self._recorder = pictures, seconds, recorder
        self.fps = spec.camera_fps or 3 * model.description.fps
        self._warmup_ns = round(spec.warmup_s * 1e9)
        self._phase_ns = round(phase / self.fps * 1e9)
        options = StreamOptions(
            realtime=True,
            stride=spec.stride,
            emit_embeddings=True,
            gate=ALWAYS if spec.scenario == "burst" else None,
            decode_when="onset" if spec.scenario == "burst" else None,
            trace_capacity=trace_capacity(seconds, self.fps) if recorder else 0,
        )
        self.session: Session = model.session(spec.queries or None, options)
        self.seen = Seen()
        self._stop = threading.Event()
        self._start_ns = 0
        self._threads = [
            threading.Thread(target=self._feed, name="camera"),
            threading.Thread(target=self._take, name="events"),
        ]

    def start(self) -> None:
        """Begins a moment from now."""
        self._start_ns = time.monotonic_ns() + 50_000_000 + self._phase_ns
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Pushes no more frames."""
        self._stop.set()

    def join(self) -> None:
        """Waits until all events were taken."""
        for thread in self._threads:
            thread.join()

    @property
    def measured_after_us(self) -> float:
        """On the core's clock, where warm-up ends."""
        return (self._start_ns + self._warmup_ns) / 1e3

    def _feed(self) -> None:
        period_ns = 1e9 / self.fps
        for number in range(int(self._seconds * self.fps)):
            due_ns = round(number * period_ns)
            early_ns = self._start_ns + due_ns - time.monotonic_ns()
            if early_ns > 0:
                self._stop.wait(early_ns / 1e9)
            if self._stop.is_set():
                break
            self.session.push(self._pictures[number % len(self._pictures)], due_ns)
        self.session.finish()

    def _take(self) -> None:
        ends: dict[int, int] = {}
        newest_ns: int | None = None
        while True:
            event = self.session.poll(0.2)
            now_ns = time.monotonic_ns() - self._start_ns
            if isinstance(event, EndEvent):
                return
            if isinstance(event, EmbeddingEvent) and event.query_index == 0:
                ends[event.window] = event.end_ns
                warm = event.end_ns < self._warmup_ns
                if newest_ns is not None and not warm:
                    # The oldest that a reader of the newest embedding ever gets to see.
                    self.seen.staleness_ms.append((now_ns - newest_ns) / 1e6)
                newest_ns = event.end_ns
                self._latency("embedding", self.seen.embedding_ms, now_ns - event.end_ns, warm)
            elif isinstance(event, TextEvent):
                end_ns = ends.get(event.window, event.end_ns)
                warm = end_ns < self._warmup_ns
                self._latency("text", self.seen.text_ms, now_ns - end_ns, warm)
            elif isinstance(event, DroppedEvent):
                if event.reason == "window_late":
                    self.seen.windows_dropped += event.count
                elif event.reason == "decode_superseded":
                    self.seen.decodes_superseded += event.count

    def _latency(self, kind: str, kept: list[float], latency_ns: int, warmup: bool) -> None:
        if not warmup:
            kept.append(latency_ns / 1e6)
        if self._recorder is not None:
            self._recorder.sample(f"{kind}_latency_ms", latency_ns / 1e6, warmup)


def watch(
    model: Model, spec: Spec, pictures: list[Pixels], count: int, seconds: float,
    recorder: Recorder | None, stop: threading.Event, trace: Path | None = None,
) -> list[Seen]:  # fmt: skip
    """`count` cameras for so long. With a recorder, everything that the first one saw is kept."""
    cameras = [
        Camera(model, spec, pictures, seconds, recorder, phase=number / count)
        for number in range(count)
    ]
    began = time.monotonic()
    for camera in cameras:
        camera.start()
    while time.monotonic() - began < seconds and not stop.wait(0.05):
        pass
    for camera in cameras:
        camera.stop()
    for camera in cameras:
        camera.join()
    wall_s = time.monotonic() - began
    first = cameras[0]
    if recorder is not None:
        deadline_ms = deadline(model, spec) * 1e3
        late = sum(value > deadline_ms for value in first.seen.embedding_ms)
        recorder.counter("deadline_ms", deadline_ms)
        recorder.counter("deadline_misses", late + first.seen.windows_dropped)
        recorder.samples("staleness_ms", first.seen.staleness_ms)
        record_stages(first.session, recorder, wall_s, first.measured_after_us)
        if trace is not None:
            trace.write_text(first.session.trace(), encoding="utf-8")
    for camera in cameras:
        camera.session.close()
    return [camera.seen for camera in cameras]


def deadline(model: Model, spec: Spec) -> float:
    """Seconds between two windows."""
    about = model.description
    return (spec.stride or about.stride) / about.fps


def paced(spec: Spec, recorder: Recorder, stop: threading.Event, trace: Path | None) -> bool:
    """Also `burst` (a text at every window) and `soak` (the same, for long)."""
    pictures = pictures_for(spec)
    with open_model(spec) as model:
        if spec.scenario == "burst" and model.default_text_source == "none":
            raise ArgumentError(
                f"{spec.bundle}: burst measures texts, and the bundle has neither a Y-Decoder nor "
                "a phrase bank; leave burst out"
            )
        watch(model, spec, pictures, 1, spec.warmup_s + spec.seconds, recorder, stop, trace)
    return not stop.is_set()


def multi(spec: Spec, recorder: Recorder, stop: threading.Event, trace: Path | None) -> bool:
    """The largest number of cameras whose p99 stays under the stride and that drop no window.

    Doubles until a trial fails, then halves the gap. p99 here is of however many samples a trial
    gives: the maximum, below a hundred.
    """
    pictures = pictures_for(spec)
    trial_s = spec.warmup_s + max(MULTI_TRIAL_S, spec.seconds / 4)
    best: tuple[int, list[float]] = (0, [])
    with open_model(spec) as model:
        limit_ms = deadline(model, spec) * 1e3

        def keeps_up(count: int) -> bool:
            nonlocal best
            seen = watch(model, spec, pictures, count, trial_s, None, stop)
            latencies = [value for one in seen for value in one.embedding_ms]
            dropped = sum(one.windows_dropped for one in seen)
            worst = percentile(latencies, 99) if latencies else float("inf")
            holds = worst < limit_ms and dropped == 0 and not stop.is_set()
            recorder.point(cameras=count, p99_ms=worst if latencies else None, dropped=dropped)
            if holds and count > best[0]:
                best = (count, latencies)
                recorder.counter("cameras", count)
            return holds

        recorder.counter("cameras", 0)
        recorder.counter("deadline_ms", limit_ms)
        good, bad, count = 0, spec.cameras + 1, 1
        while count < bad and not stop.is_set():
            if keeps_up(count):
                good, count = count, min(2 * count, spec.cameras)
                if good == spec.cameras:
                    break
            else:
                bad = count
        while bad - good > 1 and not stop.is_set():
            middle = (good + bad) // 2
            if keeps_up(middle):
                good = middle
            else:
                bad = middle
    recorder.samples("embedding_latency_ms", best[1])
    return not stop.is_set()
