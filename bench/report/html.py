"""One self-contained HTML page: plots and tables, light and dark, no script and no outside file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ..devices.catalogue import Device, devices
from ..devices.check import check_points
from ..devices.operators import components
from ..results import Results, Run
from . import rows
from .markdown import PREDICTED, RULE
from .svg import Series, plot, stacked_bars

CURVE_POINTS = 120
STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1d2129;--dim:#5b6472;--line:#dfe3e8;--card:#f7f8fa;
--c0:#2563eb;--c1:#c2410c;--c2:#0f766e;--c3:#9333ea;--c4:#a16207;--c5:#be185d;--bad:#b42318;--good:#137333}
@media(prefers-color-scheme:dark){:root{--bg:#14171c;--fg:#e6e9ee;--dim:#9aa4b2;--line:#2c323b;
--card:#1b1f26;--c0:#6ea8fe;--c1:#fb923c;--c2:#2dd4bf;--c3:#c084fc;--c4:#facc15;--c5:#f472b6;
--bad:#ff8a80;--good:#81c995}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:20px 16px 48px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;margin:0 0 4px}h2{font-size:1.1rem;margin:32px 0 8px}
p{margin:6px 0;color:var(--dim);overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,370px),1fr));gap:16px}
figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--line);border-radius:8px}
figcaption{font-weight:600;margin-bottom:6px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--dim);font-size:11px}svg .mid{text-anchor:middle}svg .end{text-anchor:end}
svg polyline{fill:none;stroke-width:1.8}svg .grid{stroke:var(--line);stroke-width:1}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;margin:6px 0 0;padding:0;
font-size:12.5px;color:var(--dim)}
.legend .key{display:inline-block;width:24px;height:8px;margin-right:5px;vertical-align:middle}
.key line{stroke-width:2.4}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
td:last-child{white-space:normal;min-width:150px}
tr:last-child td{border-bottom:0}th{background:var(--card);font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}
"""


def render(results: Results) -> str:
    """The whole page."""
    runs = rows.scenario_runs(results)
    measured = results.runs or results.host_model or results.decode_curve
    body = [f"<p>{escape(rows.machine_line(results.machine))}</p>"] if measured else []
    if results.interrupted:
        body.append('<p class="bad">Interrupted: this is what was measured until then.</p>')
    figures = _figures(results, runs)
    if figures:
        body.append(f'<div class="plots">{"".join(figures)}</div>')
    if runs:
        body.append(_section("Latency", rows.RUN_HEADER, [rows.run_row(run) for run in runs], RULE))
        header = ["what", "scenario", *rows.STAGES]
        body.append(_section("Stages, median ms", header, rows.stage_rows(runs)))
        counted = rows.counter_rows(runs)
        body.append(_section("Counters", ["what", "scenario", "counted"], counted))
        reason = rows.energy_reason(results)
        if reason:
            body.append(f"<p>Energy: null ({escape(reason)}).</p>")
    if rows.peer_runs(results):
        body.append(_section("Full precision and peers", rows.PEER_HEADER, rows.peer_rows(results)))
    if results.predictions:
        predicted = [rows.device_row(row) for row in results.predictions]
        body.append(_section("Devices (predicted)", rows.DEVICE_HEADER, predicted, PREDICTED))
        checked = [rows.check_row(point) for point in check_points()]
        body.append(_section("The model against published points", rows.CHECK_HEADER, checked))
    if results.host_model:
        body.append(_host_section(results.host_model))
    if results.decode_curve:
        points = results.decode_curve["points"]
        cells = [
            [p["method"], p["embedding"], f"{p['rate_hz']:.3f}", f"{p['cider']:.2f}"]
            for p in points
        ]
        header = ["method", "embedding", "decodes/s", "CIDEr"]
        note = str(results.decode_curve["about"])
        body.append(_section("Selective decoding", header, cells, note))
    body += [f"<p>Not measured: {escape(note)}.</p>" for note in results.notes]
    command = "vljepa " + " ".join(results.command)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>vljepa bench</title><style>{STYLE}</style></head><body><h1>vljepa bench</h1>"
        f"<p>{escape(results.created_utc)} · <code>{escape(command)}</code></p>"
        + "".join(body)
        + "</body></html>\n"
    )


def _figures(results: Results, runs: Sequence[Run]) -> list[str]:
    shown = [run for run in runs if run.samples.get(run.headline)]
    figures = []
    if shown:
        curves = [Series(_title(run), _ecdf(run.samples[run.headline])) for run in shown]
        figures.append(
            _figure("Latency distribution", plot(curves, "ms", "% of samples", log_x=True))
        )
    bars: dict[str, list[tuple[str, dict[str, float]]]] = {}
    for run in runs:
        if medians := rows.stage_medians(run):
            # A bundle has a plot, since another one's may take a hundred times as long.
            bundle = run.subject.rpartition(" ")[0] or run.subject
            bars.setdefault(bundle, []).append((_title(run), medians))
    for bundle, of_bundle in bars.items():
        title = f"Stages of a window: {bundle}" if len(bars) > 1 else "Stages of a window"
        figures.append(_figure(title, stacked_bars(of_bundle, "ms, medians")))
    if shown:
        lines = [Series(_title(run), _thinned(run.samples[run.headline])) for run in shown]
        figures.append(_figure("Timeline", plot(lines, "% of the run", "ms", log_y=True)))
    memory = [
        Series(_title(run), points) for run in runs if len(points := _points(run, "rss_mb")) > 2
    ]
    if memory:
        figures.append(_figure("Resident memory", plot(memory, "s", "MB")))
    roof = _roofline(results)
    if roof:
        figures.append(_figure("Roofline", roof))
    if results.decode_curve:
        figures.append(_figure("Quality against decode rate", _curve(results.decode_curve)))
    return figures


def _roofline(results: Results) -> str:
    """Attainable rate over intensity, and where the components lie (predicted or measured)."""
    from ...model.config import PRESETS, paper

    found = results.host_model
    if found is not None:
        roofs = found["roofs"]
        points = [(p["component"], p["intensity"], p["gflops"]) for p in found["points"]]
    elif results.predictions:
        chosen = {row["device"] for row in results.predictions}
        by_id: dict[str, Device] = {device.id: device for device in devices()}
        roofs = [
            {"name": by_id[name].name, "gflops": peak * 1e3, "gb_s": by_id[name].bandwidth_gb_s}
            for name in sorted(chosen)[:3]
            if (peak := by_id[name].peak_tflops["fp16"])
        ]
        points = []
        for row in results.predictions[:3]:
            config = paper(row["frames"]) if row["model"] == "paper" else PRESETS["nano"]()
            for part in components(config, row["query_tokens"])[:2]:
                cost = row["by_component"][part.name]
                rate = cost["flops"] / cost["realistic_s"] / 1e9
                name = f"{part.name} {row['device']} {row['precision']} {row['frames']}f"
                points.append((name, cost["flops"] / cost["weight_bytes"], rate))
    else:
        return ""
    lines = []
    for roof in roofs:
        ridge = roof["gflops"] / roof["gb_s"]
        ends = (ridge / 100, ridge, max([ridge * 20, *(x for _, x, _ in points)]))
        attained = [(x, min(roof["gflops"], x * roof["gb_s"])) for x in ends]
        lines.append(Series(roof["name"], attained))
    lines += [Series(name, [(x, y)], line=False, marks=True) for name, x, y in points]
    return plot(lines, "FLOP per byte of weights", "GFLOP/s", log_x=True, log_y=True)


def _curve(curve: dict[str, Any]) -> str:
    by_name: dict[str, list[tuple[float, float]]] = {}
    for point in curve["points"]:
        name = f"{point['method']}, {point['embedding']}"
        by_name.setdefault(name, []).append((point["rate_hz"], point["cider"]))
    lines = [Series(name, sorted(points), marks=True) for name, points in by_name.items()]
    return plot(lines, "decodes a second", "CIDEr", log_x=True)


def _title(run: Run) -> str:
    threads = run.settings.get("threads")
    return f"{run.subject} {run.scenario}" + (f", {threads} threads" if threads else "")


def _ecdf(values: Sequence[float]) -> list[tuple[float, float]]:
    ordered = np.sort(np.asarray(values, np.float64))
    picked = np.unique(np.linspace(0, len(ordered) - 1, CURVE_POINTS).round().astype(int))
    return [(float(ordered[i]), 100 * (i + 1) / len(ordered)) for i in picked.tolist()]


def _thinned(values: Sequence[float]) -> list[tuple[float, float]]:
    """The greatest of each stretch: a plot must not smooth outliers away."""
    parts = np.array_split(np.asarray(values, np.float64), min(len(values), CURVE_POINTS))
    last = max(1, len(parts) - 1)
    return [(100 * i / last, float(part.max())) for i, part in enumerate(parts)]


def _points(run: Run, name: str) -> list[tuple[float, float]]:
    points = []
    for point in run.timeline:
        at, value = point.get("t_s"), point.get(name)
        if at is not None and value is not None:
            points.append((at, value))
    return points


def _host_section(found: dict[str, Any]) -> str:
    cells = [rows.host_row(point) for point in found["points"]]
    told = f"Measured: {rows.told_peaks(found['peaks'])}."
    return _section("The model with this machine's peaks", rows.HOST_HEADER, cells, told)


def _figure(caption: str, content: str) -> str:
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{content}</figure>" if content else ""
    )


def _section(
    title: str, header: Sequence[str], body: Sequence[Sequence[str]], note: str = ""
) -> str:
    if not body:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in body)
    about = f"<p>{escape(note)}</p>" if note else ""
    return (
        f'<h2>{escape(title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>{about}"
    )


def _cell(text: str) -> str:
    kind = ""
    if text == "VALID":
        kind = ' class="good"'
    elif text.startswith("INVALID"):
        kind = ' class="bad"'
    return f"<td{kind}>{escape(text)}</td>"
