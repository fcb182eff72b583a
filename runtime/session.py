"""`Session`: the core's stream, call by call. `Stream` (stream.py) drives one from a source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vljepa_edge.runtime import events, stats
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import check
from vljepa_edge.runtime.frames import FrameStruct, Picture, PixelFormat, YuvStandard
from vljepa_edge.runtime.handles import StreamHandle, close_with
from vljepa_edge.runtime.options import StreamOptions
from vljepa_edge.runtime.queries import Query, core_queries

if TYPE_CHECKING:
    from vljepa_edge.runtime.model import Model


@dataclass(frozen=True)
class Memory:
    """Bytes that a stream takes; `backend_bytes` is 0 where the backend cannot tell."""

    stream_bytes: int
    model_bytes: int
    mapped_bytes: int
    backend_bytes: int


class Session:
    """One open stream of the core.

    Replay: `push`, then `step` while it returns True, taking events with `poll`; after the last
    frame `finish`, and step on until False. Real time: push from one thread, poll from another.
    """

    def __init__(self, model: Model, queries: Sequence[Query], options: StreamOptions) -> None:
        self.options = options
        self.queries = [query.text for query in queries]
        self._frame = FrameStruct()
        self._event = ffi.new("vlj_event *")
        self._event.struct_size = ffi.sizeof("vlj_event")
        core, kept = self._core_options(model, queries, options)
        out = ffi.new("vlj_stream **")
        check(lib.vlj_stream_open(model.pointer, core, out))
        del kept  # the core has copied the queries
        self._handle = StreamHandle(out[0], model.handle)
        self._close = close_with(self, self._handle)

    @staticmethod
    def _core_options(model: Model, queries: Sequence[Query], options: StreamOptions) -> Any:
        core = options.to_core(options.text or model.default_text_source)
        array, kept = core_queries(queries)
        core.queries = array
        core.query_count = len(queries)
        if options.gate is not None:
            core.gate = gate = options.gate.to_core()
            return core, (array, kept, gate)
        return core, (array, kept)

    @classmethod
    def memory(cls, model: Model, queries: Sequence[Query], options: StreamOptions) -> Memory:
        """What `Session(model, queries, options)` would take, without opening it."""
        core, kept = cls._core_options(model, queries, options)
        memory = ffi.new("vlj_memory *")
        memory.struct_size = ffi.sizeof("vlj_memory")
        check(lib.vlj_query_memory(model.pointer, core, memory))
        del kept
        return Memory(**{name: int(getattr(memory, name)) for name in Memory.__dataclass_fields__})

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def push(
        self,
        pixels: Picture,
        timestamp_ns: int,
        pixel_format: PixelFormat = "bgr",
        yuv: YuvStandard = "bt601",
    ) -> bool:
        """Takes one picture, uint8 [H, W, 3], or as `vljepa_edge.runtime.frames` tells for others.

        False, in replay: a window is waiting; step, then push the same picture again. Raises
        ArgumentError for a timestamp that repeats or goes backwards (the picture was not taken) and
        for a changed size.
        """
        frame = self._frame.set(pixels, timestamp_ns, pixel_format, yuv)
        with self._handle.pushing:
            status = lib.vlj_stream_push(self._handle.pointer, frame)
        return check(status) != int(lib.VLJ_WOULD_BLOCK)

    def step(self) -> bool:
        """Replay: processes one waiting window. False: none waits, or poll events first."""
        return check(lib.vlj_stream_step(self._handle.pointer)) == int(lib.VLJ_OK)

    def poll(self, timeout_s: float = 0.0) -> events.Event | None:
        """The next event, None when none came in time. The last one is an EndEvent."""
        timeout_ns = -1 if math.isinf(timeout_s) else int(timeout_s * 1e9)
        status = check(lib.vlj_stream_poll(self._handle.pointer, self._event, timeout_ns))
        if status != lib.VLJ_OK:
            return None
        return events.from_core(
            self._event, self.queries, self.options.realtime, self.options.emit_embeddings
        )

    def finish(self) -> None:
        """No more frames will come."""
        check(lib.vlj_stream_finish(self._handle.pointer))

    def cancel(self) -> None:
        """Stops as soon as possible; the EndEvent is next."""
        check(lib.vlj_stream_cancel(self._handle.pointer))

    def stats(self) -> stats.StreamStats:
        """Counters and per-stage times so far."""
        core = stats.new_core()
        check(lib.vlj_stream_stats(self._handle.pointer, core))
        return stats.from_core(core)

    def trace(self) -> str:
        """The kept spans (`StreamOptions.trace_capacity`) as Chrome/Perfetto JSON."""
        written = ffi.new("size_t *")
        status = lib.vlj_stream_trace(self._handle.pointer, ffi.NULL, 0, written)
        while status == lib.VLJ_E_BUFFER:
            size = written[0] + 1
            buffer = ffi.new("char[]", size)
            status = lib.vlj_stream_trace(self._handle.pointer, buffer, size, written)
        check(status)
        text: bytes = ffi.buffer(buffer, written[0])[:]
        return text.decode("utf-8")

    def close(self) -> None:
        """Frees the stream; a second call does nothing. Only `push` may be under way meanwhile."""
        self._close()
