"""Names of this machine's CPU and GPU, as engines are kept by them."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

from ..errors import ExportError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


def cpu_name() -> str:
    """The model name that Linux tells, else the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name() -> tuple[str, tuple[int, int]]:
    """Name and compute capability of the first GPU, by CUDA's driver. ExportError without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ExportError(
            "no NVIDIA driver (libcuda.so.1) on this machine", "build engines on the device itself"
        ) from error
    device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    major, minor = ctypes.c_int(), ctypes.c_int()
    calls = (
        (cuda.cuInit, (0,)),
        (cuda.cuDeviceGet, (ctypes.byref(device), 0)),
        (cuda.cuDeviceGetName, (name, len(name), device)),
        (cuda.cuDeviceGetAttribute, (ctypes.byref(major), _MAJOR, device)),
        (cuda.cuDeviceGetAttribute, (ctypes.byref(minor), _MINOR, device)),
    )
    for call, arguments in calls:
        code = call(*arguments)
        if code:
            raise ExportError(f"CUDA tells no GPU ({call.__name__} gives {code})")
    return name.value.decode(), (major.value, minor.value)
