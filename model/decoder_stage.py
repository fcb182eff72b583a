"""The Y-Decoder's own stage: embedding of any phrasing + noise -> canonical text, and predicted
embeddings of clips too, which err in their own ways."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .. import world
from .contrastive_stage import encode_queries, predict
from .data import Batch, WorldBatches, batches
from .losses import next_token
from .optimizers import BETAS
from .recipe import Recipe
from .tokenizer import encode_batch
from .training_log import Log, Progress, Save
from .vl_jepa import VLJEPA


def train_decoder(
    model: VLJEPA,
    tokenizer: Tokenizer,
    world_config: world.WorldConfig,
    recipe: Recipe,
    first: int,
    resumed: Any,
    save: Save,
    save_every: int,
    workers: int,
    log: Log,
    progress: Progress | None,
) -> None:
    """Runs the stage from step `first`; nothing to do for a model without a Y-Decoder."""
    decoder, stage = model.y_decoder, recipe.decoder
    if decoder is None:
        return
    optimizer = torch.optim.AdamW(
        decoder.parameters(), lr=stage.learning_rate, betas=BETAS, weight_decay=0.01, fused=True
    )
    if resumed is not None:
        optimizer.load_state_dict(resumed)
    shown: Iterator[Batch | None] = itertools.repeat(None)
    if stage.clips:
        shown = batches(
            WorldBatches(world_config, "query", stage.clips, recipe.seed + 1, stage.steps, 1),
            first,
            workers,
        )
    started, losses = time.monotonic(), []
    for step in range(first, stage.steps):
        generator = np.random.default_rng((recipe.seed, 991, step))
        texts, targets = decoder_texts(world_config, generator, stage.batch)
        embeddings = add_noise(_embed(model, tokenizer, texts), stage.noise, generator)
        batch = next(shown)
        if batch is not None:
            embeddings = torch.cat((embeddings, _predicted(model, tokenizer, batch)))
            targets = targets + batch.written
        loss = _decoder_loss(model, tokenizer, embeddings, targets)
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            decay = (1 + math.cos(math.pi * step / stage.steps)) / 2
            group["lr"] = stage.learning_rate * warm * decay
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(decoder.parameters(), recipe.gradient_clip)
        optimizer.step()
        latest = float(loss.detach())
        losses.append(latest)
        if (step + 1) % 50 == 0 or step + 1 == stage.steps:
            speed = len(targets) * len(losses) / (time.monotonic() - started)
            rate = optimizer.param_groups[0]["lr"]
            log.write("decoder", step + 1, float(np.mean(losses)), rate, speed)
            started, losses = time.monotonic(), []
        if progress is not None:
            progress("decoder", step + 1, stage.steps, latest)
        if (step + 1) % save_every == 0 and step + 1 < stage.steps:
            save(step + 1, optimizer)


@torch.no_grad()
def _embed(model: VLJEPA, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """The Y-Encoder's embeddings of texts, [R,E]."""
    c = model.config
    ids, mask = encode_batch(tokenizer, texts, c.y_encoder.max_tokens, c.special_tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding: Tensor = model.y_encoder(ids, mask)
    return embedding


@torch.no_grad()
def _predicted(model: VLJEPA, tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """What the Predictor makes of a batch's clips and queries, float32 [R,E]."""
    queries = encode_queries(model, tokenizer, batch.queries)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        visual = model.x_encoder(batch.frames)
        predicted = predict(model, visual[batch.clips], queries)
    return predicted.float()


def _decoder_loss(
    model: VLJEPA, tokenizer: Tokenizer, embedding: Tensor, targets: list[str]
) -> Tensor:
    """Cross-entropy of the target texts given unit embeddings [R,E]."""
    decoder, special = model.y_decoder, model.config.special_tokens
    assert decoder is not None
    out_ids, out_mask = encode_batch(tokenizer, targets, decoder.config.max_new_tokens - 1, special)
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
    return next_token(logits, labels, label_mask)


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
            questions = [q for q in world.questions(scene, rng, config) if q.kind != "caption"]
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
