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
@click.option("--suite", type=click.Choice(["all"]), help="Every task of the paper, not --split.")
@click.option("--task", "tasks", multiple=True, help="One task of the suite; repeatable.")
@click.option(
    "--world",
    "version",
    type=click.IntRange(1, 2),
    help="Version of sprite world.  [default: the one MODEL was trained on]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: Path | None,
    clips: int,
    splits: tuple[str, ...],
    seed: int,
    suite: str | None,
    tasks: tuple[str, ...],
    version: int | None,
    as_json: bool,
) -> None:
    """Judge MODEL on sprite world: a checkpoint folder (PyTorch, float32) or a bundle (C core).

    Without MODEL: the packaged bundle. A checkpoint needs the extra "train", and so do the first
    figures (without --suite and --task). --suite prints Markdown.
    """
    if suite or tasks:
        _suite(model, tasks, version, clips, seed, as_json)
        return
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
        known = opened.world
        embedder = Reference(opened.model, opened.tokenizer)
    else:
        deployed = load(model)
        about = deployed.description
        size, frames, fps = about.height, about.frames, about.fps
        known = deployed.world
        embedder = Deployed(deployed)
    unknown = [split for split in splits if split not in world.SPLITS]
    if unknown:
        raise click.UsageError(f"no split {unknown[0]!r}; one of {', '.join(world.SPLITS)}")
    config_world = world.WorldConfig.of(version or known, size=size, frames=frames, fps=fps)
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


def _suite(
    model: Path | None,
    tasks: tuple[str, ...],
    version: int | None,
    clips: int,
    seed: int,
    as_json: bool,
) -> None:
    """Runs the tasks of the suite and prints their figures."""
    from vljepa_edge.bench.tasks.judge import open_judged
    from vljepa_edge.bench.tasks.suite import TASKS, run, to_markdown
    from vljepa_edge.cli.console import Output

    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise click.UsageError(f"no task {unknown[0]!r}; one of {', '.join(TASKS)}")
    names = tuple(tasks or TASKS)
    judged = open_judged(model)
    with Output("eval", len(names), quiet=True) as out:
        report = run(
            judged,
            version=version,
            tasks=names,
            clips=clips,
            seed=seed,
            progress=out.say,
        )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else to_markdown(report), nl=False)
    if as_json:
        click.echo()
