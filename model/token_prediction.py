"""Trains the token-prediction baseline (section 4.4) on what the contrastive stages see: the same
clips, queries and texts in the same order, the same optimisers and rates, next-token cross-entropy.

    vljepa train FOLDER --token-prediction --x-encoder-from CHECKPOINT

The X-Encoder is the checkpoint's, the tokenizer made as `train` makes it. Wrong answers, which are
contrastive negatives, have no use here. A caption's target is its phrasing, as it is for the
Y-Encoder.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .. import world
from . import checkpoint
from .config import VLJEPAConfig
from .data import Batch, WorldBatches, batches, corpus
from .losses import next_token
from .optimizers import Optimizers
from .recipe import Recipe
from .token_predictor import TokenPredictor, answer_rows, token_ids
from .tokenizer import load_tokenizer, train_tokenizer
from .training_log import Log, Progress, Resumable
from .training_loop import TrainingLoop

KIND = "token prediction"


def token_step(
    model: TokenPredictor,
    tokenizer: Tokenizer,
    batch: Batch,
    frozen: bool = True,
    autocast: bool = True,
) -> Tensor:
    """Cross-entropy of the answers of one batch, over all of their tokens."""
    c = model.config
    queries = token_ids(tokenizer, batch.queries, c.predictor.max_query_tokens)
    answers = token_ids(tokenizer, batch.texts, c.y_encoder.max_tokens)
    inputs, labels, mask = answer_rows(queries, answers, c.special_tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        with torch.set_grad_enabled(not frozen):
            visual = model.encode(batch.frames)
        logits = model.predictor(visual[batch.clips], inputs)
    return next_token(logits, labels, mask)


def train_token_prediction(
    folder: Path,
    config: VLJEPAConfig,
    recipe: Recipe,
    *,
    x_encoder_from: Path,
    world_config: world.WorldConfig,
    workers: int = 1,
    save_every: int = 100,
    corpus_sentences: int = 20_000,
    progress: Progress | None = None,
) -> TokenPredictor:
    """Runs or resumes the recipe's image, video and query stages in `folder`."""
    torch.manual_seed(recipe.seed)
    model = TokenPredictor(config)
    state = checkpoint.load_training_state(folder)
    if state is None:
        sentences = corpus(world_config, recipe.seed, corpus_sentences)
        tokenizer = train_tokenizer(sentences, config.y_encoder.transformer.vocabulary)
        given = checkpoint.load(x_encoder_from).model.x_encoder.state_dict()
        model.x_encoder.load_state_dict(given)
        state = {"stage": 0, "step": 0, "optimizer": None}
    else:
        model, tokenizer = load_token_predictor(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder / "log.csv")
    names = [stage.task for stage in recipe.stages]

    def save(stage: int, step: int, optimizer: Resumable | None) -> None:
        at = names[stage] if stage < len(names) else "done"
        card = {"kind": KIND, "stage": at, "step": step, "world": world_config.version}
        checkpoint.save(folder, model, tokenizer, card)
        kept = optimizer.state_dict() if optimizer is not None else None
        checkpoint.save_training_state(folder, {"stage": stage, "step": step, "optimizer": kept})

    model.train()
    for number in range(int(state["stage"]), len(names)):
        stage = recipe.stages[number]

        def multiplier(name: str, of_encoder: float = stage.x_encoder_lr) -> float:
            return of_encoder if name.startswith("x_encoder.") else 1.0

        optimizer = Optimizers(model.named_parameters(), recipe.weight_decay, multiplier)
        if state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
        dataset = WorldBatches(
            world_config, stage.task, stage.batch, recipe.seed, stage.steps, stage.questions
        )
        frozen = stage.x_encoder_lr == 0

        def loss_of(batch: Batch, step: int, frozen: bool = frozen) -> tuple[Tensor, int]:
            loss = token_step(model, tokenizer, batch, frozen, recipe.autocast)
            return loss, len(batch.texts)

        def keep(step: int, optimizer: Resumable | None, number: int = number) -> None:
            save(number, step, optimizer)

        loop = TrainingLoop(stage.task, stage, recipe, optimizer, keep, save_every, log, progress)
        loop.run(batches(dataset, first, workers), loss_of, first)
        state = {"stage": number + 1, "step": 0, "optimizer": None}
        save(number + 1, 0, None)
    return model.eval()


def load_token_predictor(folder: Path) -> tuple[TokenPredictor, Tokenizer]:
    """What `train_token_prediction` left. CheckpointError where that is something else."""
    if not checkpoint.told_by(folder).get("kind") == KIND:
        raise checkpoint.CheckpointError(f"{folder}: not a checkpoint of {KIND}")
    model = TokenPredictor(VLJEPAConfig.read(folder / "config.json"))
    checkpoint.load_weights(model, folder / "model.safetensors")
    return model.eval(), load_tokenizer(folder / "tokenizer.json")
