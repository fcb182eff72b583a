"""Nothing is copied between a picture and its embedding: the stream's counters over real engines.

Pointers are compared in tests/c/test_copies.c; here ONNX Runtime and OpenVINO tell by their own
tensors' addresses whether they work on the core's buffers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vljepa_edge.runtime.library import CACHE_ENVIRONMENT, find_openvino
from vljepa_edge.runtime.model import load
from vljepa_edge.runtime.options import StreamOptions
from vljepa_edge.runtime.stats import StreamStats


def watch(bundle: Path, backend: str, options: StreamOptions) -> StreamStats:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    with load(bundle, backend=backend, threads=1) as model:
        source = [(picture, i * 20_000_000) for i, picture in enumerate(pictures)]
        with model.stream(source, options=options) as stream:
            for _ in stream:
                pass
            return stream.stats()


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize("realtime", [False, True])
def test_engines_work_on_the_cores_buffers(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    realtime: bool,
) -> None:
    if backend == "openvino" and find_openvino() is None:
        pytest.skip("the openvino wheel is not installed (extra [openvino])")
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path))
    stats = watch(tiny_bundle, backend, StreamOptions(text="none", realtime=realtime, fps=50.0))
    assert stats.windows >= 1
    with load(tiny_bundle, components=["x_encoder", "predictor"]) as model:
        about = model.description
    # Neither frames nor visual tokens; an embedding goes into the gate's history, and some frames
    # lie twice in the ring, so that every window is in one piece.
    assert set(stats.bytes_copied) <= {"frame", "gate"}
    assert stats.bytes_copied["gate"] == stats.windows * about.embedding_width * 4
    frame = 3 * about.height * about.width
    assert stats.bytes_copied.get("frame", 0) % frame == 0
    assert stats.bytes_copied.get("frame", 0) < stats.frames_sampled * frame
