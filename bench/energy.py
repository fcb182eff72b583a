"""Energy of a measurement from what the machine has: Jetson's INA3221, NVML, or Intel's RAPL.

A meter that is absent gives None with a reason, never 0.
"""

from __future__ import annotations

import ctypes
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

INA3221 = Path("/sys/bus/i2c/drivers/ina3221")
RAPL = Path("/sys/class/powercap")
# Rails that hold the whole module or board, before those of its parts.
INA_TOTALS = ("VDD_IN", "VIN_SYS_5V0", "VDD_GPU_SOC", "POM_5V_IN")


class Meter(Protocol):
    """Counts joules since it was made."""

    name: str

    def joules(self) -> float:
        """So far. Raises OSError when the sensor fails."""


@dataclass(frozen=True)
class Energy:
    """Of one run. `gross_j` is all that the sensor saw; `net_j` has the idle power taken off.

    Both are None where nothing could be measured, and `reason` says why.
    """

    sensor: str | None
    seconds: float
    gross_j: float | None
    net_j: float | None
    idle_w: float | None
    reason: str | None


class RaplMeter:
    """Intel and AMD package energy counters, which wrap."""

    def __init__(self, root: Path = RAPL) -> None:
        """Raises OSError, with the reason as text, where there is nothing to read."""
        zones = sorted(path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1)
        if not zones:
            raise OSError(f"no RAPL zone under {root}")
        self.name = "RAPL"
        self._zones = [zone / "energy_uj" for zone in zones]
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
        self._last = [int(zone.read_text()) for zone in self._zones]
        self._total_uj = 0

    def joules(self) -> float:
        """Call more often than the counters wrap (about every minute at full power)."""
        for i, zone in enumerate(self._zones):
            now = int(zone.read_text())
            self._total_uj += (now - self._last[i]) % (self._ranges[i] + 1)
            self._last[i] = now
        return self._total_uj / 1e6


class Ina3221Meter:
    """Jetson's power monitor, sampled ten times a second: millivolts times milliamperes."""

    def __init__(self, root: Path = INA3221, period_s: float = 0.1) -> None:
        """Raises OSError where there is no monitor."""
        rails = _ina_rails(root)
        if not rails:
            raise OSError(f"no INA3221 under {root}")
        totals = [label for label in INA_TOTALS if label in rails]
        chosen = totals[:1] or list(rails)
        self.name = f"INA3221 {'+'.join(chosen)}"
        self._inputs = [rails[label] for label in chosen]
        self._total = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._last = (time.monotonic(), self.watts())
        self._period_s = period_s
        threading.Thread(target=self._sample, name="ina3221", daemon=True).start()

    def watts(self) -> float:
        """Now, over the chosen rails."""
        return sum(
            int(volts.read_text()) * int(amperes.read_text()) / 1e6
            for volts, amperes in self._inputs
        )

    def joules(self) -> float:
        """Trapezoids over the samples so far."""
        with self._lock:
            self._advance()
            return self._total

    def close(self) -> None:
        """Stops sampling."""
        self._stop.set()

    def _advance(self) -> None:
        now, watts = time.monotonic(), self.watts()
        self._total += (now - self._last[0]) * (watts + self._last[1]) / 2
        self._last = (now, watts)

    def _sample(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                with self._lock:
                    self._advance()
            except OSError:
                return


class NvmlMeter:
    """A GPU's total energy counter (Volta and later), through libnvidia-ml itself."""

    def __init__(self, index: int = 0, library: str = "libnvidia-ml.so.1") -> None:
        """Raises OSError without the library, a GPU, or the counter."""
        self._nvml = ctypes.CDLL(library)
        self._call("nvmlInit_v2")
        self._device = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), self._device)
        self.name = f"NVML GPU {index}"
        self._start = self._millijoules()

    def joules(self) -> float:
        """Since it was made."""
        return (self._millijoules() - self._start) / 1e3

    def _millijoules(self) -> int:
        value = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._device, value)
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        passed = [ctypes.byref(a) if isinstance(a, ctypes.c_ulonglong) else a for a in arguments]
        if name.startswith("nvmlDeviceGetHandle"):
            passed[-1] = ctypes.byref(self._device)
        status = getattr(self._nvml, name)(*passed)
        if status != 0:
            raise OSError(f"{name} gave NVML error {status}")


def find_meter() -> tuple[Meter | None, str]:
    """The first meter that works and "", or None and why each one does not."""
    reasons = []
    kinds: tuple[tuple[str, type[Ina3221Meter | NvmlMeter | RaplMeter]], ...] = (
        ("INA3221", Ina3221Meter), ("NVML", NvmlMeter), ("RAPL", RaplMeter),
    )  # fmt: skip
    for name, kind in kinds:
        try:
            return kind(), ""
        except (OSError, ValueError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    return None, "; ".join(reasons)


def idle_watts(meter: Meter, seconds: float = 2.0) -> float:
    """Mean power while nothing is measured."""
    before, at = meter.joules(), time.monotonic()
    time.sleep(seconds)
    return (meter.joules() - before) / (time.monotonic() - at)


class EnergyRun:
    """`run = EnergyRun(); ...; run.result()`: what the work between the two took."""

    def __init__(self, meter: Meter | None, reason: str, idle_w: float | None = None) -> None:
        self._meter, self._reason, self._idle_w = meter, reason, idle_w
        self._at = time.monotonic()
        self._before = meter.joules() if meter else 0.0

    def result(self) -> Energy:
        """Gross, and net of idle where the idle power is known."""
        seconds = time.monotonic() - self._at
        if self._meter is None:
            return Energy(None, seconds, None, None, None, self._reason)
        try:
            gross = self._meter.joules() - self._before
        except OSError as error:
            return Energy(self._meter.name, seconds, None, None, self._idle_w, str(error))
        net = None if self._idle_w is None else gross - self._idle_w * seconds
        return Energy(self._meter.name, seconds, gross, net, self._idle_w, None)


def _ina_rails(root: Path) -> dict[str, tuple[Path, Path]]:
    """Label -> (millivolts, milliamperes)."""
    rails: dict[str, tuple[Path, Path]] = {}
    for label in sorted(root.glob("*/hwmon/hwmon*/in*_label")):
        number = label.name.removeprefix("in").removesuffix("_label")
        volts = label.with_name(f"in{number}_input")
        amperes = label.with_name(f"curr{number}_input")
        if volts.exists() and amperes.exists():
            rails[label.read_text(encoding="utf-8").strip()] = (volts, amperes)
    return rails
