"""Runs a scenario in a process of its own and makes a `Run` of what it recorded."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..results import Run
from ..statistics import judge, samples_needed, slope_per_hour
from . import SCENARIOS
from .recorder import read_lines
from .spec import Spec

COLD_STARTS = 5
GRACE_S = 15.0  # for a process to write down what it has
Progress = Callable[[float], None]


class ScenarioError(RuntimeError):
    """The measuring process could not do its work; the message is its own.

    `usage`: what it was given is wrong.
    """

    def __init__(self, message: str, usage: bool) -> None:
        super().__init__(message)
        self.usage = usage


def run_scenario(
    spec: Spec,
    subject: str,
    *,
    trace: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Run, bool]:
    """The run, and False where it was interrupted (Ctrl-C): it then holds what was measured.

    Raises ScenarioError where the process failed before it measured anything.
    """
    starts = COLD_STARTS if spec.scenario == "cold" else 1
    spec = dataclasses.replace(spec, trace=trace is not None)
    lines: list[dict[str, Any]] = []
    finished = True
    with tempfile.TemporaryDirectory(prefix="vljepa-bench-") as folder:
        for number in range(starts):
            path = Path(folder) / f"{number}.jsonl"
            finished = _one_process(spec, path, progress)
            lines += read_lines(path) if path.exists() else []
            recorded = path.with_suffix(".trace.json")
            if trace is not None and recorded.exists():
                trace.write_bytes(recorded.read_bytes())
            if not finished:
                break
    run = _run(spec, subject, lines, starts)
    errors = [line["value"] for line in lines if line.get("note") == "error"]
    if errors and not run.samples:
        usage = errors[0]["type"] in ("ArgumentError", "BundleError")
        raise ScenarioError(f"{spec.scenario}: {errors[0]['message']}", usage)
    return run, finished


def _one_process(spec: Spec, path: Path, progress: Progress | None) -> bool:
    """False: the user stopped it."""
    spec = dataclasses.replace(spec, spawned_ns=time.monotonic_ns())
    module = "vljepa_edge.bench.scenarios.worker"
    # Of its own session: Ctrl-C reaches this process, which passes it on once.
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(path), spec.to_json()],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    began = time.monotonic()
    try:
        while True:
            try:
                process.wait(0.2)
                return True
            except subprocess.TimeoutExpired:
                if progress is not None:
                    progress(time.monotonic() - began)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        return False
    finally:
        if process.poll() is None:
            process.kill()


def _run(spec: Spec, subject: str, lines: list[dict[str, Any]], starts: int) -> Run:
    headline = SCENARIOS[spec.scenario][0]
    run = Run(spec.scenario, subject, spec.settings(), headline)
    for line in lines:
        if "samples" in line:
            kept = run.warmup if line["warmup"] else run.samples
            kept.setdefault(line["samples"], []).extend(line["values"])
        elif "counter" in line:
            run.counters[line["counter"]] = line["value"]
        elif "point" in line:
            run.timeline.append(line["point"])
        elif line.get("note") in ("start", "end"):
            run.conditions[line["note"]] = line["value"]
        elif line.get("note") == "energy":
            run.energy = line["value"]
    run.counters["rss_slope_mb_per_hour"] = _memory_slope(run.timeline)
    done = sum("done" in line for line in lines)
    start, end = (run.conditions.get(name) or {} for name in ("start", "end"))
    before, after = start.get("throttle_events"), end.get("throttle_events")
    run.validity = judge(
        run.samples.get(headline, []),
        needed=COLD_STARTS if spec.scenario == "cold" else samples_needed(50),
        background_cores=run.counters.get("background_cores"),
        clock_start_mhz=start.get("clock_mhz"),
        clock_end_mhz=end.get("clock_mhz"),
        throttle_events=None if before is None or after is None else after - before,
        interrupted=done < starts,
        # Texts and staleness come in waves; back to back and paced windows must not.
        drift_matters=spec.scenario in ("single", "paced", "soak"),
    )
    return run


def _memory_slope(timeline: list[dict[str, float | None]]) -> float | None:
    """MB an hour over the last two thirds (opening the model grows memory as well).

    None when those are shorter than half a minute.
    """
    times: list[float] = []
    sizes: list[float] = []
    for point in timeline[len(timeline) // 3 :]:
        at, size = point.get("t_s"), point.get("rss_mb")
        if at is not None and size is not None:
            times.append(at)
            sizes.append(size)
    if not times or times[-1] - times[0] < 30:
        return None
    return slope_per_hour(times, sizes)
