"""`single`: one window after the other, the next as soon as the last is done (LoadGen's single
stream), and `cold`: from the process's start to the first embedding and the first text.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from ...runtime.events import TextEvent
from ...runtime.frames import Pixels
from ...runtime.model import Model, load
from ...runtime.options import GateOptions, StreamOptions
from .pictures import endless, pictures_for
from .recorder import Recorder
from .spec import Spec
from .stages import record_stages, trace_capacity

# Shifts at every window: a text at once, and texts in a storm.
ALWAYS = GateOptions(
    smoothing=1,
    confirm=1,
    ward_threshold=1e-9,
    variance_threshold=-1,
    hysteresis=-1,
    min_interval_ns=-1,
    max_interval_ns=-1,
)


def open_model(spec: Spec) -> Model:
    """The bundle, as the specification says."""
    return load(spec.bundle, backend=spec.backend, threads=spec.threads, **spec.engine)


def single(spec: Spec, recorder: Recorder, stop: threading.Event, trace: Path | None) -> bool:
    """False: stopped before it was done."""
    pictures = pictures_for(spec)
    with open_model(spec) as model:
        _back_to_back(model, spec, pictures, recorder, stop, None, warmup=True)
        return _back_to_back(model, spec, pictures, recorder, stop, trace, warmup=False)


def _back_to_back(
    model: Model,
    spec: Spec,
    pictures: list[Pixels],
    recorder: Recorder,
    stop: threading.Event,
    trace: Path | None,
    *,
    warmup: bool,
) -> bool:
    limit_s = spec.warmup_s if warmup else spec.seconds
    wanted = 0 if warmup else spec.samples
    period_ns = round(1e9 / model.description.fps)
    options = StreamOptions(
        stride=spec.stride, trace_capacity=0 if warmup else trace_capacity(limit_s, 1000)
    )
    measured = 0
    with model.session(spec.queries or None, options) as session:
        began = time.monotonic()
        for number, picture in enumerate(endless(pictures)):
            while not session.push(picture, number * period_ns):
                at = time.perf_counter_ns()
                session.step()
                took_ms = (time.perf_counter_ns() - at) / 1e6
                has_text = False
                while (event := session.poll()) is not None:
                    has_text |= isinstance(event, TextEvent)
                recorder.sample("window_with_text_ms" if has_text else "window_ms", took_ms, warmup)
                measured += 1
            late = time.monotonic() - began >= limit_s
            if stop.is_set() or (measured >= wanted if wanted else late and measured > 0):
                break
        if not warmup:
            record_stages(session, recorder, time.monotonic() - began)
            if trace is not None:
                trace.write_text(session.trace(), encoding="utf-8")
    return not stop.is_set()


def cold(spec: Spec, recorder: Recorder, stop: threading.Event, trace: Path | None) -> bool:
    """One sample per process; the pictures are made before the clock of the model starts."""
    imported_ns = time.monotonic_ns()
    before_model_ms = (imported_ns - spec.spawned_ns) / 1e6
    pictures = pictures_for(spec)
    at = time.monotonic_ns()
    with open_model(spec) as model:
        open_ms = (time.monotonic_ns() - at) / 1e6
        options = StreamOptions(stride=spec.stride, emit_embeddings=True, gate=ALWAYS)
        period_ns = round(1e9 / model.description.fps)
        with model.session(spec.queries or None, options) as session:
            for number, picture in enumerate(endless(pictures)):
                if not session.push(picture, number * period_ns):
                    break
            session.step()
            window_ms = (time.monotonic_ns() - at) / 1e6
            # The step decodes as well; the core's own times say how long that took.
            stages = session.stats().stages
            text_ms = sum(stages[s].mean_ns / 1e6 for s in ("prefill", "tokens") if s in stages)
    recorder.sample("process_ms", before_model_ms)
    recorder.sample("open_ms", open_ms)
    recorder.sample("first_embedding_ms", before_model_ms + window_ms - text_ms)
    if text_ms:
        recorder.sample("first_text_ms", before_model_ms + window_ms)
    return not stop.is_set()
