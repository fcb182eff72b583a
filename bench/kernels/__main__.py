"""The command `python -m vljepa_edge.bench.kernels [frame-in] [nearest] [pool] --json FILE`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# Read by BLAS and OpenMP when they are loaded, which is before this file can run: start anew.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    """Runs what was asked for, prints medians and ratios, and writes raw samples."""
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.bench.kernels")
    parser.add_argument("what", nargs="*", help="frame-in, nearest, pool; none: all three")
    parser.add_argument("--json", type=Path, help="where results and raw samples are written")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rows", type=int, default=100_000, help="of the bank in `nearest`")
    options = parser.parse_args()
    known = ("frame-in", "nearest", "pool")
    for name in options.what:
        if name not in known:
            parser.error(f"{name!r} is not one of {', '.join(known)}")
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ONE_THREAD})

    from ..conditions import machine, snapshot
    from . import frame_in, native, nearest, pool

    result: dict[str, Any] = {"machine": machine(), "before": snapshot()}
    with tempfile.TemporaryDirectory() as folder:
        library = native.build(Path(folder))
        for name in options.what or known:
            if name == "frame-in":
                result[name] = frame_in.measure(library, options.rounds)
            elif name == "nearest":
                result[name] = nearest.measure(options.rows, options.rounds)
            else:
                result[name] = pool.measure(library, options.rounds)
            shown = {key: value for key, value in result[name].items() if key != "samples_ms"}
            print(json.dumps(shown, indent=2), flush=True)
    result["after"] = snapshot()
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
