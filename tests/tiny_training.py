"""A training so small that a test can run it several times; also what torchrun starts:
`python -m torch.distributed.run --nproc-per-node 2 tests/tiny_training.py FOLDER [STAGE STEP]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tiny_model
import torch
from vljepa_edge.model.config import VLJEPAConfig
from vljepa_edge.model.contrastive_stage import contrastive_step
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.processes import Processes
from vljepa_edge.model.recipe import DecoderStage, EncoderStage, Recipe, Stage, TextStage
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.train import train
from vljepa_edge.model.vl_jepa import VLJEPA

from vljepa_edge import world


def tiny_config() -> VLJEPAConfig:
    """The tiny model, of two frames."""
    return tiny_model.tiny_config(400, frames=2)


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
        decoder=DecoderStage(steps=2, batch=4, learning_rate=1e-3, noise=0.5, clips=3),
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


def thread_names() -> list[str]:
    """What the system calls this process's threads."""
    return [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]


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
    left = [name for name in thread_names() if "gloo" in name]
    assert not left, f"the group has ended, its threads have not: {left}"


if __name__ == "__main__":
    stop = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else None
    main(Path(sys.argv[1]), stop)
