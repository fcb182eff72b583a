"""`vljepa train`: trains the nano preset on sprite world."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("train")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiplies the recipe's steps.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the recipe.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="That draw.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile; needs a C++ compiler.")
def command(folder: Path, scale: float, seed: int, workers: int, compiled: bool) -> None:
    """Train the nano preset on sprite world into FOLDER; run it again to go on where it stopped.

    Needs the extra "train": pip install 'vljepa-edge[train]'.
    """
    import dataclasses

    from vljepa_edge.cli.console import Output
    from vljepa_edge.model.config import nano
    from vljepa_edge.model.recipe import nano_recipe
    from vljepa_edge.model.train import train

    recipe = dataclasses.replace(nano_recipe(scale), seed=seed)
    stages: list[str] = []
    with Output("train", None) as out:

        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in stages:
                stages.append(stage)
                out.say(f"stage {stage}: {steps} steps")
            out.advance_to(step, steps)

        train(folder, nano(), recipe, workers=workers, compiled=compiled, progress=progress)
    click.echo(f"{folder}: trained; make a bundle of it with `vljepa export {folder} -o BUNDLE`")
