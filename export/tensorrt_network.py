"""An ONNX file as a strongly typed TensorRT network: parsed, counted, built.

Written against what TensorRT 10.3 to 11 and TensorRT for RTX have in common; `trt` is whichever of
these modules is installed. Building for another device works with the RTX one alone, which needs no
GPU: it shows that a graph is taken and typed rightly, and tells nothing of its speed.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ExportError

MODULES = ("tensorrt", "tensorrt_rtx")
# Axis -> least, usual and largest size.
Ranges = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Parsed:
    """A network, and what must stay alive as long as it does."""

    trt: Any
    builder: Any
    network: Any
    parser: Any
    logger: Any

    @property
    def layers(self) -> int:
        """Layers as TensorRT counts them after parsing: constants and shape layers included."""
        return int(self.network.num_layers)

    def kinds(self) -> Counter[str]:
        """Layers by kind."""
        network = self.network
        return Counter(network.get_layer(i).type.name for i in range(network.num_layers))


def find_tensorrt(rtx: bool = False) -> Any:
    """The module `tensorrt`, or `tensorrt_rtx`. ExportError where it is not installed."""
    name = MODULES[rtx]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = "tensorrt-rtx-cu13" if rtx else "tensorrt"
        raise ExportError(f"{name} cannot be loaded ({error})", f"pip install {package}") from error


def load_plugins(trt: Any, library: Path) -> None:
    """Registers a library of plug-ins (`libvljepa_tensorrt.so`). ExportError where it isn't one."""
    if trt.get_plugin_registry().load_library(str(library)) is None:
        raise ExportError(
            f"{library} is no library of TensorRT plug-ins that can be loaded",
            "build libvljepa_tensorrt.so with CMake, against this TensorRT",
        )


def make_logger(trt: Any) -> Any:
    """Collects what TensorRT says in `lines`, warnings and errors."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.lines.append(message)

    return Logger()


def parse(path: Path, trt: Any, logger: Any | None = None) -> Parsed:
    """Parses a file with all its weights. ExportError names the first node that is not taken."""
    logger = logger if logger is not None else make_logger(trt)
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    flags = 0 if typed is None else 1 << int(typed)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        reasons = [parser.get_error(i) for i in range(parser.num_errors)]
        first = reasons[0] if reasons else None
        what = f"{first.node_name()} ({first.node_operator()}): {first.desc()}" if first else "?"
        raise ExportError(f"{path.name}: TensorRT does not take {what}", "export it anew")
    return Parsed(trt, builder, network, parser, logger)


def build(
    parsed: Parsed,
    ranges: Ranges,
    *,
    capability: str | None = None,
    timing_cache: bytes | None = None,
    workspace_bytes: int = 1 << 30,
) -> tuple[bytes, bytes]:
    """The serialized engine and the timing cache; `capability` (`SM86`, ...) with the RTX module.

    ExportError with what TensorRT said where it builds nothing.
    """
    trt, network = parsed.trt, parsed.network
    config = parsed.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    cache = None
    if capability is None and hasattr(config, "create_timing_cache"):
        cache = config.create_timing_cache(timing_cache or b"")
        if cache is not None:
            config.set_timing_cache(cache, False)
    profile = optimization_profile(parsed, ranges)
    if profile is not None:
        config.add_optimization_profile(profile)
    plan = parsed.builder.build_serialized_network(network, config)
    if plan is None:
        said = parsed.logger.lines[-1] if parsed.logger.lines else "no reason given"
        raise ExportError(f"TensorRT builds no engine: {said}")
    timings = bytes(cache.serialize()) if cache is not None else b""
    return bytes(plan), timings


def optimization_profile(parsed: Parsed, ranges: Ranges) -> Any | None:
    """Sizes of the dynamic axes by their names in the ONNX file; None where all is static."""
    profile = parsed.builder.create_optimization_profile()
    dynamic = False
    for i in range(parsed.network.num_inputs):
        tensor = parsed.network.get_input(i)
        shape = list(tensor.shape)
        if -1 not in shape:
            continue
        dynamic = True
        names = [tensor.get_dimension_name(axis) for axis in range(len(shape))]
        sizes = [
            tuple(
                ranges[name][k] if size == -1 else size
                for name, size in zip(names, shape, strict=True)
            )
            for k in range(3)
        ]
        profile.set_shape(tensor.name, *sizes)
    return profile if dynamic else None
