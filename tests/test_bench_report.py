"""Reports and comparison of bench results, and the command line around them."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Cli
from vljepa_edge.bench.compare import compare
from vljepa_edge.bench.report import csv_file, html, markdown
from vljepa_edge.bench.report.svg import Series, plot, stacked_bars
from vljepa_edge.bench.results import Results, Run, read_results
from vljepa_edge.bench.statistics import judge


def results_of(median_ms: float, count: int = 400, seed: int = 0) -> Results:
    rng = np.random.default_rng(seed)
    samples = (median_ms * (1 + 0.01 * rng.standard_normal(count))).tolist()
    run = Run(
        "single",
        "nano <int8>",
        {"threads": 1, "backend": "ort"},
        "window_ms",
        {"window_ms": samples, "stage.encode_ms": samples, "stage.predict_ms": samples},
        counters={"windows_per_s": 1e3 / median_ms, "rss_slope_mb_per_hour": None},
        energy={"gross_j": None, "reason": "no sensor here"},
    )
    run.validity = judge(samples)
    return Results("2026-01-01T00:00:00Z", ["bench"], {"cpu": "a CPU"}, runs=[run])


def test_markdown_tells_figures_and_verdict() -> None:
    text = markdown.render(results_of(10.0))
    row = next(line for line in text.splitlines() if line.startswith("| nano"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert re.fullmatch(r"(9\.9|10\.0)\d \[9\.\d+, 10\.\d+\]", cells[4])
    assert cells[6] == "–" and cells[-1] == "VALID"  # 400 samples are too few for p99
    assert "Energy: null (no sensor here)" in text
    widths = {len(line) for line in text.splitlines() if line.startswith("| nano <int8> | single ")}
    assert widths


def test_csv_has_a_line_per_kind_of_samples() -> None:
    lines = list(csv.DictReader(csv_file.render(results_of(10.0)).splitlines()))
    assert [line["samples"] for line in lines] == [
        "stage.encode_ms", "stage.predict_ms", "window_ms"
    ]  # fmt: skip
    assert float(lines[2]["p50"]) == pytest.approx(10, rel=0.01) and lines[2]["p99"] == ""


def test_html_is_well_formed_and_self_contained() -> None:
    page = html.render(results_of(10.0))
    assert "nano &lt;int8&gt;" in page and "nano <int8>" not in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|<script", page)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    drawn = [figure for figure in figures if 'role="img"' in figure]
    assert len(drawn) == 3 and len(figures) - len(drawn) == 2  # and the keys of two lines
    for figure in figures:
        ElementTree.fromstring(figure)
    assert "prefers-color-scheme:dark" in page and 'name="viewport"' in page


def test_plots_draw_what_they_are_given() -> None:
    drawn = plot([Series("a", [(1, 1), (10, 100)], marks=True)], "x", "y", log_x=True, log_y=True)
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in circles]
    assert x1 < x2 and y1 > y2
    many = plot([Series(str(i), [(0, i), (1, i)]) for i in range(14)], "x", "y")
    lines = re.findall(r'<polyline [^>]*(stroke="[^/]*)/>', many)
    keys = re.findall(r'<line x1="0" [^>]*(stroke="[^/]*)/>', many)
    assert len(set(lines)) == 14 and keys == lines  # no two look alike
    bars = stacked_bars([("w", {"encode": 3.0, "predict": 1.0})], "ms")
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', bars)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.01)
    assert plot([], "x", "y") == ""


def test_compare_fails_beyond_noise_alone() -> None:
    (slower,) = compare(results_of(10.0), results_of(11.0, seed=1)).changes
    assert slower.relative == pytest.approx(0.1, abs=0.01) and slower.fails(0.05)
    assert not slower.fails(0.2)
    (same,) = compare(results_of(10.0), results_of(10.0, seed=1)).changes
    assert same.intervals_touch and not same.fails(0.0)
    (faster,) = compare(results_of(11.0), results_of(10.0)).changes
    assert not faster.fails(0.05)


def test_compare_command(cli: Cli, tmp_path: Path) -> None:
    a, b, other = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"
    results_of(10.0).write(a)
    results_of(12.0).write(b)
    other.write_text('{"schema": "llama-bench"}')
    assert cli("bench", "compare", a, a, "--fail-over", "5%").returncode == 0
    failed = cli("bench", "compare", a, b, "--fail-over", "5%")
    assert failed.returncode == 1 and "+20" in failed.stderr and "slower" in failed.stdout
    refused = cli("bench", "compare", a, other)
    assert refused.returncode == 2 and "schema 'llama-bench'" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_prediction_command(cli: Cli) -> None:
    arguments = ("--device", "orin-nano-super", "--frames", "16", "--precision", "int8")
    told = cli("bench", *arguments)
    assert told.returncode == 0 and "Predicted" in told.stdout and "keeps up to fps" in told.stdout
    unknown = cli("bench", "--device", "orin-nano-sper")
    assert unknown.returncode == 2 and "did you mean orin-nano-super" in unknown.stderr
    useless = cli("bench", "--frames", "16")
    assert useless.returncode == 2 and "--device" in useless.stderr


def test_import_lays_results_beside_a_prediction(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    results_of(10.0).write(path)
    shown = cli("bench", "--import", path, "--device", "agx-orin", "--precision", "int8")
    assert shown.returncode == 0
    assert "nano <int8>" in shown.stdout and "Jetson AGX Orin 64 GB" in shown.stdout


def test_measuring_a_bundle(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    path, page, trace = (tmp_path / name for name in ("r.json", "r.html", "t.json"))
    told = cli(
        "bench", tiny_bundle, "--scenario", "single,paced", "--seconds", "1.5", "--warmup", "0.3",
        "--threads", "1", "-o", path, "--html", page, "--trace", trace,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = read_results(path)
    single, paced = found.runs
    assert single.warmup["window_ms"] or single.warmup["window_with_text_ms"]
    for stage in ("frame", "encode", "predict", "gate", "window"):
        assert single.samples[f"stage.{stage}_ms"]
    # A window's engines and gate are no longer than the step that ran them.
    assert sum(single.samples["stage.encode_ms"]) < sum(
        single.samples["window_ms"] + single.samples.get("window_with_text_ms", [])
    )
    assert single.counters["allocations"] == 0
    assert paced.samples["embedding_latency_ms"] and paced.counters["deadline_ms"]
    assert min(paced.samples["embedding_latency_ms"]) > 0
    assert paced.conditions["start"]["rss_mb"] > 10 and paced.energy["seconds"] > 1
    assert found.bundles[0]["name"] == "tiny" and found.machine["libraries"]["numpy"]
    assert json.loads(trace.read_text())["traceEvents"]
    assert "<svg" in page.read_text()


def test_an_interrupted_run_keeps_what_was_measured(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    program = Path(sys.executable).parent / "vljepa"
    process = subprocess.Popen(
        [program, "bench", tiny_bundle, "--seconds", "300", "--warmup", "0.1", "-o", path],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and so would this one where tests run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "what was measured is kept" in errors
    found = read_results(path)
    assert found.interrupted and not found.runs[0].validity.valid
    assert "interrupted" in str(found.runs[0].validity)
    assert found.runs[0].samples.get("window_ms")


def test_bad_bundles(cli: Cli, tmp_path: Path) -> None:
    told = cli("bench", tmp_path / "none")
    assert told.returncode == 2 and str(tmp_path / "none") in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_texts_of_a_bundle_without_a_decoder(
    cli: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """`burst` and the decode curve measure texts; a bundle that makes none is told so."""
    import dataclasses

    from vljepa_edge.export.export_bundle import export_bundle
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.vl_jepa import VLJEPA

    opened = checkpoint.load(tiny_checkpoint)
    config = dataclasses.replace(opened.model.config, y_decoder=None)
    mute = tmp_path / "mute"
    checkpoint.save(mute, VLJEPA(config), opened.tokenizer, {})
    export_bundle(mute, tmp_path / "bundle")
    burst = cli("bench", tmp_path / "bundle", "--scenario", "burst", "--seconds", "1")
    assert burst.returncode == 2 and "neither a Y-Decoder nor a phrase bank" in burst.stderr
    curve = cli("bench", tmp_path / "bundle", "--decode-curve")
    assert curve.returncode == 2 and "no Y-Decoder" in curve.stderr
