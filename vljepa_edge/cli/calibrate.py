"""`vljepa calibrate`: fits a bundle's gate to recorded embedding streams."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click


@click.command("calibrate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--streams", type=click.IntRange(1), default=8, show_default=True, help="Recorded.")
@click.option(
    "--seconds", type=click.FloatRange(10), default=60.0, show_default=True, help="Of each stream."
)
@click.option("--seed", type=int, default=100, show_default=True, help="Of the streams.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many shifts, Hz.")
@click.option("--dry-run", is_flag=True, help="Print the thresholds; leave the bundle as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    bundle: Path,
    streams: int,
    seconds: float,
    seed: int,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fit BUNDLE's gate thresholds on sprite world streams and write them into it.

    The best F1 against the streams' true shifts wins. Needs the extra "export".
    """
    from vljepa_edge.calibration.gate import fit, score
    from vljepa_edge.calibration.world_streams import record_world
    from vljepa_edge.cli.console import Output
    from vljepa_edge.export.gate import set_gate
    from vljepa_edge.export.manifest import GateSettings
    from vljepa_edge.runtime.model import load

    with Output("recording", 2 * streams) as out, load(bundle) as model:
        recordings = record_world(
            model, streams=streams, seconds=seconds, seed=seed, progress=out.advance_to
        )
        checks = record_world(
            model,
            streams=streams,
            seconds=seconds,
            seed=seed + streams,
            progress=lambda done, total: out.advance_to(streams + done, 2 * streams),
        )
    best, tried = fit(recordings, target_rate_hz=rate)
    held_out = score(checks, best.options)
    options = dataclasses.asdict(best.options)
    if not dry_run:
        set_gate(bundle, GateSettings(decode_when="onset", **options))
    if as_json:
        told = {
            "gate": options,
            "tried": len(tried),
            "fitted": {"f1": best.f1, "rate_hz": best.rate_hz, "delay_s": best.delay_s},
            "held_out": {
                "f1": held_out.f1,
                "precision": held_out.precision,
                "recall": held_out.recall,
                "rate_hz": held_out.rate_hz,
                "delay_s": held_out.delay_s,
            },
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(
        f"smoothing {best.options.smoothing}, confirm {best.options.confirm}, "
        f"Ward threshold {best.options.ward_threshold:.4f} ({len(tried)} gates tried)"
    )
    click.echo(
        f"F1 {best.f1:.3f} where it was fitted; on {streams} other streams F1 {held_out.f1:.3f} "
        f"(precision {held_out.precision:.3f}, recall {held_out.recall:.3f}), "
        f"{held_out.rate_hz:.2f} shifts/s, median delay {held_out.delay_s:.2f} s"
    )
