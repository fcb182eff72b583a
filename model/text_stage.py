"""The Y-Encoder's first stage, on text alone: phrasings of one meaning together, all others apart.

The paper's Y-Encoder comes pretrained and knows already that left is not right. One that starts
from noise doesn't, and learning it from video alone fails: what the video side cannot tell apart
yet, the text side merges ("moves left" and "moves right" came to a cosine of 0.99), and then there
is nothing left to learn from. This stage stands in for that pretraining.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .. import world
from .data import label_row, meaning, variants
from .losses import info_nce, of_labels
from .recipe import LABEL_WEIGHTS, TextStage
from .text_embeddings import embed_texts
from .vl_jepa import VLJEPA

# Natural log of the inverse temperature of this stage.
LOGIT_SCALE = 3.0
# Share of captions whose other phrasing has words that no caption has, where the world has such.
_HELD_OUT_WORDS = 0.3


def text_pairs(
    config: world.WorldConfig, rng: np.random.Generator, count: int
) -> tuple[list[str], list[str], list[int], list[list[int]]]:
    """(a phrasing, another phrasing, key of the meaning, labels): captions, two thirds of them of a
    scene with one thing changed, image captions, motions alone, and answers."""
    first: list[str] = []
    second: list[str] = []
    keys: list[int] = []
    labels: list[list[int]] = []
    of_image = [kind for kind in world.LABEL_KINDS if kind != "motion"]

    def add(kind: str, canonical: str, one: str, other: str, label: list[int]) -> None:
        first.append(one)
        second.append(other)
        keys.append(meaning(kind, canonical))
        labels.append(label)

    while len(first) < count:
        scene = world.sample_scene(rng, config, split="train")
        draw = rng.random()
        if draw < 0.6:
            changed = list(variants(scene, config, rng, 2))
            picked = [changed[int(i)] for i in rng.permutation(len(changed))[:2]]
            for told in (scene, *picked):
                canonical, other = world.canonical_caption(told), world.caption(told, rng)
                if config.version > 1 and rng.random() < _HELD_OUT_WORDS:
                    other = world.held_out_caption(told) or other
                add("caption", canonical, world.caption(told, rng), other, label_row(told, config))
        elif draw < 0.72:
            canonical = world.canonical_image_caption(scene)
            label = label_row(scene, config, of_image)
            add("image", canonical, world.image_caption(scene, rng), canonical, label)
        elif draw < 0.84:
            phrases = world.verb_phrases(scene.motion, world.other_phrase(scene))
            canonical = f"it {phrases[0][1]}"
            one, label = f"it {world.pick(rng, phrases)[1]}", label_row(scene, config, ["motion"])
            add("answer", canonical, one, canonical, label)
        else:
            for question in world.questions(scene, rng, config):
                if question.kind != "caption":
                    answer = question.answer
                    add("answer", answer, answer, answer, label_row(scene, config, ()))
    return first[:count], second[:count], keys[:count], labels[:count]


def text_step(
    model: VLJEPA,
    tokenizer: Tokenizer,
    batch: tuple[list[str], ...],
    keys: Tensor,
    labels: Tensor,
    label_texts: Sequence[Sequence[str]],
    weight: float,
) -> Tensor:
    """InfoNCE between two phrasings; equal texts and equal meanings are no negatives. And both
    phrasings against the label texts, `weight` times."""
    texts = [*batch[0], *batch[1]]
    pairs = len(texts)
    if weight:
        texts += [text for kind in label_texts for text in kind]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = embed_texts(model, tokenizer, texts)
    told = rows.new_zeros(())
    scale = torch.tensor(LOGIT_SCALE)
    if weight:
        vocabularies = torch.split(rows[pairs:], [len(kind) for kind in label_texts])
        told = of_labels(rows[:pairs], labels.repeat(2, 1), vocabularies, LABEL_WEIGHTS, scale)
    one, other = rows[:pairs].chunk(2)
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    which = torch.tensor([number[text] for text in texts[:pairs]]).view(2, -1)
    same = keys[:, None] == keys[None]
    for side in which:
        same = same | (side[:, None] == side[None])
    loss: Tensor = info_nce(one, other, scale, same) + weight * told
    return loss


def train_text(
    model: VLJEPA,
    tokenizer: Tokenizer,
    config: world.WorldConfig,
    stage: TextStage,
    seed: int,
    *,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Runs the stage; `progress(step, loss)` after each step. Too short to be worth resuming."""
    optimizer = torch.optim.AdamW(model.y_encoder.parameters(), weight_decay=0.01, fused=True)
    label_texts = tuple(world.label_texts(config).values())
    for step in range(stage.steps):
        rng = np.random.default_rng((seed, 883, step))
        first, second, keys, labels = text_pairs(config, rng, stage.batch)
        loss = text_step(
            model, tokenizer, (first, second), torch.tensor(keys), torch.tensor(labels),
            label_texts, stage.labels,
        )  # fmt: skip
        warm = min(1.0, (step + 1) / 50)
        decay = (1 + math.cos(math.pi * step / stage.steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * warm * decay
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.y_encoder.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, float(loss.detach()))
