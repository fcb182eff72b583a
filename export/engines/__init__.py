"""A bundle's components as engines of one device: one interface, a file for each maker."""

from __future__ import annotations

from pathlib import Path

from .builder import EngineBuilder

NAMES = ("ort", "openvino", "tensorrt", "tensorrt-onnx")


def open_builder(
    name: str,
    *,
    capability: str | None = None,
    attention: bool = False,
    timing_cache: Path | None = None,
    pool_plugin: Path | None = None,
) -> EngineBuilder:
    """The maker of a name; ExportError where its library or device is missing.

    The other arguments are TensorRT's (`tensorrt.py`).
    """
    if name == "ort":
        from .ort import OrtBuilder

        return OrtBuilder()
    if name == "openvino":
        from .openvino import OpenvinoBuilder

        return OpenvinoBuilder()
    if name == "tensorrt-onnx":
        from .tensorrt_onnx import TensorrtOnnxBuilder

        return TensorrtOnnxBuilder(attention=attention)
    from .tensorrt import TensorrtBuilder

    return TensorrtBuilder(
        capability=capability,
        attention=attention,
        timing_cache=timing_cache,
        pool_plugin=pool_plugin,
    )
