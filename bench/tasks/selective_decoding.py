"""Selective decoding: how seldom a stream must be decoded to be told as well as once a second."""

from __future__ import annotations

import numpy as np

from ... import world
from ...calibration.cider import plain
from ...calibration.recording import Recording
from ...runtime.options import GateOptions
from ..selective import METHODS, Annotated, Floats, annotate, curve_points
from .context import BATCH, CAPTION_QUERY, Context
from .score import Score, missing, score

TASK = "selective decoding"
RATES_HZ = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.5, 0.7, 1.0)
STREAM_S = 60.0
_UNIFORM_HZ = 1.0


def reference_stream(context: Context, seed: int, seconds: float, split: str = "test") -> Annotated:
    """Every window of a stream through the PyTorch reference, as a bundle's own stream has them."""
    judged = context.judged
    stream = world.make_stream(seed, seconds, context.config, split=split)
    times = world.frame_times(stream)
    frames = list(world.frames(stream))
    begins = range(0, len(frames) - judged.frames + 1, judged.stride)
    rows = []
    for at in range(0, len(begins), BATCH):
        windows = np.stack(
            [np.stack(frames[b : b + judged.frames]) for b in begins[at : at + BATCH]]
        )
        rows.append(judged.embedder.embed_video(windows, CAPTION_QUERY))
    ends = np.array([times[b + judged.frames - 1] for b in begins])
    shifts = np.array([part.start_s for part in stream.segments[1:]])
    recording = Recording(
        np.concatenate(rows),
        np.rint(ends * 1e9).astype(np.int64),
        np.rint(shifts * 1e9).astype(np.int64),
    )
    timeline = stream.timeline()
    return Annotated(
        recording,
        ends - (judged.frames - 1) / judged.fps / 2,
        [row["caption"] for row in timeline],
        [(row["t_start_s"] + row["t_end_s"]) / 2 for row in timeline],
    )


def decode_selectively(context: Context) -> list[Score]:
    """CIDEr over decode rate of each method, and the rate at which it equals uniform 1 Hz."""
    judged = context.judged
    count = max(2, context.clips // 100)
    seconds = STREAM_S if context.clips >= 50 else 20.0
    streams = []
    for number in range(count):
        seed = context.seed + 500 + number
        if judged.model is not None:
            streams.append(annotate(judged.model, seed, seconds, config=context.config))
        else:
            streams.append(reference_stream(context, seed, seconds))
        context.progress(f"selective decoding: {number + 1} of {count} streams")
    known: dict[bytes, str] = {}

    def text_of(row: Floats) -> str:
        key = np.ascontiguousarray(row, np.float32).tobytes()
        if key not in known:
            known[key] = plain(judged.embedder.decode(row[None])[0])
        return known[key]

    base = judged.model.gate if judged.model is not None else GateOptions(2, 1, 0.5, -1.0)
    try:
        points = curve_points(streams, base, text_of, RATES_HZ)
    except ValueError as error:
        return [missing(TASK, "CIDEr", str(error))]
    rows: list[Score] = []
    told = f"{count} streams of {seconds:g} s"
    wanted = next(
        p.cider for p in points
        if p.method == "uniform" and p.embedding == "exact" and p.target_hz == _UNIFORM_HZ
    )  # fmt: skip
    for method in METHODS:
        for embedding in ("exact", "averaged"):
            curve = sorted(
                (p.rate_hz, p.cider)
                for p in points
                if (p.method, p.embedding) == (method, embedding)
            )
            rate = lowest_rate(curve, wanted)
            name = f"rate that equals uniform 1 Hz: {method}, {embedding}"
            if rate is None:
                rows.append(missing(TASK, name, f"never reached CIDEr {wanted:.2f}"))
            else:
                note = f"CIDEr {wanted:.2f}; {told}"
                rows.append(Score(TASK, name, rate, None, None, count, unit="Hz", note=note))
    for point in points:
        name = f"CIDEr, {point.method}, {point.embedding}, {point.target_hz:g} Hz"
        note = f"decoded at {point.rate_hz:.3f} Hz"
        rows.append(score(TASK, name, point.each, unit="cider", note=note))
    return rows


def lowest_rate(curve: list[tuple[float, float]], wanted: float) -> float | None:
    """Where (rate, quality), ascending by rate, first reaches a quality; straight in between."""
    before: tuple[float, float] | None = None
    for rate, quality in curve:
        if quality >= wanted:
            if before is None or quality == before[1]:
                return rate
            part = (wanted - before[1]) / (quality - before[1])
            return before[0] + part * (rate - before[0])
        before = (rate, quality)
    return None
