"""ONNX in the form that TensorRT takes, for trtexec on a device that hasn't got this package.

Opset 20 in float16 suits TensorRT 10.3 and later; with `attention` it is opset 23 with the operator
Attention, which 10.15 and later build. Beside each file lie trtexec's arguments for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir

from ..errors import ExportError
from ..tensorrt_graph import for_tensorrt
from .builder import Ranges

LEAST_VERSION = {False: "10.3", True: "10.15"}


class TensorrtOnnxBuilder:
    """Writes a component's adapted graph with its weights beside it; needs no TensorRT."""

    name = "tensorrt-onnx"
    suffix = ".onnx"

    def __init__(self, *, attention: bool = False) -> None:
        self.attention = attention

    def version(self) -> str:
        """Of what rewrites the graphs."""
        return f"vljepa-edge {version('vljepa-edge')}, onnx-ir {version('onnx-ir')}"

    def device(self) -> str:
        """Any: the engine is built where it runs."""
        return f"TensorRT {LEAST_VERSION[self.attention]} and later"

    def settings(self) -> Mapping[str, str]:
        """The profile."""
        return {"attention": str(self.attention)}

    def build(self, onnx: Path, ranges: Ranges, output: Path) -> None:
        """Writes `output`, its weights as `.data`, and trtexec's arguments as `.trtexec`."""
        model = ir.load(onnx)
        half = runs_in_half(model, onnx.stem)
        if self.attention and not half and onnx.stem == "x_encoder":
            raise ExportError(
                "TensorRT's Attention takes float16 alone, and this bundle is quantised",
                "leave --attention out",
            )
        adapted = for_tensorrt(model, half=half, attention=half and self.attention)
        ir.save(adapted, output, external_data=f"{output.name}.data", size_threshold_bytes=1024)
        arguments = trtexec_arguments(adapted, output, ranges)
        output.with_suffix(".trtexec").write_text(arguments + "\n", encoding="utf-8")


def runs_in_half(model: ir.Model, component: str) -> bool:
    """Whether TensorRT computes a component in float16: not EmbeddingGemma's, nor Q/DQ graphs."""
    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph)
    return component != "y_encoder" and not quantised


def trtexec_arguments(model: ir.Model, onnx: Path, ranges: Ranges) -> str:
    """What trtexec needs to be told of a file: its types are in it, the sizes of its axes not."""
    words = ["--stronglyTyped", f"--onnx={onnx.name}", f"--saveEngine={onnx.stem}.plan"]
    for k, option in enumerate(("minShapes", "optShapes", "maxShapes")):
        shapes = []
        for value in model.graph.inputs:
            assert value.shape is not None
            sizes = [n if isinstance(n, int) else ranges[str(n.value)][k] for n in value.shape]
            if any(not isinstance(n, int) for n in value.shape):
                shapes.append(f"{value.name}:" + "x".join(map(str, sizes)))
        if shapes:
            words.append(f"--{option}=" + ",".join(shapes))
    return " ".join(words)
