"""This machine as a device: its peaks, measured by ONNX Runtime on the model's own shapes.

The same analytic model then predicts the components of a bundle, and is held against what they
take: how far it is off here says how far to trust it elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.config import VLJEPAConfig
from ...runtime.model import Model
from .analytic import predict
from .catalogue import Device
from .operators import Component, Gemm, components

ROUNDS = 25
PASSES = 20  # elementwise passes of a layer that a CPU runtime does one by one (norms, rotation,
# residual sums, activation, transposes), counted in one of our exported layers


@dataclass(frozen=True)
class Peaks:
    """What the machine reached, in units of the device table."""

    threads: int
    fp32_gflops: float
    int8_gops: float
    bandwidth_gb_s: float
    exp_g_s: float
    pass_us: float  # one elementwise pass over the tokens


def measure_peaks(config: VLJEPAConfig, threads: int) -> Peaks:
    """Needs onnx and onnxruntime. About ten seconds."""
    tokens, width = config.visual_tokens, config.x_encoder.width
    inner = round(config.x_encoder.mlp_ratio * width)
    heads = config.x_encoder.heads
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((tokens, inner), np.float32)
    weight = rng.standard_normal((inner, width), np.float32)
    flops = 2.0 * tokens * inner * width
    fp32 = _seconds(_chain("MatMul", {"a": rows, "b": weight}), threads, {"a": rows})
    bytes_a = rng.integers(0, 255, (tokens, inner), dtype=np.uint8)
    bytes_b = rng.integers(-127, 127, (inner, width), dtype=np.int8)
    int8 = _seconds(_chain("MatMulInteger", {"a": bytes_a, "b": bytes_b}), threads, {"a": bytes_a})
    large = rng.standard_normal((16 << 20,), np.float32)
    copied = _seconds(_chain("Add", {"a": large, "b": large[:1]}), threads, {"a": large}, rounds=5)
    scores = rng.standard_normal((heads, tokens, tokens), np.float32)
    softmax = _seconds(_chain("Softmax", {"a": scores}), threads, {"a": scores})
    small = rng.standard_normal((tokens, width), np.float32)
    added = _seconds(_chain("Add", {"a": small, "b": small}, 50), threads, {"a": small}) / 50
    return Peaks(
        threads=threads,
        fp32_gflops=flops / fp32 / 1e9,
        int8_gops=flops / int8 / 1e9,
        bandwidth_gb_s=2 * large.nbytes / copied / 1e9,
        exp_g_s=scores.size / softmax / 1e9,
        pass_us=added * 1e6,
    )


def as_device(peaks: Peaks) -> Device:
    """Attention runs in FP32 whatever the precision of the linear layers; efficiency is in the
    peaks."""
    full = {"fp32": peaks.fp32_gflops / 1e3, "fp16": peaks.fp32_gflops / 1e3, "fp8": None}
    return Device(
        id="this-machine",
        name="this machine",
        family="cpu",
        peak_tflops={**full, "int8": peaks.int8_gops / 1e3},
        efficiency={"fp32": 1.0, "fp16": 1.0, "int8": 1.0, "fp8": None},
        efficiency_source="measured here",
        bandwidth_gb_s=peaks.bandwidth_gb_s,
        memory_gb=0,
        power_w=None,
        l2_bytes=32e6,
        exp_per_s=peaks.exp_g_s * 1e9,
        launch_s=0.0,
        tile_rows=1,
        pass_s=PASSES * peaks.pass_us * 1e-6,
    )


def host_model(model: Model, config: VLJEPAConfig, threads: int) -> dict[str, Any]:
    """Peaks, and predicted against measured latencies of encode and predict, for a results file."""
    about = model.description
    precision = "int8" if about.precision == "int8" else "fp32"
    query = model.queries[0]
    encode, predicted = components(config, len(query.embeddings))[:2]
    window = np.zeros((about.frames, 3, about.height, about.width), np.uint8)
    tokens = model.encode_window(window)
    # Peaks and engines in turns, so that both meet the same machine.
    first = measure_peaks(config, threads)
    measured = {
        "encode": _median(lambda: model.encode_window(window)),
        "predict": _median(lambda: model.predict(tokens, [query])),
    }
    second = measure_peaks(config, threads)
    peaks = Peaks(
        threads,
        *(
            (getattr(first, name) + getattr(second, name)) / 2
            for name in list(Peaks.__dataclass_fields__)[1:]
        ),
    )
    device = as_device(peaks)
    points = [_point(device, part, precision, measured[part.name]) for part in (encode, predicted)]
    roofs = [{"name": "FP32", "gflops": peaks.fp32_gflops, "gb_s": peaks.bandwidth_gb_s}]
    if precision == "int8":
        roofs.append({"name": "INT8", "gflops": peaks.int8_gops, "gb_s": peaks.bandwidth_gb_s})
    return {"peaks": asdict(peaks), "precision": precision, "points": points, "roofs": roofs}


def _point(device: Device, part: Component, precision: str, seconds: float) -> dict[str, Any]:
    found = predict(device, part, precision)
    return {
        "component": part.name,
        "predicted_ms": found.realistic_s * 1e3,
        "measured_ms": seconds * 1e3,
        "error": found.realistic_s / seconds - 1,
        "intensity": part.flops / found.weight_bytes,
        "gflops": part.flops / seconds / 1e9,
        "linear_gflop": sum(op.flops for op in part.operators if isinstance(op, Gemm)) / 1e9,
    }


def _chain(kind: str, inputs: dict[str, npt.NDArray[Any]], length: int = 1) -> bytes:
    """A model of `length` operators in a row; the first input is fed, the rest are constants."""
    from onnx import TensorProto, helper, numpy_helper

    names = list(inputs)
    kinds = {np.float32: TensorProto.FLOAT, np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8}
    fed = inputs[names[0]]
    constants = [numpy_helper.from_array(inputs[name], name) for name in names[1:]]
    nodes, last = [], names[0]
    for number in range(length):
        nodes.append(helper.make_node(kind, [last, *names[1:]], [f"y{number}"]))
        last = f"y{number}"
    out = TensorProto.INT32 if kind == "MatMulInteger" else kinds[fed.dtype.type]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info(names[0], kinds[fed.dtype.type], fed.shape)],
        [helper.make_tensor_value_info(last, out, None)],
        constants,
    )
    opset = [helper.make_opsetid("", 20)]
    content: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=10
    ).SerializeToString()
    return content


def _seconds(
    model: bytes, threads: int, feed: dict[str, npt.NDArray[Any]], rounds: int = ROUNDS
) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return _median(lambda: session.run(None, feed), rounds)


def _median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        at = time.perf_counter()
        work()
        times.append(time.perf_counter() - at)
    return sorted(times)[rounds // 2]
