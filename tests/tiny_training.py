"""A training so small that a test can run it several times; also what torchrun starts:
`python -m torch.distributed.run --nproc-per-node 2 tests/tiny_training.py FOLDER [STAGE STEP]`."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import torch
from vljepa_edge.model.config import TransformerConfig, VLJEPAConfig, nano
from vljepa_edge.model.contrastive_stage import contrastive_step
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.processes import Processes
from vljepa_edge.model.recipe import DecoderStage, EncoderStage, Recipe, Stage, TextStage
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.train import train
from vljepa_edge.model.vl_jepa import VLJEPA

from vljepa_edge import world


def tiny_config() -> VLJEPAConfig:
    """Two frames of 32x32; one layer of everything."""

    def small(part: TransformerConfig) -> TransformerConfig:
        return dataclasses.replace(
            part, width=32, layers=1, heads=2, kv_heads=2, head_dim=16, mlp_width=64
        )

    config = nano(vocabulary=400)
    assert config.y_decoder is not None
    return dataclasses.replace(
        config,
        name="tiny",
        frames=2,
        image_size=32,
        resize_short_side=32,
        embedding_width=32,
        x_encoder=dataclasses.replace(config.x_encoder, width=48, layers=1, heads=1),
        predictor=dataclasses.replace(
            config.predictor, transformer=small(config.predictor.transformer), visual_width=48
        ),
        y_encoder=dataclasses.replace(
            config.y_encoder, transformer=small(config.y_encoder.transformer)
        ),
        y_decoder=dataclasses.replace(
            config.y_decoder, transformer=small(config.y_decoder.transformer)
        ),
    )


def tiny_world() -> world.WorldConfig:
    """Version 2 at the tiny model's size."""
    config = tiny_config()
    return world.WorldConfig.v2(size=config.image_size, frames=config.frames, fps=config.fps)


def tiny_recipe() -> Recipe:
    """Every kind of stage, in float32, so that sums differ by rounding alone."""
    return Recipe(
        text=TextStage(steps=2, batch=8, learning_rate=1e-3),
        encoder=(EncoderStage("image", 3, 6, 1e-3),),
        stages=(
            Stage("image", 3, 6, 1e-3, 0.5, x_encoder_lr=1.0, questions=1),
            Stage("query", 4, 5, 1e-3, 0.5, cosine=True, questions=2),
        ),
        decoder=DecoderStage(steps=2, batch=4, learning_rate=1e-3, noise=0.5),
        autocast=False,
    )


def first_gradients(processes: Processes) -> dict[str, torch.Tensor]:
    """Gradients of one contrastive step from fixed weights."""
    torch.manual_seed(5)
    model = VLJEPA(tiny_config())
    tokenizer = train_tokenizer(corpus(tiny_world(), 1, 50), 400)
    batch = WorldBatches(tiny_world(), "query", 5, 1, 10, 2)[3]
    loss = contrastive_step(model, tokenizer, batch, processes=processes, autocast=False)
    loss.backward()  # type: ignore[no-untyped-call]
    named = {name: p for name, p in model.named_parameters() if p.grad is not None}
    processes.average(named.values())
    return {name: p.grad for name, p in named.items() if p.grad is not None}


def run(folder: Path, processes: Processes, stop_at: tuple[str, int] | None = None) -> None:
    """Trains into `folder`; `stop_at` breaks off there as Ctrl-C would."""

    def progress(stage: str, step: int, steps: int, loss: float) -> None:
        if stop_at == (stage, step):
            raise KeyboardInterrupt

    train(
        folder,
        tiny_config(),
        tiny_recipe(),
        world_config=tiny_world(),
        workers=0,
        save_every=1,
        corpus_sentences=50,
        processes=processes,
        progress=progress,
    )


def main(folder: Path, stop_at: tuple[str, int] | None) -> None:
    """What each of several processes does."""
    torch.set_num_threads(1)
    processes = Processes.join()
    if stop_at is None:
        run(folder, processes)
    else:
        gradients = first_gradients(processes)
        if processes.first:
            torch.save(gradients, folder.with_suffix(".gradients.pt"))
        try:
            run(folder, processes, stop_at)
        except (KeyboardInterrupt, RuntimeError):  # the others lose the one that was stopped
            os._exit(0)  # at once: gloo's threads may abort a process that lost its peers
    processes.leave()


if __name__ == "__main__":
    stop = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else None
    main(Path(sys.argv[1]), stop)
