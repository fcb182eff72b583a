"""bench/speed.py: ratios, limits and verdicts by hand; the core's share on the packaged bundle.

Its groups of peers are those of bench/peers, which have tests of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vljepa_edge.bench import speed
from vljepa_edge.bench.peers.forms import BF16, EAGER, ORT, SDPA
from vljepa_edge.bench.results import Run
from vljepa_edge.export.origin import random_weights
from vljepa_edge.model.config import nano


def run(name: str, *samples: float) -> Run:
    made = Run("peers", name, {}, "window_ms")
    made.samples["window_ms"] = list(samples)
    return made


def test_ratios_pair_rounds_and_count_the_gate() -> None:
    ours = run("nano", 9.0, 19.0, 9.0)
    found = speed.ratios([run(EAGER, 40.0, 100.0, 60.0), run(SDPA, 1.0), ours], ours, gate_ms=1.0)
    assert found == {EAGER: 5.0}  # 4, 5 and 6; another number of rounds is no pair


def test_verdicts() -> None:
    found = {EAGER: 9.5, SDPA: 7.0, BF16: 2.0, ORT: 1.5}
    lines = speed.verdicts("paper", found, share=0.01, fraction=0.9)
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["yes", "NO", "yes", "yes"]
    assert "1.5, wanted at least 1.4" in lines[2]  # the best of the others counts
    lines = speed.verdicts("nano", {}, share=0.03, fraction=0.5)
    assert lines[0].endswith("not measured") and lines[1].endswith("at most 0.02: NO")


def test_limit_is_products_over_peaks() -> None:
    origin = random_weights(nano(), 0)
    peaks = {"fp32_gops": 10.0, "bf16_gops": 20.0, "int8_gops": 40.0}
    int8 = speed.limit_ms(origin, 8, peaks, int8=True)
    fp32 = speed.limit_ms(origin, 8, peaks, int8=False)
    assert 2.0 < fp32 / int8 < 4.0  # between attention's gain and that of the weights
    doubled = {name: 2 * rate for name, rate in peaks.items()}
    assert speed.limit_ms(origin, 8, doubled, int8=True) == pytest.approx(int8 / 2)


def test_peaks_are_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(speed, "SIZES", ((64, 64, 64),))
    monkeypatch.setattr(speed, "PEAK_SECONDS", 0.01)
    found = speed.gemm_peaks(1)
    assert set(found) == {"fp32_gops", "bf16_gops", "int8_gops"}
    assert all(0 < rate < 1e6 for rate in found.values())


def test_the_cores_share(nano_bundle: Path) -> None:
    found = speed.core_share(nano_bundle, "ort", 1, 4)
    assert found["windows"] == 4
    stages = found["stages"]
    assert {"frame", "encode", "predict", "gate", "window", "overhead"} <= set(stages)
    assert stages["overhead"]["mean_ns"] < stages["window"]["mean_ns"]
    assert 0 < found["own_share"] < found["own_share_with_frames"] < 1
    assert found["bytes_copied"].get("encode", 0) == 0


def test_queries_are_made_as_long_as_asked(nano_bundle: Path) -> None:
    with speed.load(nano_bundle, components=["x_encoder", "predictor"]) as model:
        own = speed.query_rows(model, None)
        longer = speed.query_rows(model, len(own) + 3)
    assert np.array_equal(longer[: len(own)], own) and np.array_equal(longer[-3:], own[:3])
