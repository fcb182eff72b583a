"""`vljepa compare`: how far one bundle decides as another does."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--data", default="world", show_default=True, help="world, clips, or a .npy.")
@click.option("--windows", type=click.IntRange(2), default=200, show_default=True)
@click.option(
    "--candidates", type=click.IntRange(2), default=1000, show_default=True, help="Captions."
)
@click.option(
    "--streams", type=click.IntRange(0), default=4, show_default=True, help="For shifts; 0: none."
)
@click.option(
    "--seconds", type=click.FloatRange(10), default=30.0, show_default=True, help="Of each stream."
)
@click.option("--seed", type=int, default=2, show_default=True, help="Of clips and streams.")
@click.option(
    "--world",
    "version",
    type=click.IntRange(1, 2),
    help="Version of sprite world.  [default: the one A was trained on]",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Of the engines; 0: all.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for fidelity.md, fidelity.json and fidelity.png.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    a: Path,
    b: Path,
    data: str,
    windows: int,
    candidates: int,
    streams: int,
    seconds: float,
    seed: int,
    version: int | None,
    threads: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare bundle B with bundle A: embeddings, decisions, shifts, texts, size and time.

    On sprite world, whose truth is known, or on clips. Needs the extra "export", and "bench" for
    the picture.
    """
    from vljepa_edge.calibration.fidelity import compare
    from vljepa_edge.calibration.report import fidelity_markdown, write_fidelity
    from vljepa_edge.cli.console import Output

    with Output("compare", windows) as out:
        found = compare(
            a,
            b,
            data=data,
            windows=windows,
            candidates=candidates,
            streams=streams,
            seconds=seconds,
            seed=seed,
            threads=threads,
            version=version,
            progress=lambda what, done, total: out.advance_to(done, total),
        )
    if output is not None:
        for path in write_fidelity(found, output):
            click.echo(f"wrote {path}", err=True)
    if as_json:
        told = found.to_json()
        del told["cosines"]  # in fidelity.json
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(fidelity_markdown(found), nl=False)
