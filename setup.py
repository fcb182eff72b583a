"""Builds the Python package: maps the layer folders to sub-packages and compiles the C core as one
cffi extension.

Metadata live in pyproject.toml. This file only says what a static file cannot: the folders of the
layers (`runtime/` is imported as `vljepa_edge.runtime`, and so on) and the C sources.

Environment switches:
    VLJEPA_WITHOUT_CORE=1     install the Python files alone, compile nothing (for linting)
    VLJEPA_SANITIZE=address,undefined   compile the extension with these sanitizers
    VLJEPA_DEBUG=1            -O0 -g instead of -O3
    CC, CFLAGS, LDFLAGS       as everywhere
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# Each folder is a layer: it imports only from those before it (tests/test_house.py checks that).
LAYERS = (
    "kernels",
    "runtime",
    "world",
    "model",
    "export",
    "calibration",
    "assistant",
    "bench",
)


def package_map() -> dict[str, str]:
    """Package name -> folder, for `vljepa_edge`, its layers and everything below them."""
    folders = {"vljepa_edge": "vljepa_edge"}
    for name in LAYERS:
        if (ROOT / name / "__init__.py").exists():
            folders[f"vljepa_edge.{name}"] = name
    for package, folder in list(folders.items()):
        for child in find_packages(str(ROOT / folder)):
            folders[f"{package}.{child}"] = f"{folder}/{child.replace('.', '/')}"
    return folders


def check_headers() -> None:
    """Says what to install where the compiler would only say that Python.h is missing."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").exists():
        raise SystemExit(
            f"vljepa-edge: {folder}/Python.h is missing, and the C core needs it to build; "
            "on Debian and Ubuntu: apt install python3-dev"
        )


if __name__ == "__main__":
    folders = package_map()
    without_core = os.environ.get("VLJEPA_WITHOUT_CORE") == "1"
    if not without_core:
        check_headers()
    setup(
        packages=sorted(folders),
        package_dir=folders,
        package_data={
            "vljepa_edge": ["py.typed", "bundles/*/*"],
            "vljepa_edge.runtime": ["include/*.h", "*.pyi"],
            "vljepa_edge.world": ["atlas/*"],
            "vljepa_edge.export": ["*.json"],
            "vljepa_edge.bench.devices": ["*.json"],
            "vljepa_edge.assistant.server": ["page/*"],
        },
        cffi_modules=[] if without_core else ["runtime/build_ffi.py:ffibuilder"],
        options={} if without_core else {"bdist_wheel": {"py_limited_api": "cp310"}},
        zip_safe=False,
    )
