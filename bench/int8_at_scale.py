"""INT8 at the size of the real checkpoints: X-Encoder and Predictor, cosine and time, in one run.

    vljepa export --preset paper --random-weights --frames 8 -o out/paper
    python -m vljepa_edge.bench.int8_at_scale out/paper -o bench/results/calibration/paper

Each component has a process of its own, which takes at most about 9 GB at the paper's sizes: it
quantises on a few windows, compares with ONNX Runtime in float on others, and then lets PyTorch,
ONNX Runtime and OpenVINO take turns. Weights are random: cosines tell of rounding, not of quality.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from onnx_ir.passes import common

from ..calibration.report import table
from ..calibration.settings import Settings
from ..calibration.single import Feed, quantise_single
from ..calibration.windows import open_windows
from ..runtime.model import Model, load
from ..runtime.resident import peak_resident_bytes
from . import conditions
from .kernels.turns import Turns, take_turns

COMPONENTS = ("x_encoder", "predictor")
EAGER, FLOAT = "PyTorch FP32, eager attention", "ONNX Runtime FP32"
ORT, OPENVINO = "ONNX Runtime INT8", "OpenVINO INT8, rest BF16"
# Contender -> the reference and the least ratio that is wanted.
WANTED = ((OPENVINO, EAGER, 6.0), (OPENVINO, FLOAT, 3.0), (ORT, FLOAT, 2.0))
LEAST_COSINE = 0.999
Floats = npt.NDArray[np.float32]
Run = Callable[[Feed], Floats]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: measured (whatever the figures); 1: a component's process failed."""
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.bench.int8_at_scale")
    parser.add_argument("bundle", type=Path, help="full precision")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="of the bundle; else random weights")
    parser.add_argument("--seed", type=int, default=0, help="of random weights, as exported")
    parser.add_argument("--work", type=Path, help="keeps the quantised graphs; default: the output")
    parser.add_argument("--windows", type=int, default=4, help="to calibrate on")
    parser.add_argument("--judged", type=int, default=2, help="other windows")
    parser.add_argument("--query-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7, help="of taking turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-smooth", action="store_true", help="without SmoothQuant: faster")
    parser.add_argument("--only", choices=COMPONENTS, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    given.work = given.work or given.output
    if given.only:
        print(json.dumps(component(given.only, given)))
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    given.output.mkdir(parents=True, exist_ok=True)
    results = {}
    words = sys.argv[1:] if arguments is None else arguments
    for name in COMPONENTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "vljepa_edge.bench.int8_at_scale", *words, "--only", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name}: its process ended with {done.returncode}", file=sys.stderr)
            return 1
        results[name] = json.loads(done.stdout.strip().splitlines()[-1])
    content = {"machine": conditions.machine(), "bundle": given.bundle.name, "components": results}
    (given.output / "int8.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    text = markdown(results, given.bundle.name)
    (given.output / "int8.md").write_text(text, "utf-8")
    print(text, end="")
    return 0


def component(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Quantises, judges and times one component; what the report tells of it."""
    source = given.bundle / f"{name}.onnx"
    feeds = _feeds(name, given, given.windows + given.judged)
    settings = Settings(smooth=not given.no_smooth, threads=given.threads)

    def calibration() -> Iterator[Feed]:
        yield from feeds[: given.windows]

    made = quantise_single(name, lambda: ir.load(source), calibration, settings)
    path = given.work / f"{name}.int8.onnx"
    common.InlinePass()(made.graph)  # OpenVINO takes no functions
    ir.save(made.graph, path, external_data=f"{path.name}.data", size_threshold_bytes=1024)
    seconds, smoothed = made.seconds, sum(s.alpha is not None for s in made.smoothing.values())
    del made
    gc.collect()
    runs: dict[str, Run] = {
        FLOAT: _onnxruntime(source, given.threads),
        ORT: _onnxruntime(path, given.threads),
        OPENVINO: _openvino(path, given.threads, "bf16"),
        "OpenVINO INT8, rest FP32": _openvino(path, given.threads, "f32"),
    }
    judged = feeds[given.windows :]
    cosines = {
        run: [cosine(runs[run](feed), runs[FLOAT](feed)) for feed in judged]
        for run in runs
        if run != FLOAT
    }
    runs = _pytorch(name, given) | runs
    shown = judged[0]
    parity = cosine(runs[EAGER](shown), runs[FLOAT](shown))
    contenders = {what: partial(run, shown) for what, run in runs.items()}
    turns = take_turns(f"{name}, one window", contenders, given.rounds)
    return {
        "seconds_to_quantise": seconds,
        "windows": given.windows,
        "blocks_smoothed": smoothed,
        "bytes": _size(path),
        "float_bytes": _size(source),
        "cosine": {run: {"mean": float(np.mean(c)), "min": min(c)} for run, c in cosines.items()},
        "pytorch_cosine": parity,
        "peak_memory_bytes": peak_resident_bytes(),
        "ratios": {f"{a} against {b}": turns.ratio(b, a) for a, b, _ in WANTED},
        "turns": _rounded(turns),
    }


def cosine(found: Floats, expected: Floats) -> float:
    """Of two outputs as one long vector each."""
    a, b = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _rounded(turns: Turns) -> dict[str, Any]:
    return {
        "median_ms": {name: round(turns.median_ms(name), 3) for name in turns.samples_ms},
        "samples_ms": {n: [round(s, 3) for s in all_] for n, all_ in turns.samples_ms.items()},
    }


def _size(path: Path) -> int:
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.is_file() else 0)


def _feeds(name: str, given: argparse.Namespace, count: int) -> list[Feed]:
    """Inputs of a component from sprite world; the Predictor's tokens are the float X-Encoder's."""
    with load(given.bundle, backend="callback", engine=_no_engine, verify_hashes=False) as model:
        windows = open_windows("world", model.description, count, version=model.world)
        frames: list[Feed] = [{"frames": window[None]} for window, _ in windows]
        query = _query(model, given.query_tokens)
    if name == "x_encoder":
        return frames
    encode = _onnxruntime(given.bundle / "x_encoder.onnx", given.threads)
    mask = np.ones(query.shape[:2], np.float32)
    return [
        {"visual_tokens": encode(feed), "query_embeddings": query, "query_mask": mask}
        for feed in frames
    ]


def _query(model: Model, tokens: int) -> Floats:
    """The bundle's first query, repeated up to so many tokens [1,L,W]."""
    embeddings = np.asarray(model.queries[0].embeddings, np.float32)
    repeats = -(-tokens // len(embeddings))
    return np.tile(embeddings, (repeats, 1))[None, :tokens]


def _no_engine(*_: object) -> None:
    raise RuntimeError("this model is open for its description alone")


def _onnxruntime(path: Path, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others take turns
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: np.asarray(session.run(None, dict(feed))[0], np.float32)


def _openvino(path: Path, threads: int, precision: str) -> Run:
    import openvino

    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads),
    }
    compiled = openvino.Core().compile_model(path, "CPU", config)
    request = compiled.create_infer_request()

    def run(feed: Feed) -> Floats:
        found = request.infer(dict(feed))
        return np.array(next(iter(found.values())), np.float32)

    return run


def _pytorch(name: str, given: argparse.Namespace) -> dict[str, Run]:
    """The reference module with attention as products and softmax, and with PyTorch's fused one."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from ..export.origin import own_checkpoint, random_weights
    from ..model.config import paper

    torch.set_num_threads(given.threads)
    with load(given.bundle, backend="callback", engine=_no_engine, verify_hashes=False) as model:
        frames = model.description.frames
    if given.checkpoint is not None:
        origin = own_checkpoint(given.checkpoint)
    else:
        origin = random_weights(paper(frames), given.seed)
    module = origin.load(name)
    if name == "predictor":
        del module.embed_tokens
        gc.collect()

    def run(feed: Feed) -> Floats:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(np.ascontiguousarray(v)) for v in feed.values()))
        return np.asarray(found.numpy(), np.float32)

    def eager(feed: Feed) -> Floats:
        with sdpa_kernel(SDPBackend.MATH):
            return run(feed)

    return {EAGER: eager, "PyTorch FP32": run}


def markdown(results: dict[str, dict[str, Any]], bundle: str) -> str:
    """Cosines and times as tables."""
    parts = [f"# INT8 at the size of `{bundle}`", ""]
    cosine_rows = []
    for name, found in results.items():
        for run, cosines in found["cosine"].items():
            cosine_rows.append((name, run, f"{cosines['mean']:.6f}", f"{cosines['min']:.6f}"))
    told = f"Against {FLOAT}, on windows that were not calibrated on; goal ≥ {LEAST_COSINE}."
    parts += [told, "", table(["component", "run by", "cosine, mean", "min"], cosine_rows), ""]
    time_rows = []
    for name, found in results.items():
        median = found["turns"]["median_ms"]
        for run, ms in median.items():
            ratio = median[EAGER] / ms
            time_rows.append((name, run, f"{ms:.1f}", f"{ratio:.2f}", f"{median[FLOAT] / ms:.2f}"))
    head = ["component", "run by", "ms (median)", "times as fast as eager", "as ONNX Runtime FP32"]
    parts += ["All in turns, in one process for each component.", "", table(head, time_rows), ""]
    ratio_rows = [
        (name, f"{a} against {b}", f"{found['ratios'][f'{a} against {b}']:.2f}", f"≥ {least:.0f}")
        for name, found in results.items()
        for a, b, least in WANTED
    ]
    parts += [table(["component", "ratio, median of rounds", "found", "goal"], ratio_rows), ""]
    rows = [
        (
            name,
            f"{found['bytes'] / 1e6:.0f} of {found['float_bytes'] / 1e6:.0f}",
            f"{found['seconds_to_quantise']:.0f} on {found['windows']} windows",
            f"{found['blocks_smoothed']}",
            f"{found['peak_memory_bytes'] / 1e9:.1f}",
        )
        for name, found in results.items()
    ]
    head = ["component", "MB", "seconds to quantise", "blocks smoothed", "peak GB"]
    return "\n".join([*parts, table(head, rows), ""])


if __name__ == "__main__":
    raise SystemExit(main())
