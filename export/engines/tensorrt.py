"""TensorRT: strongly typed engines, built on the device that they run on.

With `capability` (`SM86`, ...) TensorRT for RTX builds for a device that isn't here; such engines
show that a bundle is taken, and are what its own runtime loads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from ..errors import ExportError
from ..tensorrt_graph import for_tensorrt
from ..tensorrt_network import build, find_tensorrt, load_plugins, parse
from .builder import Ranges
from .host import gpu_name

FP8_SINCE = (8, 9)  # compute capability
QUANTISED = frozenset((ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN))


class TensorrtBuilder:
    """FP32 or FP16 as told; INT8 and FP8 where the bundle has Q/DQ nodes, as these are typed."""

    name = "tensorrt"
    suffix = ".plan"

    def __init__(
        self,
        *,
        half: bool = True,
        attention: bool = False,
        capability: str | None = None,
        timing_cache: Path | None = None,
        pool_plugin: Path | None = None,
    ) -> None:
        self.half, self.attention, self.capability = half, attention, capability
        self.pool_plugin = pool_plugin
        self.timing_cache = timing_cache
        self._trt = find_tensorrt(rtx=capability is not None)
        if pool_plugin is not None:
            if capability is not None:
                raise ExportError(
                    "TensorRT for RTX has no plug-in layers", "leave --pool-plugin or --capability"
                )
            load_plugins(self._trt, pool_plugin)
        if attention and not half:
            raise ExportError("TensorRT's Attention takes float16 alone", "leave attention out")
        if capability is None:
            gpu, compute = gpu_name()
            self._device = f"{gpu} sm{compute[0]}{compute[1]}"
            self._compute = compute
        else:
            if not hasattr(self._trt.ComputeCapability, capability):
                known = ", ".join(self._trt.ComputeCapability.__members__)
                raise ExportError(f"capability {capability} is unknown", f"choose of {known}")
            self._device = capability
            digits = capability.removeprefix("SM")
            self._compute = (int(digits[:-1]), int(digits[-1]))

    def version(self) -> str:
        """Module and version."""
        return f"{self._trt.__name__} {self._trt.__version__}"

    def device(self) -> str:
        """GPU and compute capability, or the capability that is built for."""
        return self._device

    def settings(self) -> Mapping[str, str]:
        """Types and profile."""
        settings = {"half": str(self.half), "attention": str(self.attention)}
        return settings if self.pool_plugin is None else {**settings, "pool_plugin": "1"}

    def build(self, onnx: Path, ranges: Ranges, output: Path) -> None:
        """Writes the plan; the timing cache, where there is one, is read before and kept after."""
        model = ir.load(onnx)
        stored = {value.dtype for value in model.graph.initializers.values()}
        if ir.DataType.FLOAT8E4M3FN in stored and self._compute < FP8_SINCE:
            raise ExportError(
                f"{onnx.name} holds FP8, which {self._device} has not: FP8 begins with SM89, and "
                "Jetson Orin (SM87) has none",
                "calibrate the bundle with --precision int8",
            )
        # EmbeddingGemma's activations overflow float16; the Y-Encoder runs off the device anyway.
        half = self.half and onnx.stem != "y_encoder" and not stored & QUANTISED
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            path = Path(folder) / onnx.name
            adapted = for_tensorrt(
                model,
                half=half,
                attention=half and self.attention,
                pool_plugin=self.pool_plugin is not None,
            )
            ir.save(adapted, path, external_data=f"{path.name}.data", size_threshold_bytes=1024)
            before = b""
            if self.timing_cache is not None and self.timing_cache.is_file():
                before = self.timing_cache.read_bytes()
            parsed = parse(path, self._trt)
            plan, timings = build(parsed, ranges, capability=self.capability, timing_cache=before)
        output.write_bytes(plan)
        if self.timing_cache is not None and timings:
            partial = self.timing_cache.with_suffix(".partial")
            partial.write_bytes(timings)
            partial.replace(self.timing_cache)
