"""The contrastive stages: predicted embeddings against the Y-Encoder's, by InfoNCE or another
loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from .. import world
from .data import Batch, WorldBatches, batches
from .losses import LossName, embedding_loss, of_labels
from .optimizers import Optimizers
from .processes import ALONE, Processes
from .recipe import LABEL_WEIGHTS, Recipe, Stage
from .text_embeddings import embed_texts
from .tokenizer import encode_batch
from .training_log import Log, Progress, Save
from .training_loop import TrainingLoop
from .vl_jepa import VLJEPA

# Queries are padded to a multiple of this: a compiled Predictor is compiled once per length.
QUERY_MULTIPLE = 16
# From this share of a stage's steps on the Predictor sees all visual tokens.
_ALL_SEEN_FROM = 2 / 3


def encode_queries(
    model: VLJEPA, tokenizer: Tokenizer, queries: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Ids int64 and mask float32, both [R,L], of as many queries, padded to a common length."""
    config = model.config
    ids, mask = encode_batch(
        tokenizer, queries, config.predictor.max_query_tokens, config.special_tokens
    )
    padding = (0, -ids.shape[1] % QUERY_MULTIPLE)
    return F.pad(ids, padding), F.pad(mask, padding)


def predict(
    model: VLJEPA, visual: Tensor, queries: tuple[Tensor, Tensor], seen: Tensor | None = None
) -> Tensor:
    """Unit embeddings [R,E] of visual tokens [R,N,D] and `encode_queries`' ids and mask."""
    ids, mask = queries
    predicted: Tensor = model.predictor(visual, model.predictor.embed_tokens(ids), mask, seen)
    return predicted


def contrastive_step(
    model: VLJEPA,
    tokenizer: Tokenizer,
    batch: Batch,
    frozen: bool = False,
    loss: LossName = "infonce",
    generator: torch.Generator | None = None,
    processes: Processes = ALONE,
    autocast: bool = True,
    labels: float = 0.0,
    seen: Tensor | None = None,
    quiet: float = 0.0,
) -> Tensor:
    """The loss of one batch, BF16 autocast by default; `frozen`: X-Encoder left as it is.

    `labels` weighs the loss against label texts; `seen` int64 [K]: the visual tokens that the
    Predictor looks at, None: all; `quiet` weighs the excess of its layers (`Stage`). A clip is
    encoded once for all of its rows, and a text once for all rows that share it. Of several
    processes each encodes its share of clips and texts, and all get the whole loss.
    """
    model.predictor.watch(quiet > 0)
    clips = processes.share(len(batch.frames))
    own = ((batch.clips >= clips.start) & (batch.clips < clips.stop)).nonzero()[:, 0]
    queries = encode_queries(model, tokenizer, [batch.queries[row] for row in own.tolist()])
    texts_of = [*batch.texts, *batch.negatives]
    if labels:
        texts_of += [text for kind in batch.label_texts for text in kind]
    number = {text: i for i, text in enumerate(dict.fromkeys(texts_of))}
    own_texts = list(number)[processes.share(len(number))]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        with torch.set_grad_enabled(not frozen):
            visual = model.x_encoder(batch.frames[clips])
        predicted = predict(model, visual[batch.clips[own] - clips.start], queries, seen)
        texts = embed_texts(model, tokenizer, own_texts)
    told: Tensor = predicted.new_zeros(())
    if quiet:
        told = quiet * model.predictor.excess()
    predicted, texts = processes.gather(predicted), processes.gather(texts)
    rows = torch.tensor([number[text] for text in batch.texts])
    same = (batch.keys[:, None] == batch.keys[None]) | (rows[:, None] == rows[None])
    extra = extra_same = None
    if batch.negatives:
        extra = texts[torch.tensor([number[text] for text in batch.negatives])]
        extra_same = batch.keys[:, None] == batch.negative_keys[None]
    if labels:
        vocabularies = [texts[[number[text] for text in kind]] for kind in batch.label_texts]
        told = told + labels * of_labels(
            predicted, batch.labels, vocabularies, LABEL_WEIGHTS, model.logit_scale
        )
    return told + embedding_loss(
        loss,
        predicted,
        texts[rows],
        model.logit_scale,
        same=same,
        extra=extra,
        extra_same=extra_same,
        generator=generator,
    )


def _some_tokens(model: VLJEPA, batch: Batch, share: float, generator: torch.Generator) -> Tensor:
    """Random visual tokens, the same ones of all clips, in order: int64 [K].

    Fewer tokens, more clips a second (FLIP, arXiv 2212.00794, does so with an image encoder).
    """
    time, _, height, width = batch.frames.shape[1:]
    c = model.config.x_encoder
    tokens = time // c.tubelet * (height // c.patch) * (width // c.patch)
    chosen = torch.randperm(tokens, generator=generator)[: max(1, round(share * tokens))]
    return chosen.sort().values


def train_contrastive(
    model: VLJEPA,
    tokenizer: Tokenizer,
    world_config: world.WorldConfig,
    recipe: Recipe,
    stage: Stage,
    first: int,
    resumed: Any,
    save: Save,
    save_every: int,
    workers: int,
    log: Log,
    progress: Progress | None,
    processes: Processes = ALONE,
) -> None:
    """Runs one stage from step `first` on."""

    def multiplier(name: str) -> float:
        shares = {"y_encoder": stage.y_encoder_lr, "x_encoder": stage.x_encoder_lr, "y_decoder": 0}
        return shares.get(name.split(".", 1)[0], 1.0)

    optimizer = Optimizers(model.named_parameters(), recipe.weight_decay, multiplier)
    if resumed is not None:
        optimizer.load_state_dict(resumed)
    dataset = WorldBatches(
        world_config, stage.task, stage.batch, recipe.seed, stage.steps, stage.questions
    )

    def loss_of(batch: Batch, step: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        frozen = stage.x_encoder_lr == 0
        labels = stage.labels if stage.loss == "infonce" else 0.0
        seen = None
        if stage.visual_share < 1 and step < _ALL_SEEN_FROM * stage.steps:
            seen = _some_tokens(model, batch, stage.visual_share, generator)
        loss = contrastive_step(
            model, tokenizer, batch, frozen, stage.loss, generator, processes, recipe.autocast,
            labels, seen, stage.quiet,
        )  # fmt: skip
        return loss, len(batch.texts)

    loop = TrainingLoop(
        stage.task, stage, recipe, optimizer, save, save_every, log, progress, processes
    )
    loop.run(batches(dataset, first, workers), loss_of, first)
