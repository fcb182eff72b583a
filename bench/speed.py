"""How fast a bundle is against full precision, and against what the machine could do at most.

    python -m vljepa_edge.bench.speed --threads 2 --rounds 40 --json FILE         # nano INT8
    python -m vljepa_edge.bench.speed out/paper-int8 --checkpoint random \\
        --backend openvino --query-tokens 32 --rounds 7 --json FILE               # the paper's size

In one run: PyTorch in several forms, ONNX Runtime on the bundle's graphs, the plain export on
OpenVINO in BF16, and the bundle through the core, all in turns, each in a process of its own; the
machine's peaks in matrix products, before and after; and a stream of the bundle, for the gate and
the core's own share. Raw samples go into the JSON. Verdicts are against the project's goals.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.bundle import default_bundle
from ..runtime.model import Model, load
from ..runtime.options import GateOptions, StreamOptions
from . import conditions
from .devices.operators import components
from .peers.forms import BF16, COMPILED, EAGER, ORT, SDPA
from .peers.measure import measure_peers, open_origin
from .results import Run

GROUPS = ("torch_forms", "graphs", "openvino_bf16")
WITHOUT = "without_own_ops"  # the bundle again, with what OpenVINO has in place of our operators
PLAIN_BF16 = "plain export, OpenVINO BF16"
# Sizes of square products that peaks are looked for at; the largest rate counts.
SIZES = ((256, 1024, 4096), (1024, 1024, 1024), (1024, 1024, 4096), (2048, 2048, 2048))
PEAK_SECONDS = 0.5
WINDOWS = 60
NANO = Path("checkpoints") / "nano"


def gemm_peaks(threads: int) -> dict[str, float]:
    """Billions of operations a second in products of FP32, BF16 and INT8, by PyTorch's oneDNN."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    made: dict[str, float] = {}

    def rate(run: Callable[[], object], work: float) -> float:
        run()
        best, until = float("inf"), time.perf_counter() + PEAK_SECONDS
        while time.perf_counter() < until:
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        return work / best / 1e9

    for m, k, n in SIZES:
        work = 2.0 * m * k * n
        a, b = torch.randn(m, k), torch.randn(k, n)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            left, right = a.to(dtype), b.to(dtype)
            found = rate(lambda x=left, y=right: x @ y, work)  # type: ignore[misc]
            made[f"{name}_gops"] = max(made.get(f"{name}_gops", 0.0), found)
        left, right = (torch.randint(-127, 127, t.shape, dtype=torch.int8) for t in (a, b))
        found = rate(lambda x=left, y=right: torch._int_mm(x, y), work)  # type: ignore[misc]
        made["int8_gops"] = max(made.get("int8_gops", 0.0), found)
    return made


def core_share(bundle: Path, backend: str, threads: int, windows: int) -> dict[str, Any]:
    """A stream of noise, every window a shift: the gate, and the part that is the core's own."""
    rng = np.random.default_rng(0)
    with load(bundle, backend=backend, threads=threads, components=["x_encoder", "predictor"]) as m:
        about = m.description
        step = int(1e9 / about.fps)
        count = about.frames + about.stride * (windows - 1)
        pictures = rng.integers(0, 256, (8, 360, 640, 3), dtype=np.uint8)
        source = ((pictures[i % 8], i * step) for i in range(count))
        gate = GateOptions(confirm=1, ward_threshold=1e-9, hysteresis=-1, min_interval_ns=-1)
        with m.stream(source, options=StreamOptions(text="none", gate=gate)) as stream:
            for _ in stream:
                pass
            stats = stream.stats()
    stages = {name: dataclasses.asdict(stage) for name, stage in stats.stages.items()}
    window, own = stages["window"]["mean_ns"], stages["overhead"]["mean_ns"]
    frames = stages["frame"]["mean_ns"] * about.stride
    return {
        "windows": stats.windows,
        "stages": stages,
        "bytes_copied": stats.bytes_copied,
        "gate_ms": stages["gate"]["mean_ns"] / 1e6,
        "own_share": own / window,
        "own_share_with_frames": (own + frames) / (window + frames),
    }


def limit_ms(origin: Any, query_tokens: int, peaks: dict[str, float], int8: bool) -> float:
    """Matrix products alone, at the machine's best rates: weights in INT8, attention in BF16."""
    parts = components(origin.config, query_tokens)[:2]
    linear = sum(part.linear_flops for part in parts)
    attention = sum(part.attention_flops for part in parts)
    rate = peaks["int8_gops"] if int8 else peaks["fp32_gops"]
    return linear / rate / 1e6 + attention / peaks["bf16_gops" if int8 else "fp32_gops"] / 1e6


def query_rows(model: Model, tokens: int | None) -> npt.NDArray[np.float32]:
    """The bundle's first query, or its embeddings repeated up to so many tokens: float32 [L, W]."""
    own = np.array(model.queries[0].embeddings, np.float32)
    return own if tokens is None else np.resize(own, (tokens, own.shape[1]))


def ratios(
    runs: Sequence[Run], ours: Run, gate_ms: float, what: str = "window_ms"
) -> dict[str, float]:
    """Times as fast as each other one: the median over windows, the gate on our side."""
    own = np.asarray(ours.samples.get(what, [])) + gate_ms
    found = {}
    for run in runs:
        other = np.asarray(run.samples.get(what, []))
        if run is not ours and len(other) == len(own) > 0:
            found[run.subject] = float(np.median(other / own))
    return found


def verdicts(bundle: str, found: dict[str, float], share: float, fraction: float) -> list[str]:
    """Goals of the project, for the sizes that they are for."""
    rivals = [found[name] for name in (BF16, COMPILED, ORT, PLAIN_BF16) if name in found]
    goals: list[tuple[str, float | None, float, bool]]
    if bundle == "paper":
        goals = [
            (f"against {EAGER}", found.get(EAGER), 9.0, True),
            (f"against {SDPA}", found.get(SDPA), 8.0, True),
            ("against the best of the others", min(rivals, default=None), 1.4, True),
            ("fraction of the limit", fraction, 0.85, True),
        ]
    else:
        goals = [
            (f"against {EAGER}", found.get(EAGER), 4.0, True),
            ("the core's own share", share, 0.02, False),
        ]
    lines = []
    for what, value, goal, least in goals:
        if value is None:
            lines.append(f"{what}: not measured")
            continue
        reached = value >= goal if least else value <= goal
        sign = "at least" if least else "at most"
        lines.append(f"{what}: {value:.3g}, wanted {sign} {goal:g}: {'yes' if reached else 'NO'}")
    return lines


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that the JSON holds."""
    with load(given.bundle, backend=given.backend, threads=given.threads) as model:
        about = model.description
        query = query_rows(model, given.query_tokens)
        origin = open_origin(given.checkpoint, model)
        before = gemm_peaks(given.threads)
        runs, missing, finished = measure_peers(
            model, given.checkpoint, bundle=str(given.bundle), name=about.name,
            backend=given.backend, threads=given.threads, rounds=given.rounds, groups=given.groups,
            query=query,
        )  # fmt: skip
    after = gemm_peaks(given.threads)
    peaks = {name: max(rate, after[name]) for name, rate in before.items()}
    share = core_share(given.bundle, given.backend, given.threads, given.windows)
    ours = runs[-1]
    limit = limit_ms(origin, len(query), peaks, about.precision == "int8")
    median = float(np.median(ours.samples["window_ms"]))
    found = ratios(runs, ours, share["gate_ms"])
    return {
        "machine": conditions.machine(),
        "conditions": conditions.snapshot(),
        "bundle": {"name": about.name, "precision": about.precision, "sha256": about.bundle_sha256},
        "settings": {
            "backend": given.backend,
            "threads": given.threads,
            "query_tokens": len(query),
        },
        "finished": finished,
        "missing": missing,
        "verdicts": verdicts(
            about.name, found, share["own_share"], limit / (median + share["gate_ms"])
        ),
        "times_as_fast_as": found,
        "first_windows_times_as_fast_as": ratios(runs, ours, share["gate_ms"], "first_window_ms"),
        "limit": {"ms": limit, "fraction": limit / median, "peaks": peaks, "after": after},
        "core": share,
        "runs": [dataclasses.asdict(run) for run in runs],
    }


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: measured, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.bench.speed")
    parser.add_argument("bundle", type=Path, nargs="?", default=default_bundle())
    parser.add_argument("--checkpoint", default=str(NANO), help="of the bundle, or random[:SEED]")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--windows", type=int, default=WINDOWS, help="of the stream")
    parser.add_argument("--query-tokens", type=int, help="default: the bundle's first query")
    parser.add_argument(
        "--groups",
        nargs="+",
        choices=(*GROUPS, WITHOUT),
        default=GROUPS,
        help=f"whom to take turns with; {WITHOUT} is the bundle with own_ops=False",
    )
    parser.add_argument("--json", type=Path, help="raw samples and all figures")
    given = parser.parse_args(arguments)
    found = measure(given)
    for run in found["runs"]:
        name, samples = run["subject"], run["samples"].get("window_ms")
        if samples:
            ratio = found["times_as_fast_as"].get(name)
            after_rest = found["first_windows_times_as_fast_as"].get(name)
            print(
                f"{np.median(samples):10.2f} ms  {name}"
                + (f"  x{ratio:.2f}" if ratio else "")
                + (f" (x{after_rest:.2f} after a rest)" if after_rest else "")
            )
    for line in (*found["missing"], *found["verdicts"]):
        print(line)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
