"""The devices that can be predicted, read from devices.json, and found by a forgiving name."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PRECISIONS = ("fp32", "fp16", "int8", "fp8")
DATA = Path(__file__).with_name("devices.json")


class UnknownDeviceError(ValueError):
    """A device name that is not in the catalogue; the message offers the nearest ones."""


@dataclass(frozen=True)
class Device:
    """Rates of one device.

    `peak_tflops` and `efficiency` by precision; None where it has no such unit. `exp_per_s` is the
    rate of exponentials (softmax): 16 per SM and clock on NVIDIA GPUs. `launch_s` is the cost of
    one more kernel. `power_w`: at rest and at most. `rates`: units a second of each class of
    `Work`, for a device whose graph is known node by node.
    """

    id: str
    name: str
    family: str
    peak_tflops: dict[str, float | None]
    efficiency: dict[str, float | None]
    efficiency_source: str
    bandwidth_gb_s: float
    memory_gb: float
    power_w: tuple[float, float] | None
    l2_bytes: float
    exp_per_s: float
    launch_s: float
    tile_rows: int
    energy_j_per_top: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    source: str = ""
    note: str = ""

    def supports(self, precision: str) -> bool:
        """Whether it has units for this precision."""
        return self.peak_tflops.get(precision) is not None


@cache
def catalogue() -> dict[str, Any]:
    """The whole data file."""
    content: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return content


@cache
def devices() -> tuple[Device, ...]:
    """All devices, in the order of the file."""
    content = catalogue()
    return tuple(_device(row, content["families"][row["family"]]) for row in content["devices"])


def find_device(name: str) -> Device:
    """The device of this id, name or alias. UnknownDeviceError offers what is nearest."""
    known: dict[str, Device] = {}
    for row, device in zip(catalogue()["devices"], devices(), strict=True):
        for alias in (row["id"], row["name"], *row["aliases"]):
            known[_plain(alias)] = device
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=5, cutoff=0.4)
    ids = list(dict.fromkeys(known[match].id for match in near))[:3]
    hint = f"did you mean {' or '.join(ids)}?" if ids else "none is near"
    every = ", ".join(device.id for device in devices())
    raise UnknownDeviceError(f"unknown device {name!r}; {hint} All: {every}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("jetson-")


def _device(row: dict[str, Any], family: dict[str, Any]) -> Device:
    low, high = row["power_w"]
    return Device(
        id=row["id"],
        name=row["name"],
        family=row["family"],
        peak_tflops=row["peak"],
        efficiency=family["efficiency"],
        efficiency_source=family["efficiency_source"],
        bandwidth_gb_s=row["bandwidth_gb_s"],
        memory_gb=row["memory_gb"],
        power_w=(low, high),
        l2_bytes=row["l2_mb"] * 1e6,
        exp_per_s=16 * row["sm"] * row["clock_ghz"] * 1e9,
        launch_s=family["launch_us"] * 1e-6,
        tile_rows=family["tile_rows"],
        energy_j_per_top=family.get("energy_j_per_top"),
        source=row["source"],
        note=row["note"],
    )
