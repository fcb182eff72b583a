"""The CUDA kernels compile for Orin, Hopper and Thor without spilling.

tests/c/test_cuda_arithmetic.c runs what they compute, on the CPU; no test here has a GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from native import ROOT

ARCHITECTURES = (87, 90, 110)
KERNELS = ("vlj_pool_partial", "vlj_pool_project", "vlj_nv12_window")
MOST_REGISTERS = 64  # 1024 threads of a multiprocessor's 65,536 registers: 4 blocks of 256


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
def test_registers_and_spills(tmp_path: Path) -> None:
    targets = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in ARCHITECTURES]
    include = [f"-I{ROOT / 'kernels'}", f"-I{ROOT / 'kernels' / 'cuda'}"]
    source = ROOT / "kernels" / "cuda" / "kernels.cu"
    out = tmp_path / "kernels.fatbin"
    flags = ["-std=c++17", "-O3", "-fatbin", "-Xptxas", "-v", *targets, *include]
    built = subprocess.run(
        ["nvcc", *flags, source, "-o", out],
        check=True,
        capture_output=True,
        text=True,
    )
    assert out.stat().st_size > 10_000
    found = re.findall(
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, "
        r"(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers",
        built.stderr,
        flags=re.DOTALL,
    )
    assert {(name, int(arch)) for name, arch, *_ in found} == {
        (name, arch) for name in KERNELS for arch in ARCHITECTURES
    }
    for name, arch, stack, stores, loads, registers in found:
        assert (stack, stores, loads) == ("0", "0", "0"), (name, arch)
        assert int(registers) <= MOST_REGISTERS, (name, arch, registers)
