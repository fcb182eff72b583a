"""ONNX Runtime: the graph as it is after all its optimisations for this CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from ..errors import ExportError
from .builder import Ranges
from .host import cpu_name


class OrtBuilder:
    """Saves what `InferenceSession` makes of a file, so that loading does it no more."""

    name = "ort"
    suffix = ".onnx"

    def version(self) -> str:
        """The library's version."""
        return str(onnxruntime.__version__)

    def device(self) -> str:
        """The CPU: layouts are chosen for its instructions."""
        return cpu_name()

    def settings(self) -> Mapping[str, str]:
        """None."""
        return {}

    def build(self, onnx: Path, ranges: Ranges, output: Path) -> None:
        """Writes the optimised graph, large weights beside it."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(output)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{output.name}.data"
        )
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
        )
        try:
            onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's errors have no common class
            raise ExportError(f"{onnx.name}: ONNX Runtime refuses it: {error}") from error
