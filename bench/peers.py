"""Full precision and plain exports of the same checkpoint, timed in turns with the bundle.

One round runs every subject once (A B C, A B C, ...), so that a machine whose speed wanders wanders
for all of them. The first subject is PyTorch FP32 eager, which a table's ratios are against.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.model import Model
from . import conditions
from .results import Run
from .statistics import MIN_SAMPLES, judge

WARMUP_ROUNDS = 2
REST_S = 0.02  # for the last subject's thread pool to stop spinning
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """Something that encodes one window and predicts for one query."""

    name: str
    encode: Callable[[], object]
    predict: Callable[[], object]
    embedding: Callable[[], Floats]  # what it predicts, for the cosine to full precision


def bundle_subject(name: str, model: Model, window: npt.NDArray[np.uint8], query: str) -> Subject:
    """An open bundle, through the core."""
    compiled = [model.compile_query(query)]
    tokens = model.encode_window(window)
    return Subject(
        name,
        lambda: model.encode_window(window),
        lambda: model.predict(tokens, compiled),
        lambda: model.predict(model.encode_window(window), compiled)[0],
    )


def torch_subjects(
    checkpoint: Path, window: npt.NDArray[np.uint8], query: str, threads: int, folder: Path
) -> tuple[list[Subject], list[str]]:
    """PyTorch FP32 eager, BF16, compiled; plain exports on ONNX Runtime and OpenVINO.

    Also what could not be had, and why, in sentences.
    """
    import torch

    from ..model import checkpoint as checkpoints

    if threads:
        torch.set_num_threads(threads)
    opened = checkpoints.load(checkpoint)
    model = opened.model.eval()
    ids = torch.tensor([opened.tokenizer.encode(query).ids])
    frames = torch.from_numpy(np.ascontiguousarray(window))[None]
    with torch.inference_mode():
        embedded = model.predictor.embed_tokens(ids).clone()
        mask = torch.ones(ids.shape)
        tokens = model.x_encoder(frames).clone()

    def eager(name: str, encoder: Any, predictor: Any, bf16: bool) -> Subject:
        def run(work: Callable[[], Any]) -> Any:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return work()

        def embedding() -> Floats:
            found = run(lambda: predictor(encoder(frames), embedded, mask))
            return np.asarray(found[0].float().numpy(), np.float32)

        return Subject(
            name,
            lambda: run(lambda: encoder(frames)),
            lambda: run(lambda: predictor(tokens, embedded, mask)),
            embedding,
        )

    subjects = [
        eager("PyTorch FP32 eager", model.x_encoder, model.predictor, False),
        eager("PyTorch BF16 autocast", model.x_encoder, model.predictor, True),
    ]
    missing = []
    try:
        encoder, predictor = torch.compile(model.x_encoder), torch.compile(model.predictor)
        subject = eager("torch.compile FP32", encoder, predictor, False)
        subject.embedding()
        subjects.append(subject)
    except Exception as error:
        missing.append(f"torch.compile: {_first_line(error)}")
    files = _plain_export(model, frames, tokens.clone(), embedded, mask, folder)
    feeds = _feeds(window, tokens.numpy(), embedded.numpy(), mask.numpy())
    for name, make in (("plain export, ONNX Runtime", _ort), ("plain export, OpenVINO", _openvino)):
        try:
            subjects.append(make(name, files, feeds, threads))
        except ImportError as error:
            missing.append(f"{name}: {_first_line(error)}")
    return subjects, missing


def alternate(
    subjects: list[Subject], rounds: int, threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Run]:  # fmt: skip
    """Times all subjects in turns; cosines are to the first subject's embedding."""
    runs = [
        Run("peers", subject.name, {"threads": threads, "rounds": rounds}, "window_ms")
        for subject in subjects
    ]
    reference = subjects[0].embedding()
    for run, subject in zip(runs, subjects, strict=True):
        found = subject.embedding()
        norms = float(np.linalg.norm(found) * np.linalg.norm(reference))
        run.counters["cosine"] = float(found @ reference) / norms
    busy = conditions.BusyClock.now()
    for number in range(-WARMUP_ROUNDS, rounds):
        if progress is not None:
            progress(max(0, number), rounds)
        for run, subject in zip(runs, subjects, strict=True):
            time.sleep(REST_S)
            start = time.perf_counter()
            subject.encode()
            middle = time.perf_counter()
            subject.predict()
            end = time.perf_counter()
            kept = run.warmup if number < 0 else run.samples
            for name, seconds in (
                ("encode_ms", middle - start),
                ("predict_ms", end - middle),
                ("window_ms", end - start),
            ):
                kept.setdefault(name, []).append(seconds * 1e3)
    background = busy.background_cores()
    for run in runs:
        run.counters["background_cores"] = background
        run.validity = judge(
            run.samples["window_ms"],
            needed=min(rounds, MIN_SAMPLES),
            background_cores=background,
        )
    return runs


def measure_peers(
    model: Model, checkpoint: Path, *, name: str, threads: int = 0, rounds: int = 30,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Run], list[str]]:  # fmt: skip
    """Full precision, peers, and the bundle last. Needs the extra "export"."""
    about = model.description
    rng = np.random.default_rng(0)
    shape = (about.frames, 3, about.height, about.width)
    window = rng.integers(0, 255, shape, dtype=np.uint8)
    query = model.queries[0].text
    with tempfile.TemporaryDirectory(prefix="vljepa-peers-") as folder:
        subjects, missing = torch_subjects(checkpoint, window, query, threads, Path(folder))
        subjects.append(bundle_subject(name, model, window, query))
        return alternate(subjects, rounds, threads, progress), missing


def _plain_export(
    model: Any, frames: Any, tokens: Any, embedded: Any, mask: Any, folder: Path
) -> tuple[Path, Path]:
    """What `torch.onnx.export` makes of the reference modules, without our rewrites."""
    import torch

    files = folder / "encoder.onnx", folder / "predictor.onnx"
    for part, inputs, path in (
        (model.x_encoder, (frames,), files[0]),
        (model.predictor, (tokens, embedded.clone(), mask), files[1]),
    ):
        torch.onnx.export(part, inputs, str(path), dynamo=True, opset_version=20, verbose=False)
    return files


def _feeds(
    window: npt.NDArray[np.uint8], tokens: Floats, embedded: Floats, mask: Floats
) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    return [window[None]], [tokens, embedded, mask]


def _ort(
    name: str,
    files: tuple[Path, Path],
    feeds: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]],
    threads: int,
) -> Subject:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = [
        onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for file in files
    ]

    def run(number: int, arrays: list[npt.NDArray[Any]]) -> Floats:
        names = [one.name for one in sessions[number].get_inputs()]
        found = sessions[number].run(None, dict(zip(names, arrays, strict=True)))[0]
        return np.asarray(found, np.float32)

    return _two_step(name, run, feeds)


def _openvino(
    name: str,
    files: tuple[Path, Path],
    feeds: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]],
    threads: int,
) -> Subject:
    import openvino

    core = openvino.Core()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = str(threads)
    requests = [core.compile_model(file, "CPU", config).create_infer_request() for file in files]

    def run(number: int, arrays: list[npt.NDArray[Any]]) -> Floats:
        found = requests[number].infer(dict(enumerate(arrays)))
        return np.array(next(iter(found.values())), np.float32)

    return _two_step(name, run, feeds)


def _two_step(
    name: str,
    run: Callable[[int, list[npt.NDArray[Any]]], Floats],
    feeds: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]],
) -> Subject:
    frames, inputs = feeds
    return Subject(
        name,
        lambda: run(0, frames),
        lambda: run(1, inputs),
        lambda: run(1, [run(0, frames), *inputs[1:]])[0],
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
