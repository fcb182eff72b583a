"""How far bundle B decides as bundle A does: embeddings, decisions, shifts, words, size and time.

Both go through the C core, window by window and in turns, so that times are of one run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import world
from ..export.bundle import MANIFEST
from ..export.errors import ExportError
from ..export.manifest import Manifest
from ..runtime.model import Model, load
from ..runtime.options import GateOptions
from . import quantise
from .cider import cider, plain
from .clip_streams import record_clips
from .gate import match, told_shifts
from .recording import Recording
from .windows import WORLD, open_windows
from .world_streams import record_world

Floats = npt.NDArray[np.float32]
# What is being done, steps done, steps in all.
Progress = Callable[[str, int, int], None]
CAPTION_QUERY = world.CAPTION_QUERIES[0]
SPLIT = "test"


@dataclass(frozen=True)
class Side:
    """One bundle's own figures. Shares are of right answers, None where truth is not known."""

    bundle: str
    precision: str
    simulated: bool  # FP8 on a CPU: its time says nothing
    bytes: int
    component_bytes: dict[str, int]
    top1: float | None  # right object-motion caption among all candidates
    retrieval_r1: float | None  # text to video
    cider: float | None  # against the truth
    encode_ms: float  # medians
    predict_ms: float
    decode_ms: float | None


@dataclass(frozen=True)
class Fidelity:
    """B against A. Flips are shares of windows; points are B minus A, in percent."""

    a: Side
    b: Side
    data: str
    windows: int
    queries: tuple[str, ...]
    cosine_mean: float
    cosine_p1: float
    cosine_min: float
    text_cosine_mean: float
    candidates: int
    top1_flips: float  # B's best candidate is not A's
    top5_flips: float  # A's best candidate is not among B's five best
    classification_points: float | None
    retrieval_points: float | None
    trigger_f1: float | None  # B's shifts against A's, within one window
    trigger_shifts: tuple[int, int] | None
    decoded_exact: float | None  # share of equal texts
    decoded_cider: float | None  # B's texts against A's
    size_share: float
    seconds: float
    cosines: tuple[float, ...] = ()  # each window's and query's, for the picture

    def to_json(self) -> dict[str, Any]:
        """All of it, cosines included."""
        return dataclasses.asdict(self)


@dataclass
class _Run:
    """What one bundle gave for all windows."""

    embeddings: list[Floats] = dataclasses.field(default_factory=list)
    texts: list[str] = dataclasses.field(default_factory=list)
    encode: list[float] = dataclasses.field(default_factory=list)
    predict: list[float] = dataclasses.field(default_factory=list)
    decode: list[float] = dataclasses.field(default_factory=list)


def compare(
    a: Path,
    b: Path,
    *,
    data: str = WORLD,
    windows: int = 200,
    candidates: int = 1000,
    streams: int = 4,
    seconds: float = 30.0,
    seed: int = 2,
    threads: int = 1,
    version: int | None = None,
    progress: Progress | None = None,
) -> Fidelity:
    """Compares two bundles on held-out sprite world, or on clips (where nothing is known as true).

    `candidates`: object-motion captions to choose from. `streams`: how many streams of `seconds`
    the gates watch, each with its own bundle's thresholds (of clips: all of them); 0 leaves shifts
    out. `version` of sprite world; None: the one that A was trained on. ExportError where the two
    don't take the same windows.
    """
    started = time.monotonic()
    with load(a, threads=threads) as model_a, load(b, threads=threads) as model_b:
        _check_alike(model_a, model_b, a, b)
        version = version or model_a.world
        shown, truth = _shown(model_a, data, windows, seed, version)
        queries = _queries(model_a)
        runs = (_Run(), _Run())
        for i, window in enumerate(shown):
            order = (0, 1) if i % 2 == 0 else (1, 0)
            for side in order:
                _window((model_a, model_b)[side], window, queries, runs[side])
            if progress is not None:
                progress("windows", i + 1, len(shown))
        bank = _bank(truth, model_a, candidates, seed, version)
        texts = tuple(_embed(m, bank, progress) for m in (model_a, model_b))
        recorded = None
        if streams:
            recorded = tuple(
                _streams(m, data, streams, seconds, seed, version) for m in (model_a, model_b)
            )
    first = tuple(np.stack([rows[0] for rows in run.embeddings]) for run in runs)
    both = tuple(np.concatenate(run.embeddings) for run in runs)
    cosines = (both[0] * both[1]).sum(1)
    scores = tuple(e @ t.T for e, t in zip(first, texts, strict=True))
    best = tuple(s.argmax(1) for s in scores)
    five = np.argsort(-scores[1], 1)[:, :5]
    decodes = bool(runs[0].texts and runs[1].texts)
    sides = tuple(
        _side(path, run, score, rows, texts_, truth, bank)
        for path, run, score, rows, texts_ in zip((a, b), runs, scores, first, texts, strict=True)
    )
    f1, shifts = _trigger(a, b, recorded) if recorded and all(recorded) else (None, None)
    return Fidelity(
        a=sides[0],
        b=sides[1],
        data=(
            f"sprite world version {version}, split {SPLIT}, seed {seed}" if data == WORLD else data
        ),
        windows=len(shown),
        queries=tuple(queries),
        cosine_mean=float(cosines.mean()),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_min=float(cosines.min()),
        text_cosine_mean=float((texts[0] * texts[1]).sum(1).mean()),
        candidates=len(bank),
        top1_flips=float(np.mean(best[0] != best[1])),
        top5_flips=float(np.mean(~(five == best[0][:, None]).any(1))),
        classification_points=_points(sides[0].top1, sides[1].top1),
        retrieval_points=_points(sides[0].retrieval_r1, sides[1].retrieval_r1),
        trigger_f1=f1,
        trigger_shifts=shifts,
        decoded_exact=(
            float(np.mean([x == y for x, y in zip(runs[0].texts, runs[1].texts, strict=True)]))
            if decodes
            else None
        ),
        decoded_cider=mean_cider(runs[1].texts, [[t] for t in runs[0].texts]) if decodes else None,
        size_share=sides[1].bytes / sides[0].bytes,
        seconds=time.monotonic() - started,
        cosines=tuple(float(c) for c in cosines),
    )


def mean_cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr of texts without regard to case and punctuation, 0..10; ValueError as `cider`."""
    plain_references = [[plain(text) for text in group] for group in references]
    return float(np.mean(cider([plain(text) for text in candidates], plain_references)))


def shift_agreement(
    told_a: Sequence[npt.NDArray[np.int64]],
    told_b: Sequence[npt.NDArray[np.int64]],
    window_s: float,
) -> float:
    """F1 of B's shifts against A's, equal within one window; 1 where neither tells any."""
    pairs = sum(
        len(match(y, x, window_s * 1.001, window_s * 1.001))
        for x, y in zip(told_a, told_b, strict=True)
    )
    total = sum(map(len, told_a)) + sum(map(len, told_b))
    return 2 * pairs / total if total else 1.0


def gate_options(folder: Path) -> GateOptions:
    """The gate that a bundle brings along."""
    settings = dataclasses.asdict(Manifest.read(folder / MANIFEST).gate)
    known = {field.name for field in dataclasses.fields(GateOptions)}
    return GateOptions(**{name: value for name, value in settings.items() if name in known})


def _check_alike(model_a: Model, model_b: Model, a: Path, b: Path) -> None:
    fields = ("frames", "height", "width", "embedding_width")
    about = (model_a.description, model_b.description)
    for name in fields:
        found = [getattr(d, name) for d in about]
        if found[0] != found[1]:
            raise ExportError(
                f"{a} and {b} cannot be compared: {name} is {found[0]} and {found[1]}",
                "compare bundles of one checkpoint",
            )


def _shown(
    model: Model, data: str, count: int, seed: int, version: int
) -> tuple[list[npt.NDArray[np.uint8]], list[world.Clip]]:
    """Windows, and for sprite world what they show."""
    about = model.description
    if data != WORLD:
        return [window for window, _ in open_windows(data, about, count, seed)], []
    config = world.WorldConfig.of(version, size=about.height, frames=about.frames, fps=about.fps)
    clips = [world.sample_clip(seed, i, config, split=SPLIT) for i in range(count)]
    return [np.ascontiguousarray(clip.frames.transpose(0, 3, 1, 2)) for clip in clips], clips


def _queries(model: Model) -> list[str]:
    """The captioning query first, then those that are compiled into the bundle."""
    compiled = [query.text for query in model.queries]
    same = [text for text in compiled if text.lower() == CAPTION_QUERY]
    first = same[0] if same else compiled[0] if compiled else CAPTION_QUERY
    return list(dict.fromkeys([first, *compiled]))[:4]


def _window(model: Model, window: npt.NDArray[np.uint8], queries: Sequence[str], run: _Run) -> None:
    compiled = [model.compile_query(query) for query in queries]
    t0 = time.perf_counter()
    tokens = model.encode_window(window)
    t1 = time.perf_counter()
    rows = model.predict(tokens, compiled)
    t2 = time.perf_counter()
    run.embeddings.append(rows)
    run.encode.append(t1 - t0)
    run.predict.append(t2 - t1)
    if model.has("y_decoder"):
        run.texts.append(model.decode(rows[0]).text)
        run.decode.append(time.perf_counter() - t2)


def _caption(clip: world.Clip) -> str:
    return world.motion_object_caption(clip.scene.object, clip.scene.motion)


def _bank(clips: list[world.Clip], model: Model, count: int, seed: int, version: int) -> list[str]:
    """Captions to choose from: the true ones and random others; of clips, what A would say."""
    config = world.WorldConfig.of(version)
    every = [world.motion_object_caption(o, m) for o in config.objects for m in config.motions]
    order = np.random.default_rng(seed).permutation(len(every))
    texts = [_caption(clip) for clip in clips] + [every[i] for i in order]
    most = model.description.text_max_tokens
    usable = (t for t in dict.fromkeys(texts) if len(model.tokenize(t, "y_encoder")) <= most)
    wanted = max(count, len({_caption(clip) for clip in clips}))
    return [text for text, _ in zip(usable, range(wanted), strict=False)]


def _embed(model: Model, texts: Sequence[str], progress: Progress | None) -> Floats:
    rows = []
    for i in range(0, len(texts), 64):
        rows.append(model.embed_text(texts[i : i + 64]))
        if progress is not None:
            progress("candidates", i + len(rows[-1]), len(texts))
    return np.concatenate(rows)


def _side(
    folder: Path,
    run: _Run,
    scores: Floats,
    rows: Floats,
    texts: Floats,
    clips: list[world.Clip],
    bank: list[str],
) -> Side:
    manifest = Manifest.read(folder / MANIFEST)
    top1 = retrieval = told = None
    if clips:
        index = {text: i for i, text in enumerate(bank)}
        right = np.array([index[_caption(clip)] for clip in clips])
        top1 = float(np.mean(scores.argmax(1) == right))
        wanted = np.unique(right)
        retrieval = float(np.mean(right[(texts[wanted] @ rows.T).argmax(1)] == wanted))
        if run.texts:
            told = mean_cider(
                run.texts, [[c.caption, world.canonical_caption(c.scene)] for c in clips]
            )
    return Side(
        bundle=folder.name,
        precision=manifest.precision,
        simulated=any(part.precision == "fp8" for part in manifest.components.values()),
        bytes=quantise.size(folder),
        component_bytes={
            name: part.bytes + sum(extra.bytes for extra in part.external_data)
            for name, part in manifest.components.items()
        },
        top1=top1,
        retrieval_r1=retrieval,
        cider=told,
        encode_ms=float(np.median(run.encode) * 1e3),
        predict_ms=float(np.median(run.predict) * 1e3),
        decode_ms=float(np.median(run.decode) * 1e3) if run.decode else None,
    )


def _points(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else 100 * (b - a)


def _streams(
    model: Model, data: str, streams: int, seconds: float, seed: int, version: int
) -> list[Recording]:
    """What the gates watch: sprite world's streams, or the clips; none where these are windows."""
    if data == WORLD:
        return record_world(
            model, streams=streams, seconds=seconds, seed=seed, split=SPLIT, version=version
        )
    if Path(data).suffix == ".npy":
        return []
    try:
        return record_clips(model, Path(data))
    except ValueError:  # a clip too short for a window
        return []


def _trigger(
    a: Path, b: Path, recorded: tuple[list[Recording], ...]
) -> tuple[float, tuple[int, int]]:
    told = [
        [told_shifts(recording, gate_options(folder)) for recording in recordings]
        for folder, recordings in zip((a, b), recorded, strict=True)
    ]
    window = Manifest.read(a / MANIFEST).window
    f1 = shift_agreement(told[0], told[1], window.stride / window.fps)
    return f1, (sum(map(len, told[0])), sum(map(len, told[1])))
