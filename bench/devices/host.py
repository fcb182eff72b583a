"""This machine as a device: the analytic model with its measured peaks, held against a bundle.

The components of an open bundle are predicted from the nodes of their optimised graphs
(`graph.py`) and this machine's rate in each class of nodes (`peaks.py`), none of which was taken
from the components' own times. How far that is off says how far to trust the model elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.bundle import Bundle
from ...runtime.model import Model
from .analytic import predict
from .catalogue import Device
from .graph import Node, as_component, read_nodes
from .operators import Component
from .peaks import Peaks, measure_peaks, median_seconds

ROUNDS = 25
TURNS = 3


class HostModelError(ValueError):
    """A bundle that the host model says nothing of; the message tells why."""


@dataclass(frozen=True)
class Part:
    """A component: its nodes, and the call that the core makes for it."""

    name: str
    nodes: list[Node]
    run: Callable[[], object]

    @property
    def component(self) -> Component:
        """As operators."""
        return as_component(self.name, self.nodes)


def as_device(peaks: Peaks) -> Device:
    """Efficiency lies in the peaks."""
    full = {"fp32": peaks.fp32_gflops / 1e3, "fp16": None, "fp8": None}
    rates = {kind: rate * 1e9 for kind, rate in peaks.pass_gb_s.items()}
    return Device(
        id="this-machine",
        name="this machine",
        family="cpu",
        peak_tflops={**full, "int8": peaks.int8_gops / 1e3},
        efficiency={"fp32": 1.0, "fp16": None, "int8": 1.0, "fp8": None},
        efficiency_source="measured here",
        bandwidth_gb_s=peaks.bandwidth_gb_s,
        memory_gb=0,
        power_w=None,
        l2_bytes=32e6,
        exp_per_s=peaks.exp_g_s * 1e9,
        launch_s=peaks.node_us * 1e-6,
        tile_rows=1,
        rates=rates
        | {"attention": peaks.attention_gflops * 1e9, "softmax": peaks.exp_g_s * 1e9},
    )  # fmt: skip


def open_parts(model: Model, bundle: Path) -> list[Part]:
    """X-Encoder and Predictor of an open bundle. HostModelError for an image: it has no files."""
    if not bundle.is_dir():
        raise HostModelError(f"{bundle} is no folder: the device model reads its ONNX files")
    about, query = model.description, model.queries[0]
    rng = np.random.default_rng(0)
    shape = (about.frames, 3, about.height, about.width)
    window = rng.integers(0, 255, shape, dtype=np.uint8)
    tokens = model.encode_window(window)
    with Bundle(bundle) as opened:
        files = {
            name: bundle / record["file"]
            for name, record in opened.manifest()["components"].items()
        }  # fmt: skip
    encode = read_nodes(files["x_encoder"], {"frames": window[None]})
    predicted = read_nodes(
        files["predictor"],
        {
            "visual_tokens": tokens[None],
            "query_embeddings": np.asarray(query.embeddings)[None],
            "query_mask": np.ones((1, len(query.embeddings)), np.float32),
        },
    )
    return [
        Part("encode", encode, lambda: model.encode_window(window)),
        Part("predict", predicted, lambda: model.predict(tokens, [query])),
    ]


def host_model(
    model: Model, bundle: Path, threads: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Peaks, and predicted against measured latencies of encode and predict, for a results file.

    `model`: `bundle`, opened with ONNX Runtime and so many threads.
    """
    parts = open_parts(model, bundle)
    nodes = [node for part in parts for node in part.nodes]
    peaks: list[Peaks] = []
    taken: dict[str, list[float]] = {part.name: [] for part in parts}
    # Peaks and engines in turns, so that both meet the same machine.
    for turn in range(TURNS):
        if progress is not None:
            progress(turn, TURNS)
        peaks.append(measure_peaks(nodes, threads))
        for part in parts:
            taken[part.name].append(median_seconds(part.run, ROUNDS))
    found = Peaks.mean(peaks)
    device = as_device(found)
    precision = "int8" if model.description.precision == "int8" else "fp32"
    points = [
        _point(device, part.component, precision, float(np.median(taken[part.name])))
        for part in parts
    ]
    roofs = [{"name": "FP32", "gflops": found.fp32_gflops, "gb_s": found.bandwidth_gb_s}]
    if precision == "int8":
        roofs.append({"name": "INT8", "gflops": found.int8_gops, "gb_s": found.bandwidth_gb_s})
    return {"peaks": asdict(found), "precision": precision, "points": points, "roofs": roofs}


def _point(device: Device, part: Component, precision: str, seconds: float) -> dict[str, Any]:
    found = predict(device, part, precision)
    return {
        "component": part.name,
        "nodes": len(part.operators),
        "predicted_ms": found.realistic_s * 1e3,
        "measured_ms": seconds * 1e3,
        "error": found.realistic_s / seconds - 1,
        "intensity": part.flops / found.weight_bytes,
        "gflops": part.flops / seconds / 1e9,
        "linear_gflop": part.linear_flops / 1e9,
        "shares_ms": shares(device, part, precision),
    }


def shares(device: Device, part: Component, precision: str) -> dict[str, float]:
    """Predicted milliseconds by class: "linear", "attention", "softmax", the passes, "node"."""
    found: dict[str, float] = {}
    for operator in part.operators:
        kind = getattr(operator, "kind", "linear")
        alone = predict(device, Component(part.name, (operator,)), precision).realistic_s
        found[kind] = found.get(kind, 0.0) + alone * 1e3
    return found
