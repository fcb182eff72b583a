"""Predictions put together: one device's answer, and the table of all devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...model.config import VLJEPAConfig
from .analytic import Prediction, UnsupportedPrecisionError, predict
from .catalogue import PRECISIONS, Device, devices
from .operators import components


@dataclass(frozen=True)
class DevicePrediction:
    """What one device would do with one model; `kind` is always "predicted".

    A window costs encode and predict; texts are decoded only at shifts and told apart.
    """

    device: str
    name: str
    model: str
    frames: int
    stride: int
    query_tokens: int
    precision: str
    bound_ms: float
    realistic_ms: float
    by_component: dict[str, Prediction]
    fits_memory: bool
    keep_up_fps: float  # frames a second at which a window is done when the next one is due
    keep_up_w: float | None  # at that rate: the device is busy all the time
    model_fps: float  # the model's own frame rate
    model_fps_w: float | None  # power at that rate; None where it doesn't keep up
    window_j: float | None  # by the family's energy anchor, at the wall
    kind: str = "predicted"


def predict_device(
    device: Device, config: VLJEPAConfig, precision: str, *, query_tokens: int = 32, stride: int = 0
) -> DevicePrediction:
    """Raises UnsupportedPrecisionError where the device lacks the precision."""
    stride = stride or config.stride
    parts = {
        part.name: predict(device, part, precision) for part in components(config, query_tokens)
    }
    window = [parts["encode"], parts["predict"]]
    seconds = sum(part.realistic_s for part in window)
    keep_up = stride / seconds
    low, high = device.power_w or (None, None)
    duty = config.fps / keep_up
    at_rate = None
    if low is not None and high is not None and duty <= 1:
        at_rate = low + (high - low) * duty
    # The anchor is an INT8 submission's: it says nothing of other precisions.
    anchor = device.energy_j_per_top if precision == "int8" else None
    return DevicePrediction(
        device=device.id,
        name=device.name,
        model=config.name,
        frames=config.frames,
        stride=stride,
        query_tokens=query_tokens,
        precision=precision,
        bound_ms=1e3 * sum(part.bound_s for part in window),
        realistic_ms=1e3 * seconds,
        by_component=parts,
        # Weights, and as much again at most for activations and the backend's own.
        fits_memory=1.5 * sum(part.weight_bytes for part in parts.values())
        < device.memory_gb * 1e9,
        keep_up_fps=keep_up,
        keep_up_w=high,
        model_fps=config.fps,
        model_fps_w=at_rate,
        window_j=sum(part.flops for part in window) / 1e12 * anchor if anchor else None,
    )


def device_table(
    configs: Sequence[VLJEPAConfig],
    precisions: Iterable[str] = PRECISIONS,
    *,
    chosen: Sequence[Device] = (),
    query_tokens: int = 32,
    stride: int = 0,
) -> list[DevicePrediction]:
    """All that can be predicted; what a device has no units for is left out."""
    rows = []
    for device in chosen or devices():
        for config in configs:
            for precision in precisions:
                try:
                    row = predict_device(
                        device, config, precision, query_tokens=query_tokens, stride=stride
                    )
                except UnsupportedPrecisionError:
                    continue
                rows.append(row)
    return rows
