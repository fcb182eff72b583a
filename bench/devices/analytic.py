"""The analytic model: how long a component takes on a device, bound and realistic.

Per operator max(compute / (peak * efficiency), bytes / (0.75 * bandwidth)) plus a launch. Linear
layers run at the asked precision; attention at FP16 (FP32 in full precision) with a term for its
exponentials, which overlap the products at best (bound) and not at all at worst (realistic).
`bound` has full efficiency, full bandwidth and free launches: nothing on the device can beat it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .catalogue import Device
from .operators import Attention, Component, Elementwise, Gemm, Operator, Work

BANDWIDTH_SHARE = 0.75  # of the nominal rate that a streaming kernel reaches
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "fp8": 1}
# Activations that an operator reads and writes: quantised ones are read small, written at 16 bit.
READ_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "fp8": 1}
WRITE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 2, "fp8": 2}
# Attention's products run at this precision.
ATTENTION_PRECISION = {
    "fp32": "fp32", "bf16": "bf16", "fp16": "fp16", "int8": "fp16", "fp8": "fp16",
}  # fmt: skip


class UnsupportedPrecisionError(ValueError):
    """A precision that the device has no units for."""


@dataclass(frozen=True)
class Prediction:
    """Seconds of one component on one device, never measured."""

    component: str
    bound_s: float
    realistic_s: float
    flops: float
    weight_bytes: float


def predict(device: Device, component: Component, precision: str) -> Prediction:
    """Raises UnsupportedPrecisionError where the device lacks the precision."""
    if not device.supports(precision):
        able = ", ".join(name for name in device.peak_tflops if device.supports(name))
        raise UnsupportedPrecisionError(f"{device.name} has no {precision} units; it has {able}")
    bound = realistic = 0.0
    for operator in component.operators:
        low, likely = _operator_seconds(device, operator, precision)
        bound += low
        realistic += likely
    return Prediction(
        component.name, bound, realistic, component.flops, component.weights * _weight(precision)
    )


def _weight(precision: str) -> int:
    return WEIGHT_BYTES[precision]


def _rates(device: Device, precision: str) -> tuple[float, float]:
    """Operations a second: at the peak, and as reached."""
    peak, efficiency = device.peak_tflops[precision], device.efficiency[precision]
    assert peak is not None and efficiency is not None
    return peak * 1e12, peak * 1e12 * efficiency


def _operator_seconds(device: Device, operator: Operator, precision: str) -> tuple[float, float]:
    """(bound, realistic) of all repeats."""
    bandwidth = device.bandwidth_gb_s * 1e9
    if isinstance(operator, Work):
        return _work_seconds(device, operator)
    if isinstance(operator, Gemm):
        precision = operator.precision or precision
        peak, reached = _rates(device, precision)
        size = operator.weights * _weight(precision) + _traffic(device, operator, precision)
        # Tensor cores work on whole tiles of rows.
        tiles = math.ceil(operator.rows / device.tile_rows) * device.tile_rows
        padded = operator.flops * (tiles / operator.rows if operator.rows > 16 else 1.0)
        likely = max(padded / reached, size / (BANDWIDTH_SHARE * bandwidth))
        bound = max(operator.flops / peak, operator.weights * _weight(precision) / bandwidth)
        return bound, likely + device.launch_s * operator.repeats
    if isinstance(operator, Attention):
        peak, reached = _rates(device, ATTENTION_PRECISION[precision])
        exps = operator.exps / device.exp_per_s
        likely = operator.flops / reached + exps + device.launch_s * operator.repeats
        return max(operator.flops / peak, exps), likely
    return 0.0, _elementwise_seconds(device, operator, precision)


def _work_seconds(device: Device, operator: Work) -> tuple[float, float]:
    """Passes over bytes could be fused away, and so have no bound."""
    if not operator.amount:
        return 0.0, device.launch_s
    likely = operator.amount / device.rates[operator.kind]
    bound = likely if operator.kind in ("attention", "softmax") else 0.0
    return bound, likely + device.launch_s


def _traffic(device: Device, operator: Gemm, precision: str) -> float:
    """Bytes of activations that go to memory: none while they fit in half of the last cache."""
    read = operator.rows * operator.inner * READ_BYTES[precision]
    written = operator.rows * operator.columns * WRITE_BYTES[precision]
    kept = read + written <= device.l2_bytes / 2
    return 0.0 if kept else float((read + written) * operator.repeats)


def _elementwise_seconds(device: Device, operator: Elementwise, precision: str) -> float:
    size = operator.rows * operator.width * WRITE_BYTES[precision]
    launches = device.launch_s * 2 * operator.repeats  # two fused kernels a layer
    if 2 * size <= device.l2_bytes / 2:
        return launches
    moved = 2 * size * operator.passes * operator.repeats
    return launches + moved / (BANDWIDTH_SHARE * device.bandwidth_gb_s * 1e9)
