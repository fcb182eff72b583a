"""The device model against published measurements: how far it is off, point by point."""

from __future__ import annotations

from dataclasses import dataclass

from .analytic import predict
from .catalogue import catalogue, find_device
from .operators import Component, Gemm, vision_layers


@dataclass(frozen=True)
class CheckedPoint:
    """One published latency beside what the model says."""

    device: str
    workload: str
    precision: str
    measured_ms: float
    predicted_ms: float
    source: str
    note: str

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_ms / self.measured_ms - 1


def workload(name: str) -> Component:
    """A published workload as operators."""
    row = catalogue()["workloads"][name]
    layers = vision_layers(
        row["tokens"], row["layers"], row["width"], row["heads"], row["mlp_width"]
    )
    extra = round(row["extra_params"] / row["width"])
    more = (Gemm(row["tokens"], row["width"], extra),) if extra else ()
    return Component(name, (*layers, *more))


def check_points() -> list[CheckedPoint]:
    """All published points of the data file."""
    points = []
    for row in catalogue()["measured"]:
        prediction = predict(
            find_device(row["device"]), workload(row["workload"]), row["precision"]
        )
        points.append(
            CheckedPoint(
                row["device"],
                row["workload"],
                row["precision"],
                row["latency_ms"],
                prediction.realistic_s * 1e3,
                row["source"],
                row["note"],
            )
        )
    return points
