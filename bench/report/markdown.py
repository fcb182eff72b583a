"""Results as Markdown, for a terminal and for pasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..devices.check import check_points
from ..results import Results
from . import rows

RULE = (
    "Percentiles: nearest rank, told from 10/(1-p) samples on (p50 20, p90 100, p99 1,000); "
    "[95 %]: block bootstrap of the median. Warm-up apart."
)
PREDICTED = (
    "Predicted by an analytic model, not measured. bound: no device can be faster; realistic: at "
    "the efficiency of published measurements. A window is encode + predict."
)


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    lines = [list(header), *[list(row) for row in body]]
    widths = [max(len(row[i]) for row in lines) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(lines[0]), rule, *[line(row) for row in lines[1:]]])


def render(results: Results) -> str:
    """Every part that the results have."""
    measured = results.runs or results.host_model or results.decode_curve
    parts = [rows.machine_line(results.machine)] if measured else []
    if results.interrupted:
        parts.append("**Interrupted: this is what was measured until then.**")
    runs = rows.scenario_runs(results)
    if runs:
        parts += [table(rows.RUN_HEADER, [rows.run_row(run) for run in runs]), RULE]
        stages = rows.stage_rows(runs)
        if stages:
            header = ["stages, median ms", "scenario", *rows.STAGES]
            parts.append(table(header, stages))
        counted = rows.counter_rows(runs)
        if counted:
            parts.append(table(["what", "scenario", "counted"], counted))
        reason = rows.energy_reason(results)
        if reason:
            parts.append(f"Energy: null ({reason}).")
    if rows.peer_runs(results):
        note = "In turns, A B C A B C, each in a process of its own; means of the rounds."
        parts += [table(rows.PEER_HEADER, rows.peer_rows(results)), note]
    if results.predictions:
        body = [rows.device_row(row) for row in results.predictions]
        parts += [table(rows.DEVICE_HEADER, body), PREDICTED]
        points = [rows.check_row(point) for point in check_points()]
        parts += ["The model against published measurements:", table(rows.CHECK_HEADER, points)]
    if results.host_model:
        parts.append(host_model(results.host_model))
    if results.decode_curve:
        parts.append(decode_curve(results.decode_curve))
    parts += [f"Not measured: {note}." for note in results.notes]
    return "\n\n".join(parts) + "\n"


def host_model(found: dict[str, Any]) -> str:
    """This machine's measured peaks, and the model's error on its own latencies."""
    body = [rows.host_row(point) for point in found["points"]]
    told = rows.told_peaks(found["peaks"])
    about = f"The same model with this machine's measured peaks ({told}):"
    return about + "\n\n" + table(rows.HOST_HEADER, body)


def decode_curve(curve: dict[str, object]) -> str:
    """Decode rate against quality."""
    points = curve["points"]
    assert isinstance(points, list)
    body = [
        [p["method"], p["embedding"], f"{p['rate_hz']:.3f}", f"{p['cider']:.2f}"] for p in points
    ]
    header = ["method", "embedding", "decodes/s", "CIDEr"]
    return f"Selective decoding, {curve['about']}:\n\n" + table(header, body)
