"""`vljepa doctor`: does this bundle compute here what it computed where it was made?"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from vljepa_edge.cli.engine import engine_options, placement

# Worst cosine that a healthy bundle shows, by the precision of its engines.
MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.99, "int8": 0.95, "fp8": 0.95}
CPU_FEATURES = (
    "avx2",
    "f16c",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
)


@click.command("doctor")
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@click.option(
    "--min-cosine", type=click.FloatRange(-1, 1), help="Fail below; default: by precision."
)
@engine_options
def command(bundle: str | None, as_json: bool, min_cosine: float | None, **engine: Any) -> int:
    """Rerun a bundle's golden vectors through the core and compare with full precision.

    Exit code 1 when an output's worst cosine is below the limit.
    """
    from vljepa_edge.runtime import golden
    from vljepa_edge.runtime.bundle import default_bundle
    from vljepa_edge.runtime.model import load

    machine = environment()
    if not as_json:
        for name, value in machine.items():
            click.echo(f"{name:<13}{value}")
    path = Path(bundle) if bundle else default_bundle()
    vectors = golden.read_golden(path)
    with load(path, threads=engine["threads"], **placement(engine)) as model:
        about = model.description
        limit = MIN_COSINE.get(about.precision, 0.95) if min_cosine is None else min_cosine
        if not as_json:
            click.echo(f"{'bundle':<13}{path}: {about.name} {about.precision} on {about.backend}\n")
            click.echo(f"{'output':<34}{'shape':<20}{'worst cosine':>14}{'max abs':>12}")
        results = []
        for result in golden.rerun(model, vectors):
            results.append(result)
            if not as_json:
                click.echo(_line(result, limit))
    failed = [result.name for result in results if not result.cosine >= limit]
    if as_json:
        content = {
            "environment": machine,
            "bundle": str(path),
            "bundle_sha256": about.bundle_sha256,
            "backend": about.backend,
            "min_cosine": limit,
            "results": [dataclasses.asdict(result) for result in results],
            "failed": failed,
        }
        click.echo(json.dumps(content))
    elif not failed:
        click.echo(f"\nall {len(results)} outputs agree (cosine at least {limit})")
    if failed:
        names = ", ".join(failed)
        click.echo(f"vljepa: {path}: below cosine {limit}: {names}; export it again", err=True)
    return 1 if failed else 0


def _line(result: object, limit: float) -> str:
    from vljepa_edge.runtime.golden import Comparison

    assert isinstance(result, Comparison)
    shape = "x".join(map(str, result.shape))
    mark = "" if result.cosine >= limit else "  <- below"
    line = f"{result.name:<34}{shape:<20}{result.cosine:>14.6f}{result.max_abs:>12.2e}{mark}"
    return f"{line}  {result.detail}".rstrip()


def environment() -> dict[str, str]:
    """Versions and CPU features that a report of trouble should tell."""
    from vljepa_edge.runtime._core import ffi, lib
    from vljepa_edge.runtime.library import find_onnxruntime, find_openvino

    core: bytes = ffi.string(lib.vlj_version())
    found = {
        "vljepa-edge": f"{_version('vljepa-edge')} (core {core.decode()})",
        "onnxruntime": f"{_version('onnxruntime')} ({find_onnxruntime() or 'not found'})",
        "openvino": f"{_version('openvino')} ({find_openvino() or 'not found'})",
        "opencv": _version("opencv-python-headless"),
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    name, flags = _cpu()
    found["cpu"] = f"{name or 'unknown'}, {os.cpu_count()} threads"
    found["cpu features"] = " ".join(f for f in CPU_FEATURES if f in flags) or "none known"
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> tuple[str, set[str]]:
    """Model name and feature flags, as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor(), set()
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    flags = facts.get("flags", facts.get("features", ""))
    return facts.get("model name", platform.processor()), set(flags.split())
