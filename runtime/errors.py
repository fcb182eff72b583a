"""Exceptions of the runtime: a class per group of `vlj_status`, with the core's own sentence."""

from __future__ import annotations

from vljepa_edge.runtime._core import ffi, lib


class VljepaError(Exception):
    """Something the runtime refused or could not do.

    `status` is the `vlj_status` number (0 where Python found the error itself) and `status_name`
    its name.
    """

    def __init__(self, message: str, status: int = 0, status_name: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.status_name = status_name


class ArgumentError(VljepaError, ValueError):
    """1xx: an argument, frame, timestamp or query that the core does not take."""


class BundleError(VljepaError):
    """2xx: a bundle or image that is missing, damaged, of another version, or inconsistent."""


class BackendError(VljepaError, RuntimeError):
    """3xx: an inference backend that is missing or failed."""


class OutOfMemoryError(VljepaError, MemoryError):
    """4xx: an allocation failed."""


class CancelledError(VljepaError):
    """5xx: cancelled by the caller."""


class TimedOutError(VljepaError, TimeoutError):
    """6xx: not done within the given time."""


class VersionError(VljepaError):
    """7xx: the caller was built against another header."""


class SourceError(VljepaError, OSError):
    """A video, folder or camera that cannot be read as frames."""

    def __str__(self) -> str:
        return str(self.args[0])


_GROUPS: dict[int, type[VljepaError]] = {
    1: ArgumentError,
    2: BundleError,
    3: BackendError,
    4: OutOfMemoryError,
    5: CancelledError,
    6: TimedOutError,
    7: VersionError,
}


def last_error() -> str:
    """The calling thread's last error sentence, as the core wrote it."""
    sentence: bytes = ffi.string(lib.vlj_last_error())
    return sentence.decode("utf-8", "replace")


def status_name(status: int) -> str:
    """`VLJ_E_BUNDLE_HASH` for 202, and so on."""
    name: bytes = ffi.string(lib.vlj_status_name(status))
    return name.decode("ascii")


def check(status: int) -> int:
    """Raises what `status` asks for; returns it when it is no error (OK, WOULD_BLOCK, END)."""
    if status < lib.VLJ_E_ARGUMENT:
        return status
    name = status_name(status)
    raise _GROUPS.get(status // 100, VljepaError)(last_error() or name, status, name)
