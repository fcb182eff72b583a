"""Owners of the core's objects: they are closed once, streams before their model, at exit too.

Python may collect a model and its streams in any order; the core wants streams closed first.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from vljepa_edge.runtime._core import lib
from vljepa_edge.runtime.errors import ArgumentError


class ModelHandle:
    """An open `vlj_model`, closed when the Model and all of its streams have let go of it."""

    def __init__(self, pointer: Any, hooks: Any) -> None:
        self.pointer = pointer
        # The finalizer's arguments live until it has run: the core may call hooks while it closes.
        weakref.finalize(self, _close_model, pointer, hooks)


def _close_model(pointer: Any, hooks: Any) -> None:
    lib.vlj_model_close(pointer)
    del hooks


class StreamHandle:
    """An open `vlj_stream`. `pushing` keeps close away from a feeding thread."""

    def __init__(self, pointer: Any, model: ModelHandle) -> None:
        self.pushing = threading.Lock()
        self._pointer = pointer
        self._model: ModelHandle | None = model

    @property
    def pointer(self) -> Any:
        """The `vlj_stream *`. ArgumentError once it is closed."""
        if self._pointer is None:
            raise ArgumentError("the stream is closed", lib.VLJ_E_STATE, "VLJ_E_STATE")
        return self._pointer

    def close(self) -> None:
        """Frees the stream, then lets go of the model. A second call does nothing."""
        with self.pushing:
            if self._pointer is not None:
                lib.vlj_stream_close(self._pointer)
                self._pointer = None
                self._model = None


def close_with(owner: object, handle: StreamHandle) -> Any:
    """Closes `handle` when `owner` goes, or at exit; calling the result does so now."""
    return weakref.finalize(owner, handle.close)
