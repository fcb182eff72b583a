"""Trains a VL-JEPA on sprite world: the Y-Encoder on text, the X-Encoder on the truth of every
patch, then the contrastive image, video and query stages, then the Y-Decoder on text.

`train` resumes to the step from its folder; batches depend on (seed, stage, step) alone. Under
torchrun, processes share each batch (processes.py); the first one writes, and trains the text sides
by itself.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from .. import world
from . import checkpoint
from .config import VLJEPAConfig
from .contrastive_stage import train_contrastive
from .data import corpus
from .decoder_stage import train_decoder
from .encoder_stage import DenseHeads, train_encoder
from .processes import ALONE, Processes
from .recipe import Recipe
from .text_stage import train_text
from .tokenizer import parse_tokenizer, train_tokenizer
from .training_log import Log, Progress, Resumable
from .vl_jepa import VLJEPA


def stage_names(recipe: Recipe) -> list[str]:
    """The stages after the text stage, in order, as `log.csv` and cards call them."""
    encoder = [f"encoder-{stage.task}" for stage in recipe.encoder]
    return [*encoder, *(stage.task for stage in recipe.stages), "decoder"]


def train(
    folder: Path,
    config: VLJEPAConfig,
    recipe: Recipe,
    *,
    world_config: world.WorldConfig | None = None,
    workers: int = 1,
    save_every: int = 100,
    corpus_sentences: int = 20_000,
    compiled: bool = False,
    x_encoder_from: Path | None = None,
    text_from: Path | None = None,
    processes: Processes = ALONE,
    progress: Progress | None = None,
) -> VLJEPA:
    """Runs or resumes a recipe in `folder`; a checkpoint is left there every `save_every` steps.

    `compiled` runs X-Encoder and Predictor through torch.compile (needs a C++ compiler): a sixth
    more clips a second or better; rounding differs, so resume a run as it was begun.
    `x_encoder_from` is a checkpoint whose X-Encoder is taken over; its own stages are left out.
    `text_from` is one whose tokenizer and Y-Encoder are (`train_text_side`); no text stage then.
    Of several `processes`, all on one file system, each calls this with the same arguments.
    """
    world_config = world_config or world.WorldConfig(
        size=config.image_size, frames=config.frames, fps=config.fps
    )
    torch.manual_seed(recipe.seed)
    model = VLJEPA(config)
    heads = DenseHeads(config.x_encoder.width, world_config)
    progress = progress if processes.first else None
    state = checkpoint.load_training_state(folder)
    processes.wait()  # nothing is written before all have read
    if state is None:
        words = ""
        if text_from is not None:
            side = checkpoint.load(text_from)
            model.y_encoder.load_state_dict(side.model.y_encoder.state_dict())
            words = side.tokenizer.to_str()
        elif processes.first:
            sentences = corpus(world_config, recipe.seed, corpus_sentences)
            tokenizer = train_tokenizer(sentences, config.y_encoder.transformer.vocabulary)
            _text_stage(model, tokenizer, world_config, recipe, folder, progress)
            words = tokenizer.to_str()
        tokenizer = parse_tokenizer(processes.told(words))
        state = {"stage": 0, "step": 0, "optimizer": None}
        if x_encoder_from is not None:
            given = checkpoint.load(x_encoder_from).model.x_encoder.state_dict()
            model.x_encoder.load_state_dict(given)
            state["stage"] = len(recipe.encoder)
    else:
        loaded = checkpoint.load(folder)
        model, tokenizer = loaded.model, loaded.tokenizer
        if "heads" in state:
            heads.load_state_dict(state["heads"])
    processes.same(model, heads)
    if processes.first:
        folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder / "log.csv" if processes.first else None)
    names = stage_names(recipe)
    pretraining = len(recipe.encoder)

    def save(stage: int, step: int, optimizer: Resumable | None) -> None:
        if not processes.first:
            return
        at = names[stage] if stage < len(names) else "done"
        card = {
            "stage": at,
            "step": step,
            "world": world_config.version,
            "recipe": dataclasses.asdict(recipe),
        }
        checkpoint.save(folder, model, tokenizer, card)
        kept: dict[str, Any] = {"stage": stage, "step": step}
        kept["optimizer"] = optimizer.state_dict() if optimizer is not None else None
        if stage < pretraining:
            kept["heads"] = heads.state_dict()
        checkpoint.save_training_state(folder, kept)

    model.train()
    if compiled:
        model.x_encoder.compile(dynamic=False)
        model.predictor.compile(dynamic=False)
    for number in range(int(state["stage"]), len(names)):
        first, resumed = int(state["step"]), state["optimizer"]
        model.zero_grad(set_to_none=True)  # nothing of another stage's last step

        def keep(step: int, optimizer: Resumable | None, number: int = number) -> None:
            save(number, step, optimizer)

        if number < pretraining:
            train_encoder(
                model, heads, world_config, recipe, recipe.encoder[number],
                first, resumed, keep, save_every, workers, log, progress, processes,
            )  # fmt: skip
        elif number < len(names) - 1:
            stage = recipe.stages[number - pretraining]
            train_contrastive(
                model, tokenizer, world_config, recipe, stage,
                first, resumed, keep, save_every, workers, log, progress, processes,
            )  # fmt: skip
        elif processes.first:
            train_decoder(
                model, tokenizer, world_config, recipe,
                first, resumed, keep, 5 * save_every, workers, log, progress,
            )  # fmt: skip
        state = {"stage": number + 1, "step": 0, "optimizer": None}
        save(number + 1, 0, None)
    processes.same(model)
    return model.eval()


def train_text_side(
    folder: Path,
    config: VLJEPAConfig,
    recipe: Recipe,
    world_config: world.WorldConfig,
    *,
    corpus_sentences: int = 20_000,
    progress: Progress | None = None,
) -> None:
    """The tokenizer and the text stage alone, as a checkpoint that several runs may begin with."""
    torch.manual_seed(recipe.seed)
    model = VLJEPA(config)
    sentences = corpus(world_config, recipe.seed, corpus_sentences)
    tokenizer = train_tokenizer(sentences, config.y_encoder.transformer.vocabulary)
    _text_stage(model.train(), tokenizer, world_config, recipe, folder, progress)
    card = {"stage": "text", "world": world_config.version, "recipe": dataclasses.asdict(recipe)}
    checkpoint.save(folder, model, tokenizer, card)


def _text_stage(
    model: VLJEPA,
    tokenizer: Tokenizer,
    world_config: world.WorldConfig,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None,
) -> None:
    """The Y-Encoder's own stage, logged."""
    stage = recipe.text
    folder.mkdir(parents=True, exist_ok=True)
    log, started = Log(folder / "log.csv"), time.monotonic()

    def told(step: int, loss: float) -> None:
        if step % 50 == 0 or step == stage.steps:
            speed = stage.batch * step / (time.monotonic() - started)
            log.write("text", step, loss, stage.learning_rate, speed)
        if progress is not None:
            progress("text", step, stage.steps, loss)

    train_text(model, tokenizer, world_config, stage, recipe.seed, progress=told)
