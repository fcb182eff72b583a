"""Options of the engines behind a bundle, the same for each verb that runs one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# Name of the option's parameter -> name of `load`'s.
_PARAMETERS = {
    "backend": "backend",
    "decode_threads": "decode_threads",
    "cpus": "cpus",
    "decode_cpus": "decode_cpus",
    "provider": "provider",
    "gpu": "device",
    "arena": "arena",
    "packed_weights": "packed_weights",
    "engines": "engines",
}


def placement_options(command: F) -> F:
    """--cpus and what follows: all but --backend and --threads, which `bench` sweeps."""
    options = (
        click.option(
            "--decode-threads", type=click.IntRange(0), default=0, help="Of the Y-Decoder; 0: 1."
        ),
        click.option(
            "--cpus",
            metavar="LIST|auto",
            help='Where encode and predict run: "0-3,6", or "auto": the large cores.',
        ),
        click.option("--decode-cpus", metavar="LIST", help="Where the Y-Decoder runs."),
        click.option(
            "--provider",
            type=click.Choice(["cpu", "cuda", "tensorrt"]),
            help="Of ONNX Runtime.  [default: cpu]",
        ),
        click.option("--gpu", type=click.IntRange(0), default=0, help="Its number."),
        click.option(
            "--arena/--no-arena",
            default=True,
            help="ONNX Runtime keeps memory between runs, or gives it back: smaller, slower.",
        ),
        click.option(
            "--packed-weights/--no-packed-weights",
            default=True,
            help="ONNX Runtime copies weights as products like them, or leaves them in the file.",
        ),
        click.option(
            "--engines",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="What `vljepa export --engine tensorrt` made, for --backend tensorrt and auto.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def engine_options(command: F) -> F:
    """--backend and --threads as well."""
    options = (
        click.option(
            "--backend",
            type=click.Choice(["ort", "openvino", "tensorrt", "auto"]),
            default="ort",
            show_default=True,
            help="auto: the fastest here, by a short trial that is kept.",
        ),
        click.option(
            "--threads", type=click.IntRange(0), default=0, help="Of encode and predict; 0: all."
        ),
    )
    command = placement_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def placement(options: dict[str, Any]) -> dict[str, Any]:
    """What of `load`'s options was chosen on the command line, --threads and defaults apart."""
    defaults = {"backend": "ort", "decode_threads": 0, "gpu": 0, "arena": True}
    defaults |= {"packed_weights": True}
    chosen = {}
    for name, parameter in _PARAMETERS.items():
        value = options.get(name)
        if value != defaults.get(name) and name in options:
            chosen[parameter] = str(value) if isinstance(value, Path) else value
    return chosen
