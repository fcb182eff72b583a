"""The process of a group: `python -m vljepa_edge.bench.peers.worker FOLDER GROUP`.

It opens its subjects, then answers one JSON line a line: `{"run": 0, "windows": 5}` with the
milliseconds of so many encodes and predicts in a row, `{"embedding": 0}` with the path of a file.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import subjects
from .forms import bundle_graphs, torch_forms
from .saccadic import saccadic_group
from .subjects import Given, Missing, Subject

GROUPS: dict[str, Callable[[Given], list[Subject | Missing]]] = {
    "torch": subjects.torch_group,
    "plain_export": subjects.plain_export,
    "ort": subjects.ort_group,
    "openvino_f32": partial(subjects.openvino_group, precision="f32"),
    "openvino_bf16": partial(subjects.openvino_group, precision="bf16"),
    "saccadic": saccadic_group,
    "torch_forms": torch_forms,
    "graphs": bundle_graphs,
    "bundle": subjects.bundle_group,
    "without_own_ops": partial(subjects.bundle_group, own_ops=False),
}


def main(folder: Path, group: str) -> int:
    """Until standard input ends."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between our lines

    def tell(**values: Any) -> None:
        output.write(json.dumps({**values, "cpu_s": time.process_time()}) + "\n")

    try:
        opened = GROUPS[group](Given.read(folder))
    except Exception as error:
        tell(error=subjects.first_line(error))
        return 1
    running = [one for one in opened if isinstance(one, Subject)]
    tell(
        subjects=[
            {"name": one.name, "predicts": one.predict is not None} for one in running
        ],
        missing=[[one.name, one.reason] for one in opened if isinstance(one, Missing)],
    )  # fmt: skip
    gc.collect()
    gc.disable()  # a collection belongs to no subject
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "run" in asked:
                subject = running[asked["run"]]
                tell(windows=[_timed(subject) for _ in range(asked["windows"])])
            else:
                tell(file=_embedding(running[asked["embedding"]], folder, group))
        except Exception as error:
            tell(error=subjects.first_line(error))
    return 0


def _timed(subject: Subject) -> dict[str, float | None]:
    start = time.perf_counter()
    subject.encode()
    middle = time.perf_counter()
    if subject.predict is None:
        return {"encode_ms": (middle - start) * 1e3, "predict_ms": None}
    subject.predict()
    end = time.perf_counter()
    return {"encode_ms": (middle - start) * 1e3, "predict_ms": (end - middle) * 1e3}


def _embedding(subject: Subject, folder: Path, group: str) -> str | None:
    if subject.embedding is None:
        return None
    path = folder / f"{group}.embedding.npy"
    np.save(path, subject.embedding())
    return str(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
