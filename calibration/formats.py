"""The two 8-bit formats: how values are rounded to them, and how ONNX names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Format = Literal["int8", "fp8"]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NumberFormat:
    """Symmetric: `largest` is the magnitude that one scale reaches, on both sides of 0."""

    name: Format
    largest: float
    storage: Any  # what numpy stores it as
    onnx_type: ir.DataType

    def encode(self, values: Array, scale: Array | float) -> Array:
        """Values as stored numbers; what lies outside saturates."""
        scaled = np.clip(values / scale, -self.largest, self.largest)
        if self.name == "int8":
            scaled = np.rint(scaled)
        # Through float32, which is what ONNX's QuantizeLinear rounds from.
        return scaled.astype(np.float32).astype(self.storage)

    def fake(self, values: Array, scale: Array | float) -> Array:
        """Values after a round trip, in the type of `values`."""
        return (self.encode(values, scale).astype(np.float32) * scale).astype(values.dtype)


FORMATS: dict[str, NumberFormat] = {
    "int8": NumberFormat("int8", 127.0, np.int8, ir.DataType.INT8),
    "fp8": NumberFormat("fp8", 448.0, ml_dtypes.float8_e4m3fn, ir.DataType.FLOAT8E4M3FN),
}
