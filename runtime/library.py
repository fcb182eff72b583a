"""Finds the libraries that the core's backends load with dlopen, and a place for what they keep."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

ENVIRONMENT = "VLJEPA_ORT_LIBRARY"
OPENVINO_ENVIRONMENT = "VLJEPA_OPENVINO_LIBRARY"
TENSORRT_ENVIRONMENT = "VLJEPA_TENSORRT_LIBRARY"
OPENVINO_OPS_ENVIRONMENT = "VLJEPA_OPENVINO_OPS_LIBRARY"
CACHE_ENVIRONMENT = "VLJEPA_CACHE"


def find_onnxruntime() -> str | None:
    """Path of `libonnxruntime.so*`: $VLJEPA_ORT_LIBRARY, or the onnxruntime wheel's, not imported.

    None leaves the search to the dynamic loader.
    """
    return _find(ENVIRONMENT, "onnxruntime", "capi", "libonnxruntime.so*")


def find_openvino() -> str | None:
    """Path of `libopenvino_c.so*`: $VLJEPA_OPENVINO_LIBRARY, or the openvino wheel's, not imported.

    None leaves the search to the dynamic loader.
    """
    return _find(OPENVINO_ENVIRONMENT, "openvino", "libs", "libopenvino_c.so*")


def find_tensorrt() -> str | None:
    """Path of `libvljepa_tensorrt.so`, which CMake builds on the device: $VLJEPA_TENSORRT_LIBRARY.

    None leaves the search to the dynamic loader.
    """
    return os.environ.get(TENSORRT_ENVIRONMENT)


def find_openvino_ops() -> str | None:
    """Path of `libvljepa_openvino_ops.so`, which CMake builds: $VLJEPA_OPENVINO_OPS_LIBRARY.

    None leaves it to the core, which takes the one beside itself if there is one that suits.
    """
    return os.environ.get(OPENVINO_OPS_ENVIRONMENT)


def cache_folder() -> Path | None:
    """Where compiled models and "auto"'s trials are kept, made if need be.

    $VLJEPA_CACHE, or vljepa-edge in the user's cache. None where it cannot be made.
    """
    chosen = os.environ.get(CACHE_ENVIRONMENT)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(chosen) if chosen else Path(base or Path.home() / ".cache") / "vljepa-edge"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only system, or a user without a home
        return None
    return folder


def _find(environment: str, package: str, folder_name: str, pattern: str) -> str | None:
    chosen = os.environ.get(environment)
    if chosen:
        return chosen
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        libraries = sorted((Path(folder) / folder_name).glob(pattern))
        if libraries:
            return str(libraries[-1])
    return None
