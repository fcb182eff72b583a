"""The kernels as a small library over ctypes, built with the extension's own flags.

Kernels that no public function reaches are timed through it: it takes a source tree and a C
compiler.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ("error", "hooks", "preprocess")


def build(folder: Path) -> ctypes.CDLL:
    """Compiles kernels and preprocessing into `folder` and loads them."""
    sources = [*sorted((ROOT / "kernels").glob("*.c")), Path(__file__).with_name("read_all.c")]
    sources += [ROOT / "runtime" / "core" / f"{name}.c" for name in CORE]
    include = [f"-I{ROOT / part}" for part in ("runtime/include", "runtime/core", "kernels")]
    library = folder / "kernels.so"
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O3", "-fPIC", "-shared", *include]
    subprocess.run([*command, *map(str, sources), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))
