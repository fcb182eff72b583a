"""What every form of report shows: results as rows of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..devices.check import CheckedPoint
from ..devices.table import DevicePrediction
from ..results import Results, Run
from ..scenarios import SCENARIOS
from ..statistics import Summary

Row = list[str]

STAGES = ("frame", "encode", "predict", "gate", "prefill", "tokens")
RUN_HEADER = [
    "what", "scenario", "threads", "n", "p50 ms [95 %]", "p90", "p99", "mean", "max", "verdict"
]  # fmt: skip
DEVICE_HEADER = [
    "device", "frames", "precision", "bound ms", "realistic ms", "encode", "predict",
    "keeps up to fps", "at W", "at the model's fps", "J/window",
]  # fmt: skip
PEER_HEADER = [
    "what", "n", "encode ms", "predict ms", "both ms", "of the first row", "cosine", "verdict"
]  # fmt: skip
COUNTERS = {
    "cameras": "cameras kept up with",
    "windows_per_s": "windows/s",
    "windows_dropped": "windows dropped",
    "deadline_misses": "deadline misses",
    "decodes_per_minute": "decodes/min",
    "decode_duty": "decode duty",
    "decodes_superseded": "decodes superseded",
    "token_ms": "ms/token",
    "peak_rss_mb": "peak RSS MB",
    "rss_slope_mb_per_hour": "RSS slope MB/h",
    "allocations": "allocations",
    "background_cores": "background cores",
}


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    if value is None:
        return "–"
    if value and abs(value) < 0.1:
        return f"{value:.3g}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


def told_median(found: Summary) -> str:
    """p50 with its interval, once there are samples enough."""
    if found.p50 is None:
        return "–"
    low, high = found.p50_interval or (None, None)
    return f"{number(found.p50)} [{number(low)}, {number(high)}]"


def run_row(run: Run) -> Row:
    """A scenario's headline."""
    found = run.summary()
    return [
        run.subject,
        run.scenario,
        str(run.settings.get("threads") or "all"),
        str(found.count),
        told_median(found),
        number(found.p90),
        number(found.p99),
        number(found.mean),
        number(found.max),
        str(run.validity),
    ]


def scenario_runs(results: Results) -> list[Run]:
    """Without the peers, which have a table of their own."""
    return [run for run in results.runs if run.scenario in SCENARIOS]


def peer_runs(results: Results) -> list[Run]:
    """Full precision and peers, in the order of measuring."""
    return [run for run in results.runs if run.scenario == "peers"]


def peer_rows(results: Results) -> list[Row]:
    """Each with its ratio to the first of its bundle, by the means of alternated rounds.

    An encoder alone is held against the first one's encoder. Another bundle's peers begin where the
    first subject comes again.
    """
    runs = peer_runs(results)
    rows = []
    first = runs[0] if runs else None
    for run in runs:
        first = run if first is None or run.subject == first.subject else first
        found = run.summary()
        parts = [run.summary(name).mean for name in ("encode_ms", "predict_ms", "window_ms")]
        base = first.summary(run.headline).mean
        ratio = base / found.mean if base and found.mean else None
        alone = " (encoder)" if run.headline == "encode_ms" else ""
        cosine = number(run.counters.get("cosine"), 5)
        rows.append(
            [
                run.subject,
                str(found.count),
                *(number(part) for part in parts),
                f"{number(ratio)}× as fast{alone}" if ratio else "–",
                f"{cosine} (tokens)" if alone and cosine != "–" else cosine,
                str(run.validity),
            ]
        )
    return rows


def stage_medians(run: Run) -> dict[str, float]:
    """Median milliseconds of each stage that ran, whatever the number of samples."""
    medians = {}
    for stage in STAGES:
        values = sorted(run.samples.get(f"stage.{stage}_ms", []))
        if values:
            medians[stage] = values[(len(values) - 1) // 2]
    return medians


def stage_rows(runs: Iterable[Run]) -> list[Row]:
    """One row a run: medians of its stages."""
    rows = []
    for run in runs:
        medians = stage_medians(run)
        if medians:
            cells = [number(medians.get(stage)) for stage in STAGES]
            rows.append([run.subject, run.scenario, *cells])
    return rows


def counter_rows(runs: Iterable[Run]) -> list[Row]:
    """One row a run: its counters in words."""
    rows = []
    for run in runs:
        told = [
            f"{text} {_count(run.counters[name])}"
            for name, text in COUNTERS.items()
            if run.counters.get(name) is not None
        ]
        stale = run.samples.get("staleness_ms")
        if stale:
            told.append(f"staleness at most {number(max(stale))} ms")
        energy = run.energy
        if energy.get("gross_j") is not None:
            told.append(
                f"energy {number(energy['gross_j'])} J gross, {number(energy['net_j'])} net"
            )
        if told:
            rows.append([run.subject, run.scenario, "; ".join(told)])
    return rows


def _count(value: float | None) -> str:
    """Whole numbers whole."""
    return f"{value:,.0f}" if value is not None and value == int(value) else number(value)


def energy_reason(results: Results) -> str | None:
    """Why no energy was measured, once for all runs."""
    reasons = {run.energy.get("reason") for run in scenario_runs(results) if run.energy}
    reasons -= {None, "not measured"}
    return "; ".join(sorted(str(reason) for reason in reasons)) or None


def device_row(row: DevicePrediction | dict[str, Any]) -> Row:
    """A prediction."""
    if isinstance(row, DevicePrediction):
        from dataclasses import asdict

        row = asdict(row)
    parts = row["by_component"]
    fits = "" if row["fits_memory"] else " (does not fit)"
    return [
        row["name"] + fits,
        str(row["frames"]),
        row["precision"],
        number(row["bound_ms"], 1),
        number(row["realistic_ms"], 1),
        number(1e3 * parts["encode"]["realistic_s"], 1),
        number(1e3 * parts["predict"]["realistic_s"], 1),
        number(row["keep_up_fps"], 1),
        number(row["keep_up_w"], 0),
        "too slow" if row["model_fps_w"] is None else f"{row['model_fps_w']:.0f} W",
        number(row["window_j"]),
    ]


HOST_HEADER = ["component", "nodes", "model ms", "measured ms", "error", "model, ms by class"]


def host_row(point: dict[str, Any]) -> Row:
    """A component of a bundle: predicted from measured peaks, and measured."""
    shares = sorted(point["shares_ms"].items(), key=lambda one: -one[1])
    return [
        point["component"],
        str(point["nodes"]),
        number(point["predicted_ms"]),
        number(point["measured_ms"]),
        f"{point['error']:+.1%}",
        ", ".join(f"{kind} {number(ms)}" for kind, ms in shares),
    ]


def told_peaks(peaks: dict[str, Any]) -> str:
    """What the machine reached, in a line."""
    named = {
        "fp32_gflops": "GFLOP/s FP32",
        "int8_gops": "GOP/s INT8",
        "attention_gflops": "GFLOP/s attention",
        "exp_g_s": "G exponentials/s",
        "bandwidth_gb_s": "GB/s of memory",
        "node_us": "us a node",
    }
    told = [f"{number(peaks[name])} {unit}" for name, unit in named.items()]
    told += [f"{number(rate)} GB/s {kind}" for kind, rate in peaks["pass_gb_s"].items()]
    return ", ".join(told) + f"; threads: {peaks['threads'] or 'all'}"


CHECK_HEADER = ["device", "workload", "precision", "published ms", "model ms", "error", "note"]


def check_row(point: CheckedPoint) -> Row:
    """A published point beside the model."""
    return [
        point.device,
        point.workload,
        point.precision,
        number(point.measured_ms),
        number(point.predicted_ms),
        f"{point.error:+.1%}",
        point.note,
    ]


def machine_line(machine: dict[str, Any]) -> str:
    """The conditions in a line."""
    found = [
        str(machine.get("board") or machine.get("cpu")),
        f"{machine.get('usable_threads')} threads",
        " ".join(machine.get("cpu_features") or []),
        str(machine.get("system")),
    ]
    libraries = machine.get("libraries") or {}
    found += [f"{name} {number_}" for name, number_ in libraries.items() if number_]
    if machine.get("git_revision"):
        found.append(f"git {machine['git_revision']}")
    if machine.get("governor"):
        found.append(f"governor {machine['governor']}")
    return " · ".join(part for part in found if part)
