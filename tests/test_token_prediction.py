"""The token-prediction baseline: its cache, what it can learn, and that runs resume to the step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_training import tiny_config, tiny_recipe, tiny_world
from vljepa_edge.model import checkpoint
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.optimizers import Optimizers
from vljepa_edge.model.recipe import Recipe
from vljepa_edge.model.token_prediction import (
    load_token_predictor,
    token_step,
    train_token_prediction,
)
from vljepa_edge.model.token_predictor import TokenPredictor, answer_rows, token_ids
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.vl_jepa import VLJEPA


def test_rows_ask_for_the_answer_alone() -> None:
    special = tiny_config().special_tokens
    inputs, labels, mask = answer_rows([[7, 8], [9]], [[5], [4, 6]], special)
    assert inputs.tolist() == [[7, 8, 1, 5], [9, 1, 4, 6]]
    assert labels.tolist() == [[8, 1, 5, 2], [1, 4, 6, 2]]
    assert mask.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]


def test_cache_and_candidates_equal_teacher_forcing() -> None:
    torch.manual_seed(2)
    model = TokenPredictor(tiny_config()).eval()
    frames = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        visual = model.encode(frames)
        query, candidates = [11, 12, 13], [[20, 21], [30, 31, 32, 33], [40]]
        inputs, labels, mask = answer_rows([query] * 3, candidates, model.config.special_tokens)
        logits = model.predictor(visual[:1].expand(3, -1, -1), inputs)
        each = logits.log_softmax(-1).gather(2, labels[..., None])[..., 0]
        expected = (each * mask).sum(1) / mask.sum(1)
    assert (model.score(visual[:1], query, candidates) - expected).abs().max() <= 1e-5
    # Text doesn't see what comes after it, visual tokens see one another.
    with torch.no_grad():
        other = model.predictor(visual[:1].expand(3, -1, -1), inputs.clone().fill_(50))
        assert (other[:, 0] - logits[:, 0]).abs().max() > 1e-4
        changed = inputs.clone()
        changed[:, -1] = 60
        again = model.predictor(visual[:1].expand(3, -1, -1), changed)
    assert torch.equal(again[:, :-1], logits[:, :-1])


def test_it_learns_a_few_clips_by_heart() -> None:
    torch.manual_seed(3)
    config = tiny_config()
    model = TokenPredictor(config)
    tokenizer = train_tokenizer(corpus(tiny_world(), 1, 100), 400)
    batch = WorldBatches(tiny_world(), "query", 4, 1, 10, 1)[0]
    optimizer = Optimizers(model.named_parameters(), 0.0)
    losses = []
    for _ in range(120):
        loss = token_step(model, tokenizer, batch, frozen=False, autocast=False)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(4e-3)
        losses.append(float(loss.detach()))
    assert losses[0] > 4 and losses[-1] < 0.05
    model.eval()
    visual = model.encode(batch.frames)
    right = 0
    for row, clip in enumerate(batch.clips.tolist()):
        asked = token_ids(tokenizer, [batch.queries[row]], 64)[0]
        told = model.generate(visual[clip : clip + 1], asked, 32)[0]
        right += tokenizer.decode(told).strip() == batch.texts[row].strip().lower()
        others = [batch.texts[row], "it is blue", "six cats jump over a house"]
        scores = model.score(visual[clip : clip + 1], asked, token_ids(tokenizer, others, 32))
        assert int(scores.argmax()) == 0
    assert right >= len(batch.texts) - 1


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    torch.manual_seed(4)
    tokenizer = train_tokenizer(corpus(tiny_world(), 1, 50), 400)
    checkpoint.save(tmp_path / "given", VLJEPA(tiny_config()), tokenizer, {"world": 2})
    recipe: Recipe = dataclasses.replace(
        tiny_recipe(),
        stages=tuple(dataclasses.replace(s, x_encoder_lr=0.0) for s in tiny_recipe().stages),
    )

    def run(folder: Path, stop_at: tuple[str, int] | None) -> None:
        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stop_at == (stage, step):
                raise KeyboardInterrupt

        train_token_prediction(
            folder,
            tiny_config(),
            recipe,
            x_encoder_from=tmp_path / "given",
            world_config=tiny_world(),
            workers=0,
            save_every=1,
            corpus_sentences=50,
            progress=progress,
        )

    run(tmp_path / "whole", None)
    for stop in (("image", 2), ("query", 3)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop)
    run(tmp_path / "parts", None)
    whole, parts = (load_token_predictor(tmp_path / n)[0].state_dict() for n in ("whole", "parts"))
    given = checkpoint.load(tmp_path / "given").model.state_dict()
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], atol=1e-6), name
        assert not name.startswith("x_encoder.") or torch.equal(value, given[name]), name
    with pytest.raises(checkpoint.CheckpointError, match="not a checkpoint of token prediction"):
        load_token_predictor(tmp_path / "given")
