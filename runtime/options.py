"""Options of a stream and its gate, as dataclasses that turn into the core's structs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError

TextSource = Literal["decoder", "phrases", "none"]
DecodeWhen = Literal["never", "onset", "close", "both"]
FloatPrecision = Literal["float32", "bfloat16", "float16"]
Provider = Literal["cpu", "cuda", "tensorrt"]  # of ONNX Runtime

TEXT_SOURCES: dict[str, int] = {
    "decoder": lib.VLJ_TEXT_DECODER,
    "phrases": lib.VLJ_TEXT_PHRASE_BANK,
    "none": lib.VLJ_TEXT_NONE,
}
DECODE_WHEN: dict[str, int] = {
    "never": lib.VLJ_DECODE_NEVER,
    "onset": lib.VLJ_DECODE_ONSET,
    "close": lib.VLJ_DECODE_CLOSE,
    "both": lib.VLJ_DECODE_BOTH,
}
FLOAT_PRECISIONS: dict[str, int] = {
    "float32": lib.VLJ_FLOATS_FLOAT32,
    "bfloat16": lib.VLJ_FLOATS_BFLOAT16,
    "float16": lib.VLJ_FLOATS_FLOAT16,
}


@dataclass(frozen=True)
class GateOptions:
    """Thresholds of selective decoding. 0: the bundle's value; negative: the rule is off."""

    smoothing: int = 0  # m: predictions averaged, 1..16
    confirm: int = 0  # windows in a row above a threshold before a shift is told
    ward_threshold: float = 0.0  # on n*m/(n+m) * |mu - mu_m|^2
    variance_threshold: float = 0.0  # on the mean squared distance of the last m to their mean
    hysteresis: float = 0.0
    target_rate_hz: float = 0.0  # > 0: steer ward_threshold towards this decode rate
    min_interval_ns: int = 0
    max_interval_ns: int = 0

    def to_core(self) -> Any:
        """A `vlj_gate_options`."""
        struct = ffi.new("vlj_gate_options *")
        struct.struct_size = ffi.sizeof("vlj_gate_options")
        for field in fields(self):
            setattr(struct, field.name, getattr(self, field.name))
        return struct

    @classmethod
    def from_core(cls, struct: Any) -> GateOptions:
        """Copies a filled `vlj_gate_options`."""
        return cls(**{field.name: getattr(struct, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class StreamOptions:
    """How a stream runs. 0 and None mean the bundle's own value."""

    realtime: bool = False  # True: two threads, the latest wins; False: replay, every window
    text: TextSource | None = None  # None: the decoder where the bundle has one, else phrases
    phrase_bank: int = 0
    stride: int = 0  # sampled frames between two windows
    fps: float = 0.0  # sampling rate
    decode_when: DecodeWhen | None = None
    gate: GateOptions | None = None
    emit_embeddings: bool = False  # an EmbeddingEvent for every window and query
    event_capacity: int = 0
    max_frame_width: int = 0
    max_frame_height: int = 0
    trace_capacity: int = 0  # spans kept for Session.trace

    def to_core(self, text: str) -> Any:
        """A `vlj_stream_options` without queries and gate. `text` is the source after defaults."""
        if text not in TEXT_SOURCES:
            raise ArgumentError(f"text source {text!r} is not one of {', '.join(TEXT_SOURCES)}")
        if self.stride < 0 or self.fps < 0:
            raise ArgumentError(f"stride {self.stride} and fps {self.fps} must not be negative")
        options = ffi.new("vlj_stream_options *")
        options.struct_size = ffi.sizeof("vlj_stream_options")
        options.mode = lib.VLJ_REALTIME if self.realtime else lib.VLJ_REPLAY
        options.text_source = TEXT_SOURCES[text]
        options.phrase_bank = self.phrase_bank
        options.stride = self.stride
        options.fps = self.fps
        options.event_capacity = self.event_capacity
        options.emit_embeddings = self.emit_embeddings
        options.max_frame_width = self.max_frame_width
        options.max_frame_height = self.max_frame_height
        options.trace_capacity = self.trace_capacity
        if self.decode_when is not None:
            if self.decode_when not in DECODE_WHEN:
                names = ", ".join(DECODE_WHEN)
                raise ArgumentError(f"decode_when {self.decode_when!r} is not one of {names}")
            options.decode_when = DECODE_WHEN[self.decode_when]
            options.use_decode_when = 1
        return options
