"""OpenVINO: models compiled for this CPU, as blobs that load without compiling."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx.inliner

from ..errors import ExportError
from .builder import Ranges


class OpenvinoBuilder:
    """`compile_model` for the CPU, then `export_model`."""

    name = "openvino"
    suffix = ".blob"

    def __init__(self, precision: str = "f32") -> None:
        try:
            import openvino
        except ImportError as error:
            raise ExportError(
                f"openvino cannot be loaded ({error})", "pip install 'vljepa-edge[openvino]'"
            ) from error
        self._openvino = openvino
        self._core = openvino.Core()
        self.precision = precision

    def version(self) -> str:
        """The library's version."""
        return str(self._openvino.get_version())

    def device(self) -> str:
        """The CPU as OpenVINO names it."""
        return str(self._core.get_property("CPU", "FULL_DEVICE_NAME"))

    def settings(self) -> Mapping[str, str]:
        """The type of what is neither integer nor told."""
        return {"precision": self.precision}

    def build(self, onnx: Path, ranges: Ranges, output: Path) -> None:
        """Writes the compiled model."""
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            path = inlined(onnx, Path(folder))
            try:
                model = self._core.read_model(path)
                compiled = self._core.compile_model(
                    model, "CPU", {"INFERENCE_PRECISION_HINT": self.precision}
                )
                blob = io.BytesIO()
                compiled.export_model(blob)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise ExportError(f"{onnx.name}: OpenVINO refuses it: {reason}") from error
        output.write_bytes(blob.getbuffer())


def inlined(path: Path, folder: Path) -> Path:
    """The same model without functions, which OpenVINO's reader does not know; weights linked."""
    model = onnx.load(path, load_external_data=False)
    target = folder / path.name
    onnx.save(onnx.inliner.inline_local_functions(model), target)
    external = path.with_name(f"{path.name}.data")
    if external.is_file():
        try:
            os.link(external, folder / external.name)
        except OSError:
            shutil.copyfile(external, folder / external.name)
    return target
