"""The conditions that a measurement was made under, and what changed while it ran."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..runtime.resident import peak_resident_bytes

PACKAGES = ("vljepa-edge", "numpy", "onnxruntime", "opencv-python-headless", "openvino", "torch")
CPU_FEATURES = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve",
)  # fmt: skip
_CPU = Path("/sys/devices/system/cpu")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """What doesn't change while a benchmark runs. A fact that cannot be read is None."""
    facts = _cpuinfo()
    flags = set(facts.get("flags", facts.get("features", "")).split())
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "cpu_features": [feature for feature in CPU_FEATURES if feature in flags],
        "threads": os.cpu_count(),
        "usable_threads": len(os.sched_getaffinity(0)),
        "memory_mb": _memory_mb(),
        "board": _text(Path("/proc/device-tree/model")),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": libraries(),
        "governor": _text(_CPU / "cpu0/cpufreq/scaling_governor"),
        "power_mode": _power_mode(),
        "turbo": _turbo(),
        "git_revision": git_revision(),
    }


def libraries(packages: Iterable[str] = PACKAGES) -> dict[str, str | None]:
    """Versions of the packages that decide speed; None where one is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_revision() -> str | None:
    """Commit of the source tree, `-dirty` with changed tracked files; None outside one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def snapshot() -> dict[str, Any]:
    """What may change while a benchmark runs: clocks, temperature, throttling, memory, load."""
    return {
        "monotonic_s": time.monotonic(),
        "clock_mhz": clock_mhz(),
        "temperature_c": temperature_c(),
        "throttle_events": throttle_events(),
        "rss_mb": rss_mb(),
        "load_1m": os.getloadavg()[0],
    }


@dataclass(frozen=True)
class BusyClock:
    """Reads how many cores other processes keep busy between two moments."""

    total_s: float
    own_s: float
    at_s: float

    @classmethod
    def now(cls) -> BusyClock:
        """Starts the clock."""
        return cls(_machine_busy_s(), _own_busy_s(), time.monotonic())

    def background_cores(self, children_s: float = 0.0) -> float | None:
        """Cores that others used since `now`; None in less than a fifth of a second.

        `children_s`: seconds that children of ours, still running, worked meanwhile.
        """
        wall = time.monotonic() - self.at_s
        if wall < 0.2 or self.total_s == 0:
            return None
        others = (_machine_busy_s() - self.total_s) - (_own_busy_s() - self.own_s) - children_s
        return max(0.0, others / wall)


def clock_mhz() -> float | None:
    """Mean of the cores' clocks now."""
    rates = [
        float(text) / 1e3
        for path in sorted(_CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        if (text := _text(path)) is not None
    ]
    if not rates:
        try:
            content = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        except OSError:
            return None
        rates = [float(rate) for rate in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", content, re.M)]
    return sum(rates) / len(rates) if rates else None


def temperature_c() -> float | None:
    """The hottest thermal zone."""
    zones = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        text = _text(path)
        if text is not None and text.lstrip("-").isdigit():
            zones.append(int(text) / 1e3)
    return max(zones) if zones else None


def throttle_events() -> int | None:
    """Thermal throttling events that the kernel has counted since boot (x86)."""
    counts = [
        int(text)
        for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (text := _text(path)) is not None
    ]
    return sum(counts) if counts else None


def rss_mb() -> float | None:
    """Resident memory of this process now."""
    text = _text(Path("/proc/self/statm"))
    return int(text.split()[1]) * _PAGE / 1e6 if text else None


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far."""
    return peak_resident_bytes() / 1e6


def _machine_busy_s() -> float:
    """Seconds of all cores spent on anything (user, nice, system, interrupts)."""
    text = _text(Path("/proc/stat"))
    if text is None:
        return 0.0
    fields = [int(field) for field in text.splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / _TICK


def _own_busy_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpuinfo() -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    return facts


def _memory_mb() -> float | None:
    match = re.search(r"MemTotal:\s*(\d+)", _text(Path("/proc/meminfo")) or "")
    return int(match[1]) * 1024 / 1e6 if match else None


def _turbo() -> bool | None:
    text = _text(_CPU / "intel_pstate/no_turbo")
    return None if text is None else text == "0"


def _power_mode() -> str | None:
    """Jetson's power mode, as nvpmodel keeps it."""
    text = _text(Path("/var/lib/nvpmodel/status"))
    return text.removeprefix("pmode:") if text else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\x00\n ") or None
    except OSError:
        return None
