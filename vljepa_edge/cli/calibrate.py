"""`vljepa calibrate`: a quantised bundle from a full-precision one, or a gate fitted in place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vljepa_edge.calibration.calibrator import Calibrator
    from vljepa_edge.calibration.gate import GateScore
    from vljepa_edge.calibration.insert import Scheme
    from vljepa_edge.calibration.recording import Recording
    from vljepa_edge.calibration.sensitivity import Trial
    from vljepa_edge.cli.console import Output
    from vljepa_edge.runtime.model import Model


@click.command("calibrate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write a quantised bundle here. Without it the gate of BUNDLE is fitted in place.",
)
@click.option(
    "--data", default="world", show_default=True, help="world, a clip, a folder of clips, or a .npy"
)
@click.option(
    "--world",
    "version",
    type=click.IntRange(1, 2),
    help="Version of sprite world.  [default: the one BUNDLE was trained on]",
)
@click.option("--precision", type=click.Choice(["int8", "fp8", "mixed"]), help="[default: int8]")
@click.option("--windows", type=click.IntRange(1), default=128, show_default=True, help="At most.")
@click.option(
    "--method",
    type=click.Choice(["minmax", "percentile", "entropy", "mse"]),
    default="mse",
    show_default=True,
    help="How ranges follow from what was seen.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(50, 100),
    default=99.99,
    show_default=True,
    help="Of method percentile.",
)
@click.option("--smooth/--no-smooth", default=True, help="SmoothQuant.  [default: on]")
@click.option("--bias-correction/--no-bias-correction", default=True, help="[default: on]")
@click.option(
    "--outliers/--no-outliers", default=True, help="Few large channels stay float.  [default: on]"
)
@click.option("--weights-only", is_flag=True, help="8-bit weights, computed with in float.")
@click.option(
    "--attention/--no-attention",
    default=None,
    help="Quantise attention's products too.  [default: for fp8]",
)
@click.option("--min-cosine", type=click.FloatRange(0, 1), help="Budget of mixed; 0.999 if none.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Budget: equal decisions.")
@click.option("--max-ms", type=click.FloatRange(0, min_open=True), help="Budget: encode + predict.")
@click.option(
    "--keep",
    type=click.Choice(["float", "weights"]),
    help="Mixed keeps layers whole in float, or with 8-bit weights.  [default: float]",
)
@click.option(
    "--judge-windows", type=click.IntRange(2), default=24, show_default=True, help="Held out."
)
@click.option("--report", type=click.Path(path_type=Path), help="Folder: layers, sensitivity.")
@click.option("--sensitivity", is_flag=True, help="Judge each layer alone, into --report.")
@click.option("--ablation", is_flag=True, help="Judge SmoothQuant and bias correction too.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Of the engines; 0: all.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--gate-only", is_flag=True, help="Fit the gate in place, with no output.")
@click.option("--streams", type=click.IntRange(1), default=8, show_default=True, help="For gates.")
@click.option(
    "--seconds", type=click.FloatRange(10), default=60.0, show_default=True, help="Of each stream."
)
@click.option("--seed", type=int, default=100, show_default=True, help="Of streams and windows.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Gate: shifts a second.")
@click.option("--recall", type=click.FloatRange(0, 1, min_open=True), help="Gate: of true shifts.")
@click.option("--dry-run", is_flag=True, help="Gate: print thresholds, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: Path, output: Path | None, **options: Any) -> None:
    """Turn a full-precision BUNDLE into an 8-bit one (-o), or fit its gate (without -o).

    Ranges come from sprite world, or from clips. An interrupted run goes on where it stopped. The
    new bundle's gate is fitted to shift where full precision's does. FP8 is simulated on CPUs.

    Needs the extra "export", and "bench" for the pictures of --report.
    """
    precision = options["precision"] or "int8"
    _check(output, precision, options)
    if output is None:
        _fit_gate(bundle, options)
    else:
        _quantise(bundle, output, precision, options)


def _check(output: Path | None, precision: str, options: dict[str, Any]) -> None:
    """Refuses options that would do nothing."""
    if options["gate_only"] and output is not None:
        raise click.UsageError("--gate-only changes BUNDLE in place; leave -o out")
    if output is None and options["precision"]:
        raise click.UsageError(f"--precision {precision} makes a new bundle; name it with -o")
    if output is None and options["weights_only"]:
        raise click.UsageError("--weights-only makes a new bundle; name it with -o")
    if output is None and (options["report"] or options["sensitivity"] or options["ablation"]):
        raise click.UsageError("--report, --sensitivity and --ablation go with -o")
    budgets = [name for name in ("min_cosine", "min_agreement", "max_ms") if options[name]]
    if precision != "mixed" and budgets:
        name = budgets[0].replace("_", "-")
        raise click.UsageError(f"--{name} is a budget of --precision mixed")
    if precision != "mixed" and options["keep"]:
        raise click.UsageError("--keep tells how --precision mixed keeps layers")
    if (options["sensitivity"] or options["ablation"]) and options["report"] is None:
        raise click.UsageError("--sensitivity and --ablation need --report FOLDER")
    if options["weights_only"] and (precision == "mixed" or options["attention"]):
        other = "--precision mixed" if precision == "mixed" else "--attention"
        raise click.UsageError(f"--weights-only leaves activations float; {other} does not")
    if output is not None and (options["rate"] or options["recall"] or options["dry_run"]):
        raise click.UsageError("--rate, --recall and --dry-run go with fitting the gate alone")


# ---- a quantised bundle ----


def _quantise(bundle: Path, output: Path, precision: str, options: dict[str, Any]) -> None:
    from vljepa_edge.calibration import quantise
    from vljepa_edge.calibration.ablation import ablate
    from vljepa_edge.calibration.calibrator import Calibrator
    from vljepa_edge.calibration.report import write_ablation, write_layers, write_sensitivity
    from vljepa_edge.calibration.sensitivity import Budget, Judge, search, sensitivities
    from vljepa_edge.calibration.settings import Settings
    from vljepa_edge.calibration.windows import ENOUGH_WINDOWS
    from vljepa_edge.cli.console import Output
    from vljepa_edge.export.bundle import check_replaceable

    check_replaceable(output, options["overwrite"])
    attention = options["attention"]
    weights_only: bool = options["weights_only"]
    settings = Settings(
        precision=precision,  # type: ignore[arg-type]
        data=options["data"],
        windows=options["windows"],
        seed=options["seed"],
        method=options["method"],
        percentile=options["percentile"],
        smooth=options["smooth"],
        bias_correction=options["bias_correction"],
        outliers=options["outliers"],
        attention=precision == "fp8" and not weights_only if attention is None else attention,
        weights_only=weights_only,
        threads=options["threads"],
        world=options["version"],
    )
    report: Path | None = options["report"]
    with Output("calibrate", None, quiet=options["as_json"]) as out:
        said = ""

        def progress(what: str, done: int, total: int) -> None:
            nonlocal said
            if what != said:
                out.say(what)
                said = what
            out.advance_to(done, total)

        calibrator = Calibrator(bundle, settings)
        output.parent.mkdir(parents=True, exist_ok=True)
        state = output.parent / f".{output.name}.calibration"
        calibrator.observe(state, progress)
        seen = calibrator.observations.windows
        if seen < ENOUGH_WINDOWS:
            out.say(f"note: ranges from {seen} windows alone; {ENOUGH_WINDOWS} or more hold better")
        schemes: dict[str, Scheme] = {}
        if precision == "mixed" or options["sensitivity"]:
            judge = Judge(calibrator, options["judge_windows"])
            errors = sensitivities(judge, progress)
            trials: list[Trial] = []
            if precision == "mixed":
                chosen = (options["min_cosine"], options["min_agreement"], options["max_ms"])
                budget = Budget(*chosen) if any(chosen) else Budget(cosine=0.999)
                kept_as: Scheme = options["keep"] or "float"
                schemes, trials = search(judge, errors, budget, progress, kept_as)
            if report is not None:
                write_sensitivity(errors, trials, list(schemes), report)
        if options["ablation"]:
            assert report is not None
            write_ablation(ablate(calibrator, options["judge_windows"], progress), report)
        plan = calibrator.plan(schemes)
        if report is not None:
            write_layers(calibrator, plan, report)
        progress("writing", 0, 1)
        written = quantise.write(calibrator, plan, output, overwrite=options["overwrite"])
        for file in output.parent.glob(f"{state.name}.*.npz"):
            file.unlink()
        gate = _follow_gate(calibrator, output, options, progress)
    told = {
        **dataclasses.asdict(written),
        "folder": str(output),
        "precision": precision,
        "simulated": precision == "fp8",
        "kept": options["keep"] or "float",
        "float_layers": sorted(schemes),
        "windows": seen,
        "gate": dataclasses.asdict(gate.options),
        "gate_agreement_f1": gate.f1,
    }
    if options["as_json"]:
        click.echo(json.dumps(told, indent=2))
        return
    share = written.bytes / written.source_bytes
    click.echo(f"{output}: {precision}, {written.bytes / 1e6:.2f} MB ({share:.1%}), {seen} windows")
    if schemes:
        how = "8-bit weights, inputs in float" if options["keep"] == "weights" else "in float"
        click.echo(f"{how}: {', '.join(sorted(schemes))}")
    if precision == "fp8":
        click.echo("FP8 is simulated on CPUs: right in its values, slow in its time")
    click.echo(f"gate: shifts as full precision's, F1 {gate.f1:.3f} within one window")
    click.echo(f"next: vljepa compare {bundle} {output}")


def _follow_gate(
    calibrator: Calibrator, output: Path, options: dict[str, Any], progress: Any
) -> GateScore:
    """Fits the new bundle's gate to full precision's shifts, and writes it."""
    from vljepa_edge.calibration.gate_files import write_following

    return write_following(
        calibrator.folder,
        output,
        lambda model: _record(model, options, None),
        threads=options["threads"],
        progress=progress,
    )


# ---- the gate alone ----


def _record(
    model: Model, options: dict[str, Any], out: Output | None, seed: int = 0
) -> list[Recording]:
    """Streams of the data: sprite world with its truth, or clips."""
    from vljepa_edge.calibration.clip_streams import record_clips
    from vljepa_edge.calibration.world_streams import record_world

    advance = None if out is None else out.advance_to
    if options["data"] == "world":
        return record_world(
            model,
            streams=options["streams"],
            seconds=options["seconds"],
            seed=options["seed"] + seed,
            version=options["version"],
            progress=advance,
        )
    return record_clips(model, Path(options["data"]), rate_hz=options["rate"], progress=advance)


def _fit_gate(bundle: Path, options: dict[str, Any]) -> None:
    from vljepa_edge.calibration.gate import score
    from vljepa_edge.calibration.gate_files import write_fitted
    from vljepa_edge.cli.console import Output
    from vljepa_edge.runtime.model import load

    known = options["data"] == "world"
    with (
        Output("recording", options["streams"], quiet=options["as_json"]) as out,
        load(bundle, threads=options["threads"]) as model,
    ):
        recordings = _record(model, options, out)
        checks = _record(model, options, out, options["streams"]) if known else []
    best, tried = write_fitted(
        bundle,
        recordings,
        rate_hz=options["rate"],
        recall=options["recall"],
        dry_run=options["dry_run"],
    )
    held_out = score(checks, best.options) if checks else None
    gate = dataclasses.asdict(best.options)
    if options["as_json"]:
        told: dict[str, Any] = {"gate": gate, "tried": tried, "fitted": _told(best)}
        if held_out is not None:
            told["held_out"] = _told(held_out)
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(
        f"smoothing {best.options.smoothing}, confirm {best.options.confirm}, "
        f"Ward threshold {best.options.ward_threshold:.4f} ({tried} gates tried)"
    )
    line = f"F1 {best.f1:.3f} where it was fitted"
    if held_out is not None:
        line += (
            f"; on {len(checks)} other streams F1 {held_out.f1:.3f} (precision "
            f"{held_out.precision:.3f}, recall {held_out.recall:.3f}), "
            f"{held_out.rate_hz:.2f} shifts/s, median delay {held_out.delay_s:.2f} s"
        )
    click.echo(line)


def _told(found: GateScore) -> dict[str, float]:
    return {
        "f1": found.f1,
        "precision": found.precision,
        "recall": found.recall,
        "rate_hz": found.rate_hz,
        "delay_s": found.delay_s,
    }
