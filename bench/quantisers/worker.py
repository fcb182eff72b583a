"""Runs one of the other quantisers on one graph. A script, for the interpreter that has that tool:

    PYTHON worker.py TOOL MODEL.onnx DATA.npz OUTPUT.onnx [THREADS]

DATA holds an array [windows, ...] for each input, whose first axis is split into runs. Prints one
line of JSON: the tool's version, and the seconds that quantising took without importing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Feeds = list[dict[str, npt.NDArray[Any]]]


def main() -> None:
    """Quantises as the command line says."""
    tool, model, data, output = sys.argv[1:5]
    with np.load(data) as stored:
        arrays = {name: stored[name] for name in stored.files}
    count = len(next(iter(arrays.values())))
    feeds = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]
    run, version = TOOLS[tool]()
    started = time.monotonic()
    run(Path(model), feeds, Path(output))
    print(json.dumps({"version": version, "seconds": time.monotonic() - started}))


Run = Callable[[Path, Feeds, Path], None]


def _onnxruntime(linear_only: bool) -> tuple[Run, str]:
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feeds: Feeds) -> None:
            self._feeds: Iterator[dict[str, Any]] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    def run(model: Path, feeds: Feeds, output: Path) -> None:
        if not linear_only:
            quantize_static(str(model), str(output), Reader(feeds))
            return
        graph = onnx.load(model).graph
        stored = {tensor.name for tensor in graph.initializer}
        nodes = [n.name for n in graph.node if n.op_type == "MatMul" and n.input[1] in stored]
        quantize_static(
            str(model),
            str(output),
            Reader(feeds),
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )

    return run, f"onnxruntime {onnxruntime.__version__}"


def _nncf() -> tuple[Run, str]:
    import nncf
    import onnx

    def run(model: Path, feeds: Feeds, output: Path) -> None:
        quantised = nncf.quantize(
            onnx.load(model),
            nncf.Dataset(feeds),
            subset_size=len(feeds),
            model_type=nncf.ModelType.TRANSFORMER,
        )
        onnx.save(quantised, output)

    return run, f"nncf {nncf.__version__}"


def _modelopt(method: str) -> tuple[Run, str]:
    import modelopt
    import modelopt.onnx.quantization as modelopt_quantization

    def run(model: Path, feeds: Feeds, output: Path) -> None:
        data = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        modelopt_quantization.quantize(
            str(model),
            quantize_mode="int8",
            calibration_data=data,
            calibration_method=method,
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            output_path=str(output),
        )

    return run, f"nvidia-modelopt {modelopt.__version__}"


TOOLS: dict[str, Callable[[], tuple[Run, str]]] = {
    "onnxruntime": lambda: _onnxruntime(False),
    "onnxruntime-linear": lambda: _onnxruntime(True),
    "nncf": _nncf,
    "modelopt-max": lambda: _modelopt("max"),
    "modelopt-entropy": lambda: _modelopt("entropy"),
}

if __name__ == "__main__":
    main()
