"""Finds the ONNX Runtime library that the core loads with dlopen."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

ENVIRONMENT = "VLJEPA_ORT_LIBRARY"


def find_onnxruntime() -> str | None:
    """Path of `libonnxruntime.so*`: $VLJEPA_ORT_LIBRARY, or the onnxruntime wheel's, not imported.

    None leaves the search to the dynamic loader.
    """
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return chosen
    spec = find_spec("onnxruntime")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        libraries = sorted((Path(folder) / "capi").glob("libonnxruntime.so*"))
        if libraries:
            return str(libraries[-1])
    return None
