"""Percentiles, intervals and verdicts of the bench; its meters and conditions."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vljepa_edge.bench import conditions, energy
from vljepa_edge.bench.results import Results, ResultsError, Run, read_results
from vljepa_edge.bench.statistics import (
    bootstrap_interval,
    drift,
    judge,
    percentile,
    samples_needed,
    slope_per_hour,
    summarize,
)


def test_samples_needed() -> None:
    assert [samples_needed(p) for p in (50, 90, 95, 99, 99.9)] == [20, 100, 200, 1000, 10000]


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=300),
    st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]),
)
def test_percentile_is_the_nearest_rank(values: list[float], p: float) -> None:
    found = percentile(values, p)
    expected = np.percentile(values, p, method="inverted_cdf")
    assert found == expected and found in values


def test_percentiles_are_told_only_with_enough_samples() -> None:
    told = summarize(np.arange(1, 200))
    assert (told.p50, told.p90, told.p95, told.p99) == (100, 180, None, None)
    assert summarize([1.0] * 19).p50 is None
    assert summarize([]).count == 0


def test_interval_holds_the_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(40):
        low, high = bootstrap_interval(rng.lognormal(size=200), seed=seed)
        held += low <= 1.0 <= high
    assert 32 <= held <= 40


def test_verdicts() -> None:
    steady = [10.0] * 100
    assert judge(steady).valid
    assert "too few samples: 5, wanted 20" in str(judge([1.0] * 5))
    assert "background load" in str(judge(steady, background_cores=1.2))
    assert "throttling" in str(judge(steady, clock_start_mhz=2000, clock_end_mhz=1500))
    assert "throttling" in str(judge(steady, throttle_events=3))
    assert "interrupted" in str(judge(steady, interrupted=True))
    assert "drifted by +50%" in str(judge([10.0] * 50 + [15.0] * 50))
    assert judge(steady, background_cores=None, clock_start_mhz=None).valid


def test_drift_and_slope() -> None:
    assert drift([1.0] * 30 + [2.0] * 30) == pytest.approx(1.0)
    assert slope_per_hour([0, 10, 20], [100, 101, 102]) == pytest.approx(360)
    assert slope_per_hour([0, 1], [1, 2]) is None


def test_conditions_of_this_machine() -> None:
    machine = conditions.machine()
    assert machine["cpu"] and machine["threads"] >= machine["usable_threads"] >= 1
    assert machine["libraries"]["numpy"] == np.__version__
    json.dumps(machine)
    now = conditions.snapshot()
    assert now["rss_mb"] > 5 and conditions.peak_rss_mb() >= now["rss_mb"] * 0.5


def test_own_work_is_no_background_load() -> None:
    clock = conditions.BusyClock.now()
    before = conditions._own_busy_s()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    assert conditions._own_busy_s() > before
    found = clock.background_cores()
    assert found is None or found >= 0


def test_no_meter_is_none_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kind in ("RaplMeter", "Ina3221Meter", "NvmlMeter"):

        def absent(kind: str = kind) -> None:
            raise OSError(f"no {kind}")

        monkeypatch.setattr(energy, kind, absent)
    meter, reason = energy.find_meter()
    assert meter is None and "INA3221: no Ina3221Meter" in reason and "RAPL" in reason
    found = energy.EnergyRun(meter, reason).result()
    assert found.gross_j is None and found.net_j is None and found.reason == reason


def test_rapl_counts_and_wraps(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("999999\n")
    counter = zone / "energy_uj"
    counter.write_text("900000\n")
    meter = energy.RaplMeter(tmp_path)
    run = energy.EnergyRun(meter, "", idle_w=0.0)
    counter.write_text("100000\n")  # wrapped
    found = run.result()
    assert found.gross_j == pytest.approx(0.2) and found.net_j == pytest.approx(0.2)
    with pytest.raises(OSError, match="no RAPL zone"):
        energy.RaplMeter(tmp_path / "none")


def test_ina3221_integrates_watts(tmp_path: Path) -> None:
    folder = tmp_path / "1-0040" / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    for number, label, mv, ma in ((1, "VDD_IN", 5000, 2000), (2, "VDD_CPU_GPU_CV", 5000, 1000)):
        (folder / f"in{number}_label").write_text(label + "\n")
        (folder / f"in{number}_input").write_text(f"{mv}\n")
        (folder / f"curr{number}_input").write_text(f"{ma}\n")
    started = time.monotonic()
    meter = energy.Ina3221Meter(tmp_path, period_s=0.01)
    assert meter.name == "INA3221 VDD_IN" and meter.watts() == 10
    time.sleep(0.05)
    joules = meter.joules()
    meter.close()
    assert 0.4 <= joules <= 10 * (time.monotonic() - started)


def test_results_come_back(tmp_path: Path) -> None:
    run = Run("single", "nano int8", {"threads": 1}, "window_ms", {"window_ms": [1.0, 2.5]})
    run.validity = judge(run.samples["window_ms"])
    path = tmp_path / "r.json"
    Results("2026-01-01T00:00:00Z", ["bench"], {"cpu": "x"}, runs=[run]).write(path)
    back = read_results(path)
    assert back.runs[0].samples == run.samples and not back.runs[0].validity.valid
    assert json.loads(path.read_text())["runs"][0]["summary"]["window_ms"]["max"] == 2.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "not JSON"),
        ('{"schema": "other"}', "schema 'other', wanted 'vljepa-bench'"),
        ("[]", "schema 'list'"),
        ('{"schema": "vljepa-bench", "schema_version": 99}', "schema version 99"),
        ('{"schema": "vljepa-bench", "schema_version": 1}', "missing or wrong"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=sentence):
        read_results(path)
