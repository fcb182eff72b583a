"""The gate and the offline segmentation over embedding streams that were recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError, check
from vljepa_edge.runtime.events import REASONS
from vljepa_edge.runtime.options import GateOptions

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GateResult:
    """What the gate says of one embedding; `score` against `threshold` decided, the rest is raw."""

    shift: bool
    reason: str
    score: float
    threshold: float
    ward: float
    variance: float


class Gate:
    """The gate of one query, fed by hand: the very code that a stream runs."""

    def __init__(self, width: int, options: GateOptions) -> None:
        core = options.to_core()
        core.width = width
        out = ffi.new("vlj_gate **")
        check(lib.vlj_gate_open(core, out))
        self._gate: Any = ffi.gc(out[0], lib.vlj_gate_close)
        self._result = ffi.new("vlj_gate_result *")
        self._result.struct_size = ffi.sizeof("vlj_gate_result")
        self._width = width

    def push(self, embedding: Embeddings, timestamp_ns: int) -> GateResult:
        """Takes one predicted embedding, float32 [width]."""
        row = np.ascontiguousarray(embedding, np.float32)
        if row.shape != (self._width,):
            raise ArgumentError(
                f"embedding has shape {list(row.shape)}, the gate wants [{self._width}]"
            )
        result = self._result
        data = ffi.cast("float *", row.ctypes.data)
        check(lib.vlj_gate_push(self._gate, data, timestamp_ns, result))
        return GateResult(
            bool(result.shift),
            REASONS[result.reason],
            result.score,
            result.threshold,
            result.ward,
            result.variance,
        )

    def recent_mean(self) -> Embeddings:
        """Mean of the last m embeddings, unit length, float32 [width]: what an onset decodes."""
        mean = np.empty(self._width, np.float32)
        check(
            lib.vlj_gate_recent_mean(self._gate, ffi.cast("float *", mean.ctypes.data), self._width)
        )
        return mean


def segment(embeddings: Embeddings, segments: int) -> list[int]:
    """Where segments start by the paper's offline method, Ward clustering along time.

    embeddings: float32 [count, width]; O(count log count).
    """
    rows = np.ascontiguousarray(embeddings, np.float32)
    if rows.ndim != 2:
        raise ArgumentError(f"embeddings have shape {list(rows.shape)}, wanted [count, width]")
    starts = np.empty(max(1, segments), np.uint64)
    check(
        lib.vlj_segment(
            ffi.cast("float *", rows.ctypes.data),
            len(rows),
            rows.shape[1],
            segments,
            ffi.cast("uint64_t *", starts.ctypes.data),
        )
    )
    return [int(start) for start in starts[:segments]]
