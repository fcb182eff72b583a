"""What selective decoding costs: decode rate against caption quality (paper, section 4.5).

A recorded embedding stream is decoded at moments that a method chooses. Each annotation of the
timeline is matched to the decode that is nearest in time, and CIDEr is taken between the two.
Methods: uniform times; Ward clustering along time, knowing the whole stream; the online gate; and
the true shifts, some of them left out evenly where there are fewer decodes than annotations.
`exact` decodes one embedding; `averaged` the mean of the stretch that it stands for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from .. import world
from ..calibration.cider import cider, plain
from ..calibration.recording import Recording, record
from ..calibration.world_streams import timed_frames
from ..runtime.gate import Gate, segment
from ..runtime.model import Model
from ..runtime.options import GateOptions

Floats = npt.NDArray[np.float32]
RATES_HZ = (0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0)
METHODS = ("uniform", "ward", "gate", "truth")


@dataclass(frozen=True)
class Annotated:
    """An embedding stream with its timeline; times in seconds, each window's middle."""

    recording: Recording
    window_s: npt.NDArray[np.float64]
    captions: list[str]
    caption_s: list[float]  # middles of the annotations


@dataclass(frozen=True)
class Decode:
    """One text to be written: when it counts, and of which embedding."""

    at_s: float
    exact: Floats
    averaged: Floats


@dataclass(frozen=True)
class CurvePoint:
    """One method at one rate."""

    method: str
    embedding: str  # exact or averaged
    rate_hz: float
    cider: float


@dataclass(frozen=True)
class CurveDetail(CurvePoint):
    """A point with the rate that was asked for and the score of each annotation."""

    target_hz: float
    each: tuple[float, ...]


def annotate(
    model: Model,
    seed: int,
    seconds: float,
    split: str = "test",
    config: world.WorldConfig | None = None,
) -> Annotated:
    """Runs every window of a sprite world stream of the model's own size, rate and version."""
    about = model.description
    config = config or world.WorldConfig.of(
        model.world, size=about.height, frames=about.frames, fps=about.fps
    )
    stream = world.make_stream(seed, seconds, config, split=split)
    shifts = [part.start_s for part in stream.segments[1:]]
    recording = record(model, timed_frames(stream), shifts)
    timeline = stream.timeline()
    half_window_s = (about.frames - 1) / about.fps / 2
    return Annotated(
        recording,
        recording.end_ns / 1e9 - half_window_s,
        [row["caption"] for row in timeline],
        [(row["t_start_s"] + row["t_end_s"]) / 2 for row in timeline],
    )


def segments_to_decodes(stream: Annotated, starts: Sequence[int], *, onset: bool) -> list[Decode]:
    """One decode a segment, at its middle window, or at its first one as a live stream must."""
    rows, times = stream.recording.embeddings, stream.window_s
    decodes = []
    for begin, end in itertools.pairwise([*starts, len(rows)]):
        middle = (begin + end - 1) // 2
        mean = rows[begin:end].mean(axis=0)
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        at = begin if onset else middle
        decodes.append(Decode(float(times[middle]), rows[at], mean))
    return decodes


def uniform(stream: Annotated, rate_hz: float) -> list[Decode]:
    """Stretches of equal length."""
    count = _count(stream, rate_hz)
    starts = np.linspace(0, len(stream.window_s), count, endpoint=False).astype(int)
    return segments_to_decodes(stream, starts.tolist(), onset=False)


def ward(stream: Annotated, rate_hz: float) -> list[Decode]:
    """As many segments as uniform has, put where the stream changes."""
    starts = segment(stream.recording.embeddings, _count(stream, rate_hz))
    return segments_to_decodes(stream, starts, onset=False)


def gate(stream: Annotated, options: GateOptions) -> list[Decode]:
    """What the online gate decodes: `exact` at the shift, `averaged` when the segment closes."""
    rows = stream.recording.embeddings
    online = Gate(rows.shape[1], options)
    starts = [
        i
        for i, (row, end) in enumerate(zip(rows, stream.recording.end_ns, strict=True))
        if online.push(row, int(end)).shift
    ]
    return segments_to_decodes(stream, starts or [0], onset=True)


def truth(stream: Annotated, rate_hz: float) -> list[Decode]:
    """The middles of the true segments; where that is too many, some of them, evenly chosen."""
    shifts_s = stream.recording.shifts_ns / 1e9
    starts = sorted({0, *np.searchsorted(stream.window_s, shifts_s).tolist()})
    starts = [start for start in starts if start < len(stream.window_s)]
    decodes = segments_to_decodes(stream, starts, onset=False)
    count = min(len(decodes), _count(stream, rate_hz))
    chosen = ((np.arange(count) + 0.5) * len(decodes) / count).astype(int)
    return [decodes[i] for i in chosen]


def quality(
    streams: Sequence[Annotated],
    decodes: Sequence[Sequence[Decode]],
    embedding: str,
    text_of: Callable[[Floats], str],
) -> float:
    """Mean CIDEr of all annotations, each against the decode nearest in time."""
    return float(np.mean(qualities(streams, decodes, embedding, text_of)))


def qualities(
    streams: Sequence[Annotated],
    decodes: Sequence[Sequence[Decode]],
    embedding: str,
    text_of: Callable[[Floats], str],
) -> list[float]:
    """CIDEr of each annotation, streams one after the other."""
    candidates, references = [], []
    for stream, made in zip(streams, decodes, strict=True):
        texts = [plain(text_of(getattr(one, embedding))) for one in made]
        times = np.array([one.at_s for one in made])
        for caption, at in zip(stream.captions, stream.caption_s, strict=True):
            candidates.append(texts[int(np.abs(times - at).argmin())])
            references.append([plain(caption)])
    return cider(candidates, references)


def curve_points(
    streams: Sequence[Annotated],
    gate_options: GateOptions,
    text_of: Callable[[Floats], str],
    rates_hz: Sequence[float] = RATES_HZ,
    progress: Callable[[int, int], None] | None = None,
) -> list[CurveDetail]:
    """Points of all methods at each rate.

    The gate's threshold is bisected to each rate on the very streams, as a rate controller would.
    """
    total_s = sum(stream.recording.duration_s for stream in streams)
    points = []
    for done, rate in enumerate(rates_hz):
        if progress is not None:
            progress(done, len(rates_hz))
        chosen = {
            "uniform": [uniform(stream, rate) for stream in streams],
            "ward": [ward(stream, rate) for stream in streams],
            "gate": _gate_at(streams, gate_options, rate),
            "truth": [truth(stream, rate) for stream in streams],
        }
        for method in METHODS:
            count = sum(len(made) for made in chosen[method])
            for embedding in ("exact", "averaged"):
                each = qualities(streams, chosen[method], embedding, text_of)
                points.append(
                    CurveDetail(
                        method,
                        embedding,
                        count / total_s,
                        float(np.mean(each)),
                        rate,
                        tuple(each),
                    )
                )
    return points


def decode_curve(
    model: Model,
    *,
    streams: int = 3,
    seconds: float = 60.0,
    seed: int = 500,
    version: int | None = None,
    rates_hz: Sequence[float] = RATES_HZ,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Points of all methods, ready for a results file.

    The gate's threshold is bisected to each rate on the very streams, as a rate controller would.
    `version` of sprite world; None: the one that the model was trained on.
    """
    about = model.description
    version = version or model.world
    config = world.WorldConfig.of(version, size=about.height, frames=about.frames, fps=about.fps)
    recorded = [annotate(model, seed + number, seconds, config=config) for number in range(streams)]
    known: dict[bytes, str] = {}

    def text_of(row: Floats) -> str:
        key = np.ascontiguousarray(row, np.float32).tobytes()
        if key not in known:
            known[key] = model.decode(row).text
        return known[key]

    points = [
        CurvePoint(point.method, point.embedding, point.rate_hz, point.cider)
        for point in curve_points(recorded, model.gate, text_of, rates_hz, progress)
    ]
    told = (
        f"{streams} streams of {seconds:g} s of sprite world, version {version} (seed {seed}), "
        f"each annotation against the decode nearest in time; {len(known)} texts decoded"
    )
    return {"about": told, "points": [asdict(point) for point in points]}


def _gate_at(streams: Sequence[Annotated], base: GateOptions, rate_hz: float) -> list[list[Decode]]:
    """The gate at the threshold whose rate over all streams comes nearest."""
    wanted = sum(_count(stream, rate_hz) for stream in streams)
    low, high = 1e-4, 64.0
    best: list[list[Decode]] = []
    for _ in range(14):
        middle = float(np.sqrt(low * high))
        made = [gate(stream, replace(base, ward_threshold=middle)) for stream in streams]
        count = sum(len(one) for one in made)
        if not best or abs(count - wanted) < abs(sum(map(len, best)) - wanted):
            best = made
        if count > wanted:
            low = middle
        else:
            high = middle
    return best


def _count(stream: Annotated, rate_hz: float) -> int:
    return min(len(stream.window_s), max(1, round(stream.recording.duration_s * rate_hz)))
