"""The contrastive stages: predicted embeddings against the Y-Encoder's, by InfoNCE or another
loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from .. import world
from .data import Batch, WorldBatches, batches
from .losses import LossName, embedding_loss
from .optimizers import Optimizers
from .processes import ALONE, Processes
from .recipe import Recipe, Stage
from .tokenizer import encode_batch
from .training_log import Log, Progress, Save
from .training_loop import TrainingLoop
from .vl_jepa import VLJEPA

# Queries are padded to a multiple of this: a compiled Predictor is compiled once per length.
QUERY_MULTIPLE = 16


def contrastive_step(
    model: VLJEPA,
    tokenizer: Tokenizer,
    batch: Batch,
    frozen: bool = False,
    loss: LossName = "infonce",
    generator: torch.Generator | None = None,
    processes: Processes = ALONE,
    autocast: bool = True,
) -> Tensor:
    """The loss of one batch, BF16 autocast by default; `frozen`: X-Encoder left as it is.

    A clip is encoded once for all of its rows, and a text once for all rows that share it. Of
    several processes each encodes its share of clips and texts, and all get the whole loss.
    """
    config = model.config
    clips = processes.share(len(batch.frames))
    own = ((batch.clips >= clips.start) & (batch.clips < clips.stop)).nonzero()[:, 0]
    queries = [batch.queries[row] for row in own.tolist()]
    query_ids, query_mask = encode_batch(
        tokenizer, queries, config.predictor.max_query_tokens, config.special_tokens
    )
    padding = (0, -query_ids.shape[1] % QUERY_MULTIPLE)
    query_ids, query_mask = F.pad(query_ids, padding), F.pad(query_mask, padding)
    number = {text: i for i, text in enumerate(dict.fromkeys([*batch.texts, *batch.negatives]))}
    ids, mask = encode_batch(
        tokenizer,
        list(number)[processes.share(len(number))],
        config.y_encoder.max_tokens,
        config.special_tokens,
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        with torch.set_grad_enabled(not frozen):
            visual = model.x_encoder(batch.frames[clips])
        query = model.predictor.embed_tokens(query_ids)
        predicted = model.predictor(visual[batch.clips[own] - clips.start], query, query_mask)
        texts = model.y_encoder(ids, mask)
    predicted, texts = processes.gather(predicted), processes.gather(texts)
    rows = torch.tensor([number[text] for text in batch.texts])
    same = (batch.keys[:, None] == batch.keys[None]) | (rows[:, None] == rows[None])
    extra = extra_same = None
    if batch.negatives:
        extra = texts[torch.tensor([number[text] for text in batch.negatives])]
        extra_same = batch.keys[:, None] == batch.negative_keys[None]
    return embedding_loss(
        loss,
        predicted,
        texts[rows],
        model.logit_scale,
        same=same,
        extra=extra,
        extra_same=extra_same,
        generator=generator,
    )


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
        loss = contrastive_step(
            model, tokenizer, batch, frozen, stage.loss, generator, processes, recipe.autocast
        )
        return loss, len(batch.texts)

    loop = TrainingLoop(
        stage.task, stage, recipe, optimizer, save, save_every, log, progress, processes
    )
    loop.run(batches(dataset, first, workers), loss_of, first)
