"""Our quantiser beside onnxruntime's, NNCF and NVIDIA's modelopt: same graphs, windows and judge.

    python -m vljepa_edge.bench.quantisers FP32_BUNDLE -o bench/results/calibration/quantisers \\
        --nncf VENV/bin/python --modelopt VENV/bin/python

NNCF and modelopt pin versions of their own, so each has an interpreter of its own. A tool that is
not named is left out; one that fails is told with its last words. Writes quantisers.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from ...calibration.report import machine, table
from ...calibration.settings import Settings
from ...calibration.single import Feed, quantise_single
from ...export.manifest import Manifest
from ...runtime.model import load
from .inputs import COMPONENTS, Arrays, calibration_inputs, fixed_graph, judged, query_inputs
from .judge import Score, full_precision, judge

OURS = "vljepa-edge"
WORKER = Path(__file__).with_name("worker.py")
# Tool -> what it is called in the table, and whose interpreter it needs.
OTHERS = {
    "onnxruntime": ("quantize_static, defaults", "own"),
    "onnxruntime-linear": ("quantize_static, linear layers, per channel", "own"),
    "nncf": ("NNCF, model type transformer", "nncf"),
    "modelopt-max": ("modelopt, max", "modelopt"),
    "modelopt-entropy": ("modelopt, entropy", "modelopt"),
}


@dataclass(frozen=True)
class Row:
    """One quantiser: its version, seconds by component, scores, or why there are none."""

    name: str
    version: str
    seconds: dict[str, float]
    scores: dict[str, Score]
    failed: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        scores = {name: score.to_json() for name, score in self.scores.items()}
        return {**vars(self), "scores": scores}


def main(arguments: list[str] | None = None) -> int:
    """Quantises, judges and writes; exit code 0 also where another tool failed."""
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.bench.quantisers")
    parser.add_argument("bundle", type=Path, help="full precision")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=64, help="to calibrate on")
    parser.add_argument("--judged", type=int, default=300, help="held-out windows")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--nncf", type=Path, help="a Python that has nncf")
    parser.add_argument("--modelopt", type=Path, help="a Python that has nvidia-modelopt[onnx]")
    given = parser.parse_args(arguments)
    pythons = {"own": Path(sys.executable), "nncf": given.nncf, "modelopt": given.modelopt}
    with tempfile.TemporaryDirectory(prefix="vljepa-quantisers-") as place:
        folder = Path(place)
        rows = compare(given, pythons, folder)
    given.output.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "bundle_sha256": _sha256(given.bundle),
        "windows": given.windows,
        "judged": given.judged,
        "candidates": given.candidates,
        "threads": given.threads,
        "rows": [row.to_json() for row in rows],
    }
    text = markdown(rows, given.windows, given.judged, given.candidates)
    (given.output / "quantisers.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (given.output / "quantisers.md").write_text(text, "utf-8")
    print(text, end="")
    return 0


def compare(given: argparse.Namespace, pythons: dict[str, Path | None], folder: Path) -> list[Row]:
    """Each quantiser in turn on both components; `folder` holds what is exchanged."""
    manifest = Manifest.read(given.bundle / "bundle.json")
    if manifest.precision != "fp32":
        raise SystemExit(f"{given.bundle}: is {manifest.precision}; name the full-precision bundle")
    with load(given.bundle, threads=given.threads) as model:
        inputs = calibration_inputs(model, given.windows, given.seed, model.world)
        shown = judged(model, given.judged, given.candidates, model.world)
        query = query_inputs(model)
    floats = {name: given.bundle / f"{name}.onnx" for name in COMPONENTS}
    sizes = {"query_count": 1, "query_length": query["query_mask"].shape[1]}
    for name, path in floats.items():
        fixed_graph(path, folder / f"{name}.onnx", sizes)
        np.savez(folder / f"{name}.npz", **inputs[name])  # type: ignore[arg-type]
    expected = full_precision(floats, shown, query, given.threads)
    rows = []
    for tool in (OURS, *OTHERS):
        name, python = (OURS, None) if tool == OURS else (OTHERS[tool][0], pythons[OTHERS[tool][1]])
        if tool != OURS and python is None:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        files = {part: folder / f"{part}.{tool}.onnx" for part in COMPONENTS}
        seconds, version = {}, ""
        try:
            for part in COMPONENTS:
                if python is None:
                    taken = ours(part, floats[part], inputs[part], files[part], given.threads)
                    seconds[part], version = taken, machine()["vljepa-edge"]
                else:
                    told = _other(python, tool, part, folder, files[part])
                    seconds[part], version = told["seconds"], told["version"]
            scores = judge(floats, files, expected, shown, query, given.threads)
        except Exception as error:  # whatever another tool does, the others are still compared
            if tool == OURS:
                raise
            rows.append(Row(name, version, seconds, {}, str(error).strip()[-300:]))
            continue
        rows.append(Row(name, version, seconds, scores))
    return rows


def ours(part: str, source: Path, inputs: Arrays, output: Path, threads: int) -> float:
    """Our quantiser with its defaults; returns the seconds that it took."""

    def feeds() -> Iterator[Feed]:
        count = len(next(iter(inputs.values())))
        for i in range(count):
            yield {name: array[i : i + 1] for name, array in inputs.items()}

    started = time.monotonic()
    made = quantise_single(part, lambda: ir.load(source), feeds, Settings(threads=threads))
    ir.save(made.graph, output)
    return time.monotonic() - started


def _other(python: Path, tool: str, part: str, folder: Path, output: Path) -> dict[str, Any]:
    command = [
        python.absolute(),
        WORKER,
        tool,
        folder / f"{part}.onnx",
        folder / f"{part}.npz",
        output,
    ]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=folder
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"{part}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _sha256(bundle: Path) -> str:
    with load(bundle) as model:
        return model.description.bundle_sha256


def markdown(rows: list[Row], windows: int, held_out: int, candidates: int) -> str:
    """One line for each quantiser."""
    lines = []
    for row in rows:
        if row.failed:
            lines.append((row.name, row.version or "–", f"failed: {row.failed}", *("",) * 6))
            continue
        encoder, predictor, both = (row.scores[n] for n in ("x_encoder", "predictor", "both"))
        lines.append(
            (
                row.name,
                row.version,
                f"{encoder.sqnr_db:.1f}",
                f"{predictor.sqnr_db:.1f}",
                f"{both.cosine_mean:.5f}",
                f"{both.cosine_min:.5f}",
                f"{both.top1_change:.1%}",
                f"{both.top1:.1%}",
                f"{sum(row.seconds.values()):.0f}",
            )
        )
    head = ["quantiser", "version", "X-Encoder SQNR, dB", "Predictor SQNR, dB", "cosine, mean"]
    head += ["cosine, min", "top-1 changed", "top-1 right", "seconds"]
    told = (
        f"INT8 of X-Encoder and Predictor, each calibrated on the same {windows} windows. SQNR is "
        f"of a component alone; cosine and top-1 (of {candidates} captions) are of the predicted "
        f"embedding with both in INT8, on {held_out} held-out windows. Seconds are for both.\n"
    )
    return f"# Quantisers side by side\n\n{told}\n{table(head, lines)}\n"


if __name__ == "__main__":
    raise SystemExit(main())
