"""Trains a VL-JEPA on sprite world: the Y-Encoder on text, then image, video and query stages,
then the Y-Decoder on text.

`train` resumes to the step from its folder; batches depend on (seed, stage, step) alone.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .. import world
from . import checkpoint
from .config import VLJEPAConfig
from .data import Batch, WorldBatches, batches, corpus
from .losses import info_nce, next_token
from .optimizers import BETAS, Optimizers
from .recipe import DecoderStage, Recipe, Stage
from .text_stage import train_text
from .tokenizer import encode_batch, train_tokenizer
from .vl_jepa import VLJEPA

Progress = Callable[[str, int, int, float], None]  # stage, step, steps, loss


def rate_at(stage: Stage, step: int) -> float:
    """Learning rate: linear warm-up, then constant, or cosine down to 2 %."""
    rate = stage.learning_rate * min(1.0, (step + 1) / max(1, min(stage.warmup, stage.steps // 4)))
    if stage.cosine:
        rate *= 0.02 + 0.98 * (1 + math.cos(math.pi * step / stage.steps)) / 2
    return rate


def contrastive_step(model: VLJEPA, tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """Bi-directional InfoNCE of one batch, BF16 autocast."""
    config = model.config
    query_ids, query_mask = encode_batch(
        tokenizer, batch.queries, config.predictor.max_query_tokens, config.special_tokens
    )
    ids, mask = encode_batch(
        tokenizer, batch.texts + batch.negatives, config.y_encoder.max_tokens, config.special_tokens
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = model.predict(batch.frames, query_ids, query_mask)
        texts = model.y_encoder(ids, mask)
    count = len(batch.texts)
    same = batch.keys[:, None] == batch.keys[None]
    extra = texts[count:] if batch.negatives else None
    extra_same = batch.keys[:, None] == batch.negative_keys[None] if batch.negatives else None
    return info_nce(predicted, texts[:count], model.logit_scale, same, extra, extra_same)


class Resumable(Protocol):
    """What a checkpoint keeps of an optimiser."""

    def state_dict(self) -> Any:
        """Its state, of plain values and tensors."""


class Log:
    """`log.csv`: stage, step, loss, learning rate, samples per second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            self._append(["stage", "step", "loss", "learning_rate", "samples_per_s"])

    def _append(self, row: list[Any]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)

    def write(self, stage: str, step: int, loss: float, rate: float, speed: float) -> None:
        """Appends one row."""
        self._append([stage, step, f"{loss:.4f}", f"{rate:.2e}", f"{speed:.1f}"])


def train(
    folder: Path,
    config: VLJEPAConfig,
    recipe: Recipe,
    *,
    world_config: world.WorldConfig | None = None,
    workers: int = 1,
    save_every: int = 100,
    corpus_sentences: int = 20_000,
    progress: Progress | None = None,
) -> VLJEPA:
    """Runs or resumes a recipe in `folder`; a checkpoint is left there every `save_every` steps."""
    world_config = world_config or world.WorldConfig(
        size=config.image_size, frames=config.frames, fps=config.fps
    )
    torch.manual_seed(recipe.seed)
    model = VLJEPA(config)
    state = checkpoint.load_training_state(folder)
    if state is None:
        sentences = corpus(world_config, recipe.seed, corpus_sentences)
        tokenizer = train_tokenizer(sentences, config.y_encoder.transformer.vocabulary)
        _text_stage(model, tokenizer, world_config, recipe, folder, progress)
        state = {"stage": 0, "step": 0, "optimizer": None}
    else:
        loaded = checkpoint.load(folder)
        model, tokenizer = loaded.model, loaded.tokenizer
    log = Log(folder / "log.csv")
    names = [*(stage.task for stage in recipe.stages), "decoder"]

    def save(stage: int, step: int, optimizer: Resumable | None) -> None:
        card = {"stage": names[stage] if stage < len(names) else "done", "step": step}
        checkpoint.save(folder, model, tokenizer, card)
        kept = optimizer.state_dict() if optimizer is not None else None
        checkpoint.save_training_state(folder, {"stage": stage, "step": step, "optimizer": kept})

    model.train()
    for number in range(int(state["stage"]), len(names)):
        first = int(state["step"])
        run = _Run(model, tokenizer, world_config, recipe, workers, log, progress)
        if number < len(recipe.stages):
            run.contrastive(number, first, state["optimizer"], save, save_every)
        else:
            run.decoder(recipe.decoder, first, state["optimizer"], save, number)
        state = {"stage": number + 1, "step": 0, "optimizer": None}
        save(number + 1, 0, None)
    return model.eval()


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


Save = Callable[[int, int, "Resumable | None"], None]


class _Run:
    """The loops of the stages over one model."""

    def __init__(
        self,
        model: VLJEPA,
        tokenizer: Tokenizer,
        world_config: world.WorldConfig,
        recipe: Recipe,
        workers: int,
        log: Log,
        progress: Progress | None,
    ) -> None:
        self.model, self.tokenizer, self.world_config = model, tokenizer, world_config
        self.recipe, self.workers, self.log, self.progress = recipe, workers, log, progress

    def contrastive(
        self, number: int, first: int, resumed: Any, save: Save, save_every: int
    ) -> None:
        """One InfoNCE stage from step `first` on."""
        stage = self.recipe.stages[number]
        optimizer = Optimizers(self.model, stage.y_encoder_lr, self.recipe.weight_decay)
        if resumed is not None:
            optimizer.load_state_dict(resumed)
        dataset = WorldBatches(
            self.world_config, stage.task, stage.batch, self.recipe.seed, stage.steps
        )
        parameters = optimizer.parameters()
        started, losses = time.monotonic(), []
        for step, batch in enumerate(batches(dataset, first, self.workers), first):
            rate = rate_at(stage, step)
            loss = contrastive_step(self.model, self.tokenizer, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
            optimizer.step(rate)
            latest = float(loss.detach())
            losses.append(latest)
            if (step + 1) % 20 == 0 or step + 1 == stage.steps:
                speed = stage.batch * len(losses) / (time.monotonic() - started)
                self.log.write(stage.task, step + 1, float(np.mean(losses)), rate, speed)
                started, losses = time.monotonic(), []
            if self.progress is not None:
                self.progress(stage.task, step + 1, stage.steps, latest)
            if (step + 1) % save_every == 0 and step + 1 < stage.steps:
                save(number, step + 1, optimizer)

    def decoder(
        self, stage: DecoderStage, first: int, resumed: Any, save: Save, number: int
    ) -> None:
        """Text alone: embedding of any phrasing + Gaussian noise -> the canonical text."""
        decoder = self.model.y_decoder
        if decoder is None:
            return
        config, special = self.model.config, self.model.config.special_tokens
        optimizer = torch.optim.AdamW(
            decoder.parameters(), lr=stage.learning_rate, betas=BETAS, weight_decay=0.01, fused=True
        )
        if resumed is not None:
            optimizer.load_state_dict(resumed)
        started, losses = time.monotonic(), []
        for step in range(first, stage.steps):
            generator = np.random.default_rng((self.recipe.seed, 991, step))
            sources, targets = decoder_texts(self.world_config, generator, stage.batch)
            ids, mask = encode_batch(self.tokenizer, sources, config.y_encoder.max_tokens, special)
            out_ids, out_mask = encode_batch(
                self.tokenizer, targets, decoder.config.max_new_tokens - 1, special
            )
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                embedding = self.model.y_encoder(ids, mask)
            embedding = add_noise(embedding, stage.noise, generator)
            begin = torch.full((len(out_ids), 1), special.begin)
            end = torch.full((len(out_ids), 1), special.end)
            inputs = torch.cat((begin, out_ids), 1)
            labels = torch.cat((out_ids, end), 1)
            lengths = out_mask.sum(1).long()
            labels[torch.arange(len(labels)), lengths] = special.end
            label_mask = torch.cat((out_mask, torch.zeros(len(out_ids), 1)), 1)
            label_mask[torch.arange(len(labels)), lengths] = 1
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = decoder(embedding, inputs)
            loss = next_token(logits, labels, label_mask)
            progress = step / stage.steps
            for group in optimizer.param_groups:
                warm = min(1.0, (step + 1) / 100)
                group["lr"] = stage.learning_rate * warm * (1 + math.cos(math.pi * progress)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(decoder.parameters(), self.recipe.gradient_clip)
            optimizer.step()
            latest = float(loss.detach())
            losses.append(latest)
            if (step + 1) % 50 == 0 or step + 1 == stage.steps:
                speed = stage.batch * len(losses) / (time.monotonic() - started)
                rate = optimizer.param_groups[0]["lr"]
                self.log.write("decoder", step + 1, float(np.mean(losses)), rate, speed)
                started, losses = time.monotonic(), []
            if self.progress is not None:
                self.progress("decoder", step + 1, stage.steps, latest)
            if (step + 1) % 500 == 0 and step + 1 < stage.steps:
                save(number, step + 1, optimizer)


def decoder_texts(
    config: world.WorldConfig, rng: np.random.Generator, count: int
) -> tuple[list[str], list[str]]:
    """(phrasings, canonical texts): two thirds video captions, the rest image captions and answers.

    Held-out object-motion pairs don't appear here either.
    """
    sources, targets = [], []
    for _ in range(count):
        scene = world.sample_scene(rng, config, split="train")
        draw = rng.random()
        if draw < 0.67:
            sources.append(world.caption(scene, rng))
            targets.append(world.canonical_caption(scene))
        elif draw < 0.8:
            sources.append(world.image_caption(scene, rng))
            targets.append(world.canonical_image_caption(scene))
        else:
            questions = [q for q in world.questions(scene, rng) if q.kind != "caption"]
            question = questions[int(rng.integers(len(questions)))]
            sources.append(question.answer)
            targets.append(question.answer)
    return sources, targets


def add_noise(embedding: Tensor, limit: float, rng: np.random.Generator) -> Tensor:
    """Unit rows [B,E] plus Gaussian noise of a norm drawn below `limit`, made unit again."""
    noise = torch.from_numpy(rng.standard_normal(embedding.shape).astype(np.float32))
    norms = torch.from_numpy(rng.uniform(0, limit, (len(embedding), 1)).astype(np.float32))
    noisy = embedding.float() + norms * nn.functional.normalize(noise, dim=-1)
    return nn.functional.normalize(noisy, dim=-1)
