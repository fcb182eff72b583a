"""`vljepa bench`: measures bundles here, predicts devices that are elsewhere, compares results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vljepa_edge.cli.engine import placement, placement_options

if TYPE_CHECKING:
    from vljepa_edge.bench.results import Results, Run
    from vljepa_edge.bench.scenarios.spec import Spec

_SCENARIOS = ("single", "paced", "multi", "burst", "cold", "soak")


class _BenchCommand(click.Command):
    """`vljepa bench compare A B` is a command of its own; all else are bundles and options."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        if args and args[0] == "compare":
            name = f"{info_name} compare"
            return compare_command.make_context(name, args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.command is not self:
            return ctx.command.invoke(ctx)
        return super().invoke(ctx)


class _Listed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`8,16,32`: values of another type with commas between, as llama-bench has them."""

    name = "list"

    def __init__(self, inner: Any) -> None:
        self.inner = click.types.convert_type(inner)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(self.inner.convert(part.strip(), param, ctx) for part in value.split(","))


@click.command("bench", cls=_BenchCommand)
@click.argument("bundles", nargs=-1)
@click.option(
    "--scenario",
    type=_Listed(click.Choice([*_SCENARIOS, "all"])),
    help=f"Of {', '.join(_SCENARIOS)}; or all (without soak). Default: single.",
)
@click.option("--threads", type=_Listed(click.IntRange(0)), default="0", help="To sweep; 0: all.")
@click.option("--backend", type=_Listed(str), default="ort", help="To sweep: ort, openvino, auto.")
@placement_options
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="A scenario's length.")
@click.option("--samples", type=click.IntRange(0), default=0, help="single: windows to measure.")
@click.option("--warmup", type=click.FloatRange(0), default=1.0, help="Seconds set apart.")
@click.option("--query", "queries", multiple=True, help="Repeatable; default: the bundle's first.")
@click.option("--camera-fps", type=click.FloatRange(0), default=0.0, help="Frames pushed a second.")
@click.option("--stride", type=click.IntRange(0), default=0, help="Frames between windows.")
@click.option("--cameras", type=click.IntRange(1), default=16, help="multi: the most to try.")
@click.option(
    "--peers",
    metavar="CHECKPOINT|random[:SEED]",
    help="Full precision and other projects in turns with the bundle.",
)
@click.option("--rounds", type=click.IntRange(1), default=30, help="peers: turns of each.")
@click.option("--decode-curve", is_flag=True, help="Decode rate against quality (CIDEr).")
@click.option("--curve-streams", type=click.IntRange(1), default=3, help="Of a minute each.")
@click.option(
    "--world",
    "version",
    type=click.IntRange(1, 2),
    help="decode curve: version of sprite world.  [default: the one the bundle was trained on]",
)
@click.option("--host-model", is_flag=True, help="Fit the device model to this machine.")
@click.option("--device", "device_names", multiple=True, help="Predict it (or all). Repeatable.")
@click.option("--frames", type=_Listed(click.IntRange(2)), help="Of predictions; default 8,16,32.")
@click.option(
    "--precision",
    type=_Listed(click.Choice(["fp32", "fp16", "int8", "fp8"])),
    help="Of predictions; default: all that the device has.",
)
@click.option("--query-tokens", type=click.IntRange(1), default=32, help="Of predictions.")
@click.option("--import", "imported", type=click.Path(path_type=Path), help="Results to show.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON on stdout.")
@click.option("--csv", "as_csv", is_flag=True, help="A line per kind of samples on stdout.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the JSON here.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained report.")
@click.option("--trace", type=click.Path(path_type=Path), help="Chrome trace of the last run.")
def command(**options: Any) -> int:
    """Measure BUNDLES on this machine (default: the packaged one), each run in a fresh process.

    `vljepa bench --device orin-nano-super --frames 16 --precision int8` predicts instead, and
    `vljepa bench compare A.json B.json --fail-over 5%` compares two results files.
    """
    if options["as_json"] and options["as_csv"]:
        raise click.UsageError("--json and --csv exclude each other")
    predicts = bool(options["device_names"] or options["imported"])
    if not predicts and (options["frames"] or options["precision"]):
        raise click.UsageError(
            "--frames and --precision are of predictions: add --device NAME; a bundle has its own"
        )
    if predicts and (options["bundles"] or options["scenario"]):
        raise click.UsageError("--device and --import don't measure: leave bundles and scenarios")
    results = _start(options["imported"])
    if predicts:
        _predict(results, options)
    else:
        _measure(results, options)
    if options["output"]:
        results.write(options["output"])
    if options["html"]:
        from vljepa_edge.bench.report import html

        options["html"].write_text(html.render(results), encoding="utf-8")
    _print(results, options)
    if results.interrupted:
        click.echo("vljepa: interrupted; what was measured is kept", err=True)
        return 1
    return 0


def _start(imported: Path | None) -> Results:
    """Empty results with this machine's conditions, or those of a file."""
    from datetime import datetime, timezone

    from vljepa_edge.bench import conditions
    from vljepa_edge.bench.results import Results, read_results

    if imported is not None:
        return read_results(imported)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Results(now, sys.argv[1:], conditions.machine())


def _print(results: Results, options: dict[str, Any]) -> None:
    if options["as_json"]:
        click.echo(results.to_json(), nl=False)
    elif options["as_csv"]:
        from vljepa_edge.bench.report import csv_file

        click.echo(csv_file.render(results), nl=False)
    else:
        from vljepa_edge.bench.report import markdown

        click.echo(markdown.render(results), nl=False)


def _predict(results: Results, options: dict[str, Any]) -> None:
    """Adds predictions; a bad device name or precision is a usage error with a hint."""
    import dataclasses

    from vljepa_edge.bench.devices.catalogue import PRECISIONS, devices, find_device
    from vljepa_edge.bench.devices.table import device_table
    from vljepa_edge.model.config import paper

    names = options["device_names"]
    try:
        chosen = [find_device(name) for name in names if name != "all"]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if "all" in names:
        chosen = list(devices())
    precisions = options["precision"] or PRECISIONS
    for device in chosen:
        if not any(device.supports(precision) for precision in precisions):
            able = ", ".join(p for p in PRECISIONS if device.supports(p))
            wanted = ", ".join(precisions)
            raise click.UsageError(f"{device.name} has no {wanted} units; it has {able}")
    if not chosen:
        return
    rows = device_table(
        [paper(frames) for frames in options["frames"] or (8, 16, 32)],
        precisions,
        chosen=chosen,
        query_tokens=options["query_tokens"],
        stride=options["stride"],
    )
    results.predictions = [dataclasses.asdict(row) for row in rows]


# ---- measuring ----

# Seconds of a scenario when --seconds doesn't say.
_LENGTHS = {"single": 20.0, "paced": 20.0, "multi": 16.0, "burst": 10.0, "soak": 300.0}


def _specs(options: dict[str, Any]) -> list[Spec]:
    """Bundles x backends x threads x scenarios, in that order."""
    from itertools import product

    from vljepa_edge.bench.scenarios.spec import Spec
    from vljepa_edge.runtime.bundle import default_bundle

    chosen = options["scenario"] or ("single",)
    if "all" in chosen:
        chosen = tuple(name for name in _SCENARIOS if name != "soak")
    bundles = options["bundles"] or (str(default_bundle()),)
    # --backend is swept, and has a list here.
    chosen_placement = placement({k: v for k, v in options.items() if k != "backend"})
    return [
        Spec(
            scenario=scenario,
            bundle=bundle,
            backend=backend,
            threads=threads,
            queries=options["queries"],
            seconds=options["seconds"] or _LENGTHS.get(scenario, 10.0),
            samples=options["samples"],
            warmup_s=options["warmup"],
            camera_fps=options["camera_fps"],
            stride=options["stride"],
            cameras=options["cameras"],
            engine=chosen_placement,
        )
        for bundle, backend, threads, scenario in product(
            bundles, options["backend"], options["threads"], chosen
        )
    ]


def _describe(path: str) -> dict[str, Any]:
    """Name, precision and hash of a bundle. BundleError where it is none."""
    import hashlib

    from vljepa_edge.runtime.bundle import Bundle

    with Bundle(Path(path)) as opened:
        manifest = opened.manifest()
        hashes = "".join(section.sha256 for section in opened.sections)
        size = sum(section.size for section in opened.sections)
    return {
        "folder": Path(path).name,
        "name": manifest.get("name") or Path(path).name,
        "precision": manifest.get("precision") or "?",
        "sections_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
        "bytes": size,
        "window": manifest.get("window"),
    }


def _measure(results: Results, options: dict[str, Any]) -> None:
    from vljepa_edge.bench.scenarios.launch import ScenarioError

    specs = _specs(options)
    extras = options["peers"] or options["decode_curve"] or options["host_model"]
    if extras and options["scenario"] is None:
        specs = []  # nothing but what was asked for
    asked = options["bundles"] or tuple(dict.fromkeys(spec.bundle for spec in _specs(options)))
    described = {path: _describe(path) for path in asked}
    results.bundles = list(described.values())
    try:
        for spec in specs:
            about = described[spec.bundle]
            subject = f"{about['name']} {about['precision']} {spec.backend}"
            run, finished = _one(spec, subject, options["trace"])
            results.runs.append(run)
            if not finished:
                results.interrupted = True
                return
    except ScenarioError as error:
        if results.runs and options["output"]:
            results.interrupted = True
            results.write(options["output"])
        kind = click.UsageError if error.usage else click.ClickException
        raise kind(str(error)) from error
    if extras:
        _extras(results, options, asked[0])


def _one(spec: Spec, subject: str, trace: Path | None) -> tuple[Run, bool]:
    from vljepa_edge.bench.scenarios.launch import run_scenario
    from vljepa_edge.cli.console import Output

    total = round(spec.warmup_s + spec.seconds)
    with Output(f"{subject} {spec.scenario}", total, quiet=True) as out:
        return run_scenario(
            spec, subject, trace=trace, progress=lambda s: out.advance_to(min(round(s), total))
        )


def _extras(results: Results, options: dict[str, Any], path: str) -> None:
    """Peers, the device model of this machine, and the decode curve, for the first bundle."""
    from vljepa_edge.cli.console import Output
    from vljepa_edge.runtime.model import load

    threads, backend = options["threads"][0], options["backend"][0]
    if options["peers"]:
        _peers(results, options, path)
        if results.interrupted:
            return
    with load(path, threads=threads, backend=backend) as model:
        if options["host_model"]:
            from vljepa_edge.bench.devices.host import HostModelError, host_model

            if backend != "ort":
                raise click.UsageError(f"--host-model is of the backend ort, not {backend}")
            try:
                with Output("host model", None, quiet=True) as out:
                    results.host_model = host_model(model, Path(path), threads, out.advance_to)
            except HostModelError as error:
                raise click.UsageError(str(error)) from error
        if options["decode_curve"]:
            from vljepa_edge.bench.selective import decode_curve

            if not model.has("y_decoder"):
                raise click.UsageError(f"{path} has no Y-Decoder: there is nothing to decode")
            with Output("decode curve", None, quiet=True) as out:
                results.decode_curve = decode_curve(
                    model,
                    streams=options["curve_streams"],
                    seconds=options["seconds"] or 60.0,
                    version=options["version"],
                    progress=out.advance_to,
                )


def _peers(results: Results, options: dict[str, Any], path: str) -> None:
    """Full precision and peers in turns with the bundle."""
    from vljepa_edge.bench.peers.measure import measure_peers
    from vljepa_edge.cli.console import Output
    from vljepa_edge.runtime.model import load

    threads, backend = options["threads"][0], options["backend"][0]
    rounds = options["samples"] or options["rounds"]
    with (
        load(path, threads=threads, backend=backend) as model,
        Output("peers", rounds, quiet=True) as out,
    ):
        about = model.description
        try:
            runs, missing, finished = measure_peers(
                model,
                options["peers"],
                bundle=path,
                name=f"{about.name} {about.precision} {backend}",
                backend=backend,
                threads=threads,
                rounds=rounds,
                progress=out.advance_to,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    results.runs += runs
    results.notes += missing
    results.interrupted = not finished


# ---- comparing ----


class _Percent(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`5%` or `0.05`."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            if value.endswith("%"):
                return float(value[:-1]) / 100
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither like 5% nor like 0.05", param, ctx)


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--fail-over", type=_Percent(), help="Exit code 1 where B is slower by more.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def compare_command(a: Path, b: Path, fail_over: float | None, as_json: bool) -> int:
    """Compare two results files: medians of what both measured, B against A.

    A run fails when it is slower than --fail-over allows and the 95 % intervals don't touch.
    """
    import dataclasses
    import json

    from vljepa_edge.bench.compare import compare
    from vljepa_edge.bench.report.markdown import table
    from vljepa_edge.bench.results import read_results

    found = compare(read_results(a), read_results(b))
    if not found.changes:
        raise click.UsageError(f"{a} and {b} have no run in common (scenario, subject, settings)")
    failed = [c for c in found.changes if fail_over is not None and c.fails(fail_over)]
    if as_json:
        rows = [
            {**dataclasses.asdict(c), "relative": c.relative, "failed": c in failed}
            for c in found.changes
        ]
        content = {"changes": rows, "only_a": found.only_a, "only_b": found.only_b}
        click.echo(json.dumps(content, ensure_ascii=False))
    else:
        body = []
        for c in found.changes:
            verdict = "slower" if c in failed else "within noise" if c.intervals_touch else ""
            note = verdict + ("" if c.valid else " (not both runs are VALID)")
            times = [f"{c.a_ms:.2f}", f"{c.b_ms:.2f}", f"{c.relative:+.1%}"]
            body.append([c.subject, c.scenario, c.statistic, *times, note.strip()])
        header = ["what", "scenario", "statistic", "A ms", "B ms", "change", ""]
        click.echo(table(header, body))
        for path, only in ((a, found.only_a), (b, found.only_b)):
            if only:
                click.echo(f"only in {path}: {', '.join(only)}")
    if failed:
        names = ", ".join(f"{c.subject} {c.scenario} {c.relative:+.1%}" for c in failed)
        click.echo(f"vljepa: slower than --fail-over allows: {names}", err=True)
    return 1 if failed else 0
