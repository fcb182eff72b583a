"""Full precision and plain exports in turns with a bundle; this machine as a device."""

from __future__ import annotations

from pathlib import Path

import pytest
from vljepa_edge.bench import peers
from vljepa_edge.bench.devices.analytic import predict
from vljepa_edge.bench.devices.host import Peaks, as_device, measure_peaks
from vljepa_edge.bench.devices.operators import components, encoder
from vljepa_edge.bench.report import rows
from vljepa_edge.bench.results import Results
from vljepa_edge.model.config import nano
from vljepa_edge.runtime.model import load


def test_peers_compute_the_same_as_the_bundle(
    tiny_bundle: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def no_compiler(part: object) -> object:
        raise RuntimeError("no compiler in this test")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with load(tiny_bundle, threads=1) as model:
        runs, missing = peers.measure_peers(
            model, tiny_checkpoint, name="the bundle", threads=1, rounds=3
        )
    assert missing[0].startswith("torch.compile: RuntimeError")
    by_name = {run.subject: run for run in runs}
    assert next(iter(by_name)) == "PyTorch FP32 eager" and "the bundle" in by_name
    assert "plain export, ONNX Runtime" in by_name
    for name, run in by_name.items():
        cosine = run.counters["cosine"]
        assert cosine is not None and cosine > (0.99 if "BF16" in name else 0.9999), name
        assert {len(values) for values in run.samples.values()} == {3}
        for whole, *parts in zip(
            run.samples["window_ms"],
            run.samples["encode_ms"],
            run.samples["predict_ms"],
            strict=True,
        ):
            assert whole == pytest.approx(sum(parts), abs=0.01)
    table = rows.peer_rows(Results("", [], {}, runs=runs))
    assert table[0][5] == "1.00× as fast" and len(table) == len(runs)


def test_peaks_of_this_machine_predict_as_the_formula_says() -> None:
    peaks = Peaks(2, fp32_gflops=100, int8_gops=400, bandwidth_gb_s=1e6, exp_g_s=1, pass_us=10)
    device = as_device(peaks)
    part = encoder(nano())
    exps = 6 * 3 * 256 * 256 / 1e9
    expected = part.flops / 100e9 + exps + 6 * 20 * 10e-6
    assert predict(device, part, "fp32").realistic_s == pytest.approx(expected, rel=1e-3)
    faster = part.linear_flops / 400e9 + part.attention_flops / 100e9 + exps + 6 * 20 * 10e-6
    assert predict(device, part, "int8").realistic_s == pytest.approx(faster, rel=1e-3)


def test_peaks_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vljepa_edge.bench.devices.host.ROUNDS", 3)
    peaks = measure_peaks(nano(), 1)
    assert peaks.fp32_gflops > 0.1 and peaks.int8_gops > 0.1
    assert peaks.bandwidth_gb_s > 0.01 and peaks.exp_g_s > 0.001 and peaks.pass_us > 0
    seconds = [predict(as_device(peaks), part, "fp32").realistic_s
               for part in components(nano(), 4)[:2]]  # fmt: skip
    assert all(0 < one < 60 for one in seconds)
