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
@click.option(
    "--token-prediction",
    is_flag=True,
    help="Train the baseline of the paper's section 4.4 instead; needs --x-encoder-from.",
)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile; needs a C++ compiler.")
def command(
    folder: Path,
    scale: float,
    seed: int,
    workers: int,
    version: int,
    x_encoder_from: Path | None,
    token_prediction: bool,
    compiled: bool,
) -> None:
    """Train the nano preset on sprite world into FOLDER; run it again to go on where it stopped.

    Several processes share each batch: torchrun --nproc-per-node 2 -m vljepa_edge.cli train FOLDER.

    Needs the extra "train": pip install 'vljepa-edge[train]'.
    """
    import dataclasses

    from vljepa_edge.cli.console import Output
    from vljepa_edge.model.config import nano
    from vljepa_edge.model.processes import Processes
    from vljepa_edge.model.recipe import nano_recipe
    from vljepa_edge.model.token_prediction import train_token_prediction
    from vljepa_edge.model.train import train
    from vljepa_edge.world import WorldConfig

    processes = Processes.join()
    if token_prediction and (x_encoder_from is None or compiled or processes.count > 1):
        raise click.UsageError(
            "--token-prediction needs --x-encoder-from, and goes neither with --compile nor "
            "with several processes"
        )
    recipe = dataclasses.replace(nano_recipe(scale), seed=seed)
    stages: list[str] = []
    with Output("train", None, quiet=not processes.first) as out:

        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in stages:
                stages.append(stage)
                out.say(f"stage {stage}: {steps} steps")
            out.advance_to(step, steps)

        config = nano()
        world_config = WorldConfig.of(
            version, size=config.image_size, frames=config.frames, fps=config.fps
        )
        if token_prediction:
            assert x_encoder_from is not None
            train_token_prediction(
                folder,
                config,
                recipe,
                x_encoder_from=x_encoder_from,
                world_config=world_config,
                workers=workers,
                progress=progress,
            )
            click.echo(f"{folder}: trained; judge it with python -m vljepa_edge.bench.ablations")
            return
        train(
            folder,
            config,
            recipe,
            world_config=world_config,
            workers=workers,
            compiled=compiled,
            x_encoder_from=x_encoder_from,
            processes=processes,
            progress=progress,
        )
    processes.leave()
    if processes.first:
        click.echo(
            f"{folder}: trained; make a bundle of it with `vljepa export {folder} -o BUNDLE`"
        )
