"""`vljepa eval`: quality of a checkpoint or a bundle on sprite world."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--clips", type=click.IntRange(2), default=500, show_default=True, help="Per split.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    default=("test",),
    show_default=True,
    help="test, pairs (held-out object-motion pairs) or style (held-out drawings); repeatable.",
)
@click.option("--seed", type=int, default=2, show_default=True, help="Of the clips.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: Path | None, clips: int, splits: tuple[str, ...], seed: int, as_json: bool
) -> None:
    """Judge MODEL on sprite world: a checkpoint folder (PyTorch, float32) or a bundle (C core).

    Without MODEL: the packaged bundle. Needs the extra "train".
    """
    from vljepa_edge import world
    from vljepa_edge.cli.console import Output
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.deployed import Deployed
    from vljepa_edge.model.evaluate import Embedder, Reference, evaluate
    from vljepa_edge.runtime.model import load

    embedder: Embedder
    if model is not None and (model / "model.safetensors").is_file():
        opened = checkpoint.load(model)
        config = opened.model.config
        size, frames, fps = config.image_size, config.frames, config.fps
        embedder = Reference(opened.model, opened.tokenizer)
    else:
        deployed = load(model)
        about = deployed.description
        size, frames, fps = about.height, about.frames, about.fps
        embedder = Deployed(deployed)
    unknown = [split for split in splits if split not in world.SPLITS]
    if unknown:
        raise click.UsageError(f"no split {unknown[0]!r}; one of {', '.join(world.SPLITS)}")
    config_world = world.WorldConfig(size=size, frames=frames, fps=fps)
    rows = []
    for split in splits:
        with Output(f"eval {split}", clips) as out:
            rows.append(
                evaluate(
                    embedder,
                    config_world,
                    split=split,
                    clips=clips,
                    seed=seed,
                    progress=out.advance_to,
                )
            )
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    for row in rows:
        click.echo(f"{row.split}: {row.clips} clips")
        for field in dataclasses.fields(row)[2:]:
            click.echo(f"  {field.name.replace('_', ' '):28} {getattr(row, field.name):6.1%}")
