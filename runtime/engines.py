"""Engines written in Python, for backend "callback", and the core's other calls into Python."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.bundle import COMPONENTS

Array = npt.NDArray[Any]
# (component, inputs by name, outputs by name): fills the outputs, on a thread of the core.
PythonEngine = Callable[[str, Mapping[str, Array], Mapping[str, Array]], None]

_DTYPES: dict[int, Any] = {
    lib.VLJ_UINT8: np.uint8,
    lib.VLJ_INT64: np.int64,
    lib.VLJ_FLOAT32: np.float32,
    lib.VLJ_FLOAT16: np.float16,
    lib.VLJ_INT8: np.int8,
}
_DTYPE_NUMBERS: dict[Any, int] = {np.dtype(dtype): number for number, dtype in _DTYPES.items()}


class Hooks:
    """Python's side of a model's callbacks. Must live as long as the model."""

    def __init__(
        self,
        engine: PythonEngine | None = None,
        log: Callable[[str, str], None] | None = None,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        self.engine = engine
        self.log = log
        self.clock_ns = clock_ns
        self.error: BaseException | None = None  # the engine's last exception
        self.lock = threading.Lock()
        handle = ffi.new_handle(self)
        self._handle = handle
        self.callbacks: Any = ffi.NULL
        self.hooks: Any = ffi.NULL
        if engine is not None:
            self.callbacks = ffi.new("vlj_engine_callbacks *")
            self.callbacks.struct_size = ffi.sizeof("vlj_engine_callbacks")
            self.callbacks.user_data = handle
            self.callbacks.run = lib.vljpy_engine_run
        if log is not None or clock_ns is not None:
            self.hooks = ffi.new("vlj_hooks *")
            self.hooks.struct_size = ffi.sizeof("vlj_hooks")
            self.hooks.user_data = handle
            if log is not None:
                self.hooks.log = lib.vljpy_log
            if clock_ns is not None:
                self.hooks.clock_ns = lib.vljpy_clock_ns


def as_array(tensor: Any) -> Array:
    """A numpy view of a `vlj_tensor`'s memory."""
    shape = [tensor.shape[i] for i in range(tensor.rank)]
    buffer = ffi.buffer(tensor.data, tensor.size_bytes)
    return np.frombuffer(buffer, _DTYPES[tensor.dtype]).reshape(shape)


def core_tensors(arrays: Mapping[str, Array]) -> tuple[Any, list[Any]]:
    """(a `vlj_tensor[]` over contiguous arrays in their order, what must outlive it)."""
    tensors = ffi.new("vlj_tensor[]", max(1, len(arrays)))
    kept: list[Any] = []
    for tensor, (name, array) in zip(tensors, arrays.items(), strict=False):
        if not array.flags.c_contiguous or array.dtype not in _DTYPE_NUMBERS:
            raise ValueError(f"{name}: wants a contiguous array of a core dtype, not {array.dtype}")
        c_name = ffi.new("char[]", name.encode("ascii"))
        kept += [c_name, array]
        tensor.name = c_name
        tensor.dtype = _DTYPE_NUMBERS[array.dtype]
        tensor.rank = array.ndim
        for axis, size in enumerate(array.shape):
            tensor.shape[axis] = size
        tensor.data = ffi.cast("void *", array.ctypes.data)
        tensor.size_bytes = array.nbytes
    return tensors, kept


def _named(tensors: Any, count: int) -> dict[str, Array]:
    return {ffi.string(tensors[i].name).decode("ascii"): as_array(tensors[i]) for i in range(count)}


@ffi.def_extern(error=lib.VLJ_E_BACKEND_RUN)  # type: ignore[untyped-decorator]
def vljpy_engine_run(
    user_data: Any,
    component: int,
    inputs: Any,
    input_count: int,
    outputs: Any,
    output_count: int,
    message: Any,
    message_bytes: int,
) -> int:
    """Runs a Python engine; its exception becomes the core's error sentence."""
    hooks: Hooks = ffi.from_handle(user_data)
    assert hooks.engine is not None
    name = COMPONENTS[component]
    try:
        hooks.engine(name, _named(inputs, input_count), _named(outputs, output_count))
    except Exception as error:
        hooks.error = error
        text = f"{type(error).__name__}: {error}".encode()[: max(0, message_bytes - 1)] + b"\0"
        ffi.memmove(message, text, len(text))
        return int(lib.VLJ_E_BACKEND_RUN)
    return int(lib.VLJ_OK)


_LEVELS = {
    lib.VLJ_LOG_ERROR: "error",
    lib.VLJ_LOG_WARNING: "warning",
    lib.VLJ_LOG_INFO: "info",
    lib.VLJ_LOG_DEBUG: "debug",
}


@ffi.def_extern()  # type: ignore[untyped-decorator]
def vljpy_log(user_data: Any, level: int, message: Any) -> None:
    """Hands a log line of the core to Python."""
    hooks: Hooks = ffi.from_handle(user_data)
    if hooks.log is not None:
        hooks.log(_LEVELS[level], ffi.string(message).decode("utf-8", "replace"))


@ffi.def_extern(error=0)  # type: ignore[untyped-decorator]
def vljpy_clock_ns(user_data: Any) -> int:
    """Hands the time to the core."""
    hooks: Hooks = ffi.from_handle(user_data)
    assert hooks.clock_ns is not None
    return hooks.clock_ns()
