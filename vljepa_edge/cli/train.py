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
@click.option(
    "--world",
    "version",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="Version of sprite world.",
)
@click.option(
    "--x-encoder-from",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A checkpoint whose X-Encoder is taken over instead of training one.",
)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile; needs a C++ compiler.")
def command(
    folder: Path,
    scale: float,
    seed: int,
    workers: int,
    version: int,
    x_encoder_from: Path | None,
    compiled: bool,
) -> None:
    """Train the nano preset on sprite world into FOLDER; run it again to go on where it stopped.

    Needs the extra "train": pip install 'vljepa-edge[train]'.
    """
    import dataclasses

    from vljepa_edge.cli.console import Output
    from vljepa_edge.model.config import nano
    from vljepa_edge.model.recipe import nano_recipe
    from vljepa_edge.model.train import train
    from vljepa_edge.world import WorldConfig

    recipe = dataclasses.replace(nano_recipe(scale), seed=seed)
    stages: list[str] = []
    with Output("train", None) as out:

        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in stages:
                stages.append(stage)
                out.say(f"stage {stage}: {steps} steps")
            out.advance_to(step, steps)

        config = nano()
        make = WorldConfig.v2 if version == 2 else WorldConfig
        train(
            folder,
            config,
            recipe,
            world_config=make(size=config.image_size, frames=config.frames, fps=config.fps),
            workers=workers,
            compiled=compiled,
            x_encoder_from=x_encoder_from,
            progress=progress,
        )
    click.echo(f"{folder}: trained; make a bundle of it with `vljepa export {folder} -o BUNDLE`")
