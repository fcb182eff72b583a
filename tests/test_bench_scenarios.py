"""Scenarios end to end at short lengths, and the arithmetic of those that search or last long."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vljepa_edge.bench.results import Run
from vljepa_edge.bench.scenarios import paced
from vljepa_edge.bench.scenarios.launch import COLD_STARTS, _memory_slope, run_scenario
from vljepa_edge.bench.scenarios.paced import Seen, multi
from vljepa_edge.bench.scenarios.recorder import Recorder, read_lines
from vljepa_edge.bench.scenarios.spec import Spec


class Pretended:
    """In place of a model: eight frames a second, a window each fourth."""

    description = SimpleNamespace(fps=8.0, stride=4)

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def searched(
    monkeypatch: pytest.MonkeyPatch, path: Path, capacity: int, cameras: int = 16, **seen: Any
) -> tuple[int, list[int], list[dict[str, Any]]]:
    """What `multi` finds where a machine keeps up with so many cameras: (found, tried, lines)."""
    tried: list[int] = []

    def watch(model: object, spec: Spec, pictures: object, count: int, *_: object) -> list[Seen]:
        tried.append(count)
        late = 600.0 if count > capacity else 100.0 + count
        return [Seen(embedding_ms=[late] * 8, **seen) for _ in range(count)]

    monkeypatch.setattr(paced, "watch", watch)
    monkeypatch.setattr(paced, "pictures_for", lambda spec: [])
    monkeypatch.setattr(paced, "open_model", lambda spec: Pretended())
    recorder = Recorder(path)
    assert multi(Spec("multi", "b", cameras=cameras), recorder, threading.Event(), None)
    recorder.close(done=True)
    lines = read_lines(path)
    found = [line["value"] for line in lines if line.get("counter") == "cameras"][-1]
    return int(found), tried, lines


@pytest.mark.parametrize(
    ("capacity", "tried"),
    [
        (0, [1]),
        (1, [1, 2]),
        (5, [1, 2, 4, 8, 6, 5]),
        (7, [1, 2, 4, 8, 6, 7]),
        (11, [1, 2, 4, 8, 16, 12, 10, 11]),
        (99, [1, 2, 4, 8, 16]),
    ],
)
def test_multi_finds_the_most_cameras_in_few_trials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capacity: int, tried: list[int]
) -> None:
    found, really, lines = searched(monkeypatch, tmp_path / "l", capacity)
    assert found == min(capacity, 16) and really == tried
    # The samples are those of all cameras of the best trial.
    kept = [value for line in lines if line.get("samples") for value in line["values"]]
    assert kept == [100.0 + found] * 8 * found
    limits = [line["value"] for line in lines if line.get("counter") == "deadline_ms"]
    assert limits == [500.0]  # four frames at eight a second


def test_multi_lets_no_window_drop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, tried, _ = searched(monkeypatch, tmp_path / "l", 16, windows_dropped=1)
    assert (found, tried) == (0, [1])


def test_memory_slope_is_of_the_last_two_thirds() -> None:
    # Opening grows it by 100 MB in half a minute; then 1 MB a minute.
    timeline: list[dict[str, float | None]] = [
        {"t_s": float(t), "rss_mb": 100.0 + min(t, 30) * 10 / 3 + max(0, t - 30) / 60}
        for t in range(120)
    ]
    assert _memory_slope(timeline) == pytest.approx(60.0, rel=0.01)
    assert _memory_slope(timeline[:40]) is None
    assert _memory_slope([]) is None


@pytest.fixture(scope="module")
def spec(tiny_bundle: Path) -> Spec:
    return Spec("single", str(tiny_bundle), threads=1, seconds=2.0, warmup_s=0.3, cameras=2)


def ran(spec: Spec, scenario: str) -> Run:
    run, finished = run_scenario(dataclasses.replace(spec, scenario=scenario), "tiny")
    assert finished, run.validity
    return run


def test_burst_asks_for_a_text_at_every_window(spec: Spec) -> None:
    run = ran(spec, "burst")
    assert run.headline == "text_latency_ms" and run.samples["text_latency_ms"]
    assert run.counters["decodes"] and run.counters["shifts"] == run.counters["windows"]
    asked = (run.counters["decodes"] or 0) + (run.counters["decodes_superseded"] or 0)
    assert asked >= len(run.samples["text_latency_ms"])
    assert run.samples["stage.prefill_ms"] and run.samples["stage.tokens_ms"]
    assert run.counters["decode_duty"] and 0 < run.counters["decode_duty"] <= 1.05


def test_soak_records_memory_and_conditions(spec: Spec) -> None:
    run = ran(dataclasses.replace(spec, seconds=3.5), "soak")
    assert len(run.timeline) >= 2 and all(point["rss_mb"] for point in run.timeline)
    assert run.samples["embedding_latency_ms"] and run.samples["staleness_ms"]
    assert run.counters["rss_slope_mb_per_hour"] is None  # too short to tell
    assert run.counters["allocations"] == 0
    assert run.counters["deadline_misses"] is not None
    assert run.conditions["start"]["rss_mb"] and run.conditions["end"]["rss_mb"]


def test_multi_on_a_real_bundle(spec: Spec) -> None:
    run = ran(spec, "multi")
    assert run.counters["cameras"] in (0, 1, 2)
    assert next(point["cameras"] for point in run.timeline if "cameras" in point) == 1
    assert bool(run.samples.get("embedding_latency_ms")) == bool(run.counters["cameras"])


def test_cold_starts_are_processes_of_their_own(spec: Spec) -> None:
    run = ran(spec, "cold")
    parts = ("process_ms", "open_ms", "first_embedding_ms", "first_text_ms")
    assert {len(run.samples[name]) for name in parts} == {COLD_STARTS}
    for process, opened, embedding, text in zip(*(run.samples[n] for n in parts), strict=True):
        assert process + opened < embedding < text
    assert "too few" not in str(run.validity)


def test_an_interrupted_cold_start_keeps_those_before(spec: Spec) -> None:
    starts = 0

    def progress(seconds: float) -> None:
        nonlocal starts
        starts += seconds < 0.3  # the first call of each process
        if starts > 2:
            raise KeyboardInterrupt

    run, finished = run_scenario(dataclasses.replace(spec, scenario="cold"), "t", progress=progress)
    assert not finished and "interrupted" in str(run.validity)
    assert 1 <= len(run.samples["first_embedding_ms"]) < COLD_STARTS
