"""Turns exceptions into one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys

import click

# What each package comes with, for the hint when it is missing.
_EXTRAS = {
    "torch": "export",
    "transformers": "export",
    "onnx": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "jsonschema": "export",
    "matplotlib": "bench",
    "openvino": "openvino",
    "starlette": "assistant",
    "uvicorn": "assistant",
    "websockets": "assistant",
}


def report(error: Exception) -> int:
    """Prints what went wrong; returns 2 where the user can put it right, else 1."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and later: no verb at all
        print(error, file=sys.stderr)
        return 2
    message, code = _sentence(error)
    if message:
        print(f"vljepa: {' '.join(message.split())}", file=sys.stderr)
    return code


def _sentence(error: Exception) -> tuple[str, int]:
    if isinstance(error, click.ClickException):
        message = error.format_message().rstrip(".")
        if isinstance(error, click.UsageError) and error.ctx is not None:
            message += f" (see {error.ctx.command_path} --help)"
        return message, error.exit_code
    if isinstance(error, click.Abort):
        return "interrupted", 1
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone; keep Python from telling so once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "", 1
    if isinstance(error, ModuleNotFoundError):
        return missing_module(error), 2
    return _runtime_sentence(error)


def missing_module(error: ModuleNotFoundError) -> str:
    """What to install for a module that is missing."""
    name = (error.name or "").split(".")[0]
    if name in _EXTRAS:
        return f"this command needs {name}; pip install 'vljepa-edge[{_EXTRAS[name]}]'"
    return f"{error}; reinstall vljepa-edge"


def _runtime_sentence(error: Exception) -> tuple[str, int]:
    try:
        from vljepa_edge.runtime import errors
        from vljepa_edge.runtime._core import lib
    except ImportError as missing:
        return f"the C core cannot be loaded ({missing}); reinstall vljepa-edge", 1

    if isinstance(error, errors.BackendError):
        return str(error), 2 if error.status == lib.VLJ_E_BACKEND_MISSING else 1
    if isinstance(
        error,
        errors.ArgumentError | errors.BundleError | errors.SourceError | errors.VersionError,
    ):
        return str(error), 2
    if isinstance(error, errors.VljepaError):
        return str(error), 1
    if isinstance(error, _layer_errors()):
        return str(error), 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 2
    kind = type(error).__name__
    return f"internal error: {kind}: {error} (VLJEPA_DEBUG=1 shows where)", 1


def _layer_errors() -> tuple[type[Exception], ...]:
    """Errors of the layers that are loaded on demand, as far as they are."""
    homes = {
        "vljepa_edge.export.errors": "ExportError",
        "vljepa_edge.model.checkpoint": "CheckpointError",
        "vljepa_edge.bench.results": "ResultsError",
    }
    return tuple(
        getattr(sys.modules[home], name) for home, name in homes.items() if home in sys.modules
    )
