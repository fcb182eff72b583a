"""What a model has to hold: padding, bidirectionality, grids, decoding, losses, checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.model import checkpoint
from vljepa_edge.model.attention import attention
from vljepa_edge.model.config import VLJEPAConfig, nano, paper
from vljepa_edge.model.data import WorldBatches
from vljepa_edge.model.evaluate import Reference, evaluate, parse_caption
from vljepa_edge.model.losses import info_nce
from vljepa_edge.model.optimizers import MUON_LR, Optimizers
from vljepa_edge.model.recipe import DecoderStage, EncoderStage, Recipe, Stage, TextStage
from vljepa_edge.model.text_stage import train_text
from vljepa_edge.model.train import train
from vljepa_edge.model.vl_jepa import VLJEPA

from vljepa_edge import world


@pytest.fixture(scope="module")
def model() -> VLJEPA:
    torch.manual_seed(3)
    return VLJEPA(nano()).eval()


def _frames(count: int, size: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (1, count, 3, size, size), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_padding_does_not_change_a_prediction(model: VLJEPA) -> None:
    visual = model.x_encoder(_frames(8))
    ids = torch.tensor([[5, 6, 7]])
    short = model.predictor(visual, model.predictor.embed_tokens(ids), torch.ones(1, 3))
    padded = F.pad(ids, (0, 509))
    mask = F.pad(torch.ones(1, 3), (0, 509))
    long = model.predictor(visual, model.predictor.embed_tokens(padded), mask)
    assert (short - long).abs().max() <= 1e-5
    assert torch.allclose(short.norm(dim=-1), torch.ones(1))


@torch.no_grad()
def test_predictor_is_bidirectional(model: VLJEPA) -> None:
    visual = model.x_encoder(_frames(8))
    first = model.predictor.embed_tokens(torch.tensor([[5, 6, 7]]))
    second = model.predictor.embed_tokens(torch.tensor([[5, 6, 8]]))
    mask = torch.ones(1, 3)
    one, _ = model.predictor.hidden(visual, first, mask)
    two, _ = model.predictor.hidden(visual, second, mask)
    assert (one[:, 0] - two[:, 0]).abs().max() > 1e-6  # the last token is seen by the first


@torch.no_grad()
def test_positions_follow_the_real_grid(model: VLJEPA) -> None:
    assert model.x_encoder(_frames(2)).shape == (1, 64, 192)
    assert model.x_encoder(_frames(4, 64)).shape == (1, 32, 192)
    with pytest.raises(ValueError, match="no multiple of the tubelet"):
        model.x_encoder(_frames(3))


@torch.no_grad()
def test_step_with_cache_equals_teacher_forcing(model: VLJEPA) -> None:
    decoder = model.y_decoder
    assert decoder is not None
    c = decoder.config
    embedding = F.normalize(torch.randn(1, 256, generator=torch.Generator().manual_seed(5)), dim=-1)
    ids = torch.tensor([[1, 40, 41, 42]])
    expected = decoder(embedding, ids)[0]

    stack, capacity, prefix = c.transformer, c.cache_length, c.prefix_tokens
    cache = torch.zeros(2 * stack.layers, stack.kv_heads, capacity, stack.head_dim)
    begin = decoder.embed_tokens(ids[:, :1])
    mask = torch.full((prefix + 1, capacity + prefix + 1), -1e9)
    mask[:, capacity:] = decoder.prefix_mask(prefix + 1)
    inputs = torch.cat((decoder.soft_tokens(embedding), begin), 1)
    logits, new = decoder.step(inputs, torch.arange(prefix + 1), mask, cache)
    assert (logits[0] - expected[0]).abs().max() <= 1e-4
    cache[:, :, : prefix + 1] = new
    for i in range(1, 4):
        past = prefix + i
        mask = torch.full((1, capacity + 1), -1e9)
        mask[:, :past] = 0
        mask[:, -1] = 0
        token = decoder.embed_tokens(ids[:, i : i + 1])
        logits, new = decoder.step(token, torch.tensor([past]), mask, cache)
        cache[:, :, past : past + 1] = new
        assert (logits[0] - expected[i]).abs().max() <= 1e-4


def test_training_form_of_attention_equals_the_fused_one() -> None:
    q, k, v = (torch.randn(2, 3, 20, 16, requires_grad=True) for _ in range(3))
    mask = torch.zeros(20, 20).masked_fill(torch.rand(20, 20) < 0.3, -1e9)
    plain = attention(q, k, v, mask)
    fused = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (plain - fused).abs().max() <= 1e-5


@given(st.integers(2, 12), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_info_nce_against_float64(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 8))
    y = rng.standard_normal((count, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    logits = np.exp(2.0) * x @ y.T
    rows = -np.diag(logits) + np.log(np.exp(logits).sum(1))
    columns = -np.diag(logits) + np.log(np.exp(logits).sum(0))
    found = info_nce(torch.tensor(x).float(), torch.tensor(y).float(), torch.tensor(2.0))
    assert abs(float(found) - (rows.mean() + columns.mean()) / 2) < 1e-4


def test_twins_are_no_negatives() -> None:
    x = F.normalize(torch.randn(3, 8), dim=-1)
    y = x.clone()
    y[1] = x[0]
    x[1] = x[0]
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    scale = torch.tensor(4.0)
    assert info_nce(x, y, scale, same) < info_nce(x, y, scale) - 0.1


def test_y_encoder_learns_at_its_own_rate(model: VLJEPA) -> None:
    shares = {"y_encoder": 0.05, "y_decoder": 0.0}
    every = Optimizers(model.named_parameters(), 0.1, lambda n: shares.get(n.split(".")[0], 1.0))
    groups = [g for o in every.all for g in o.param_groups]
    rates = {id(p): g["multiplier"] for g in groups for p in g["params"]}
    assert {rates[id(p)] for p in model.y_encoder.parameters()} == {0.05, 0.05 * MUON_LR}
    assert {rates[id(p)] for p in model.x_encoder.parameters()} == {1.0, MUON_LR}
    assert not any(id(p) in rates for p in model.y_decoder.parameters())  # type: ignore[union-attr]


def test_batches_are_pure_functions_of_seed_and_step() -> None:
    config = world.WorldConfig()
    for task in ("image", "video", "query"):
        one, two = (WorldBatches(config, task, 4, 1, 10)[3] for _ in range(2))  # type: ignore[arg-type]
        assert torch.equal(one.frames, two.frames)
        assert one.texts == two.texts and one.queries == two.queries
        assert one.frames.shape[1] == (2 if task == "image" else 8)


def test_configs_survive_json() -> None:
    for config in (nano(), paper(8)):
        assert VLJEPAConfig.from_json(config.to_json()) == config
    assert paper(16).visual_tokens == 2048


def test_text_stage_tells_left_from_right() -> None:
    from vljepa_edge.model.data import corpus
    from vljepa_edge.model.tokenizer import train_tokenizer

    torch.manual_seed(8)
    config = world.WorldConfig()
    tokenizer = train_tokenizer(corpus(config, 1, 500), 1024)
    fresh = VLJEPA(nano())
    reference = Reference(fresh, tokenizer)

    def cosine(one: str, other: str) -> float:
        rows = reference.embed_text([one, other])
        return float(rows[0] @ rows[1])

    def margin() -> float:
        same = cosine("a cat moves left", "the cat drifts leftward")
        return same - cosine("a cat moves left", "a cat moves right")

    assert margin() < 0.1
    # Phrasings alone: the label texts (tests/test_labels.py) would only make it take longer.
    train_text(fresh.train(), tokenizer, config, TextStage(60, 96, 2e-3, labels=0.0), 1)
    fresh.eval()
    assert margin() > 0.3


def _tiny_recipe() -> Recipe:
    return Recipe(
        text=TextStage(steps=2, batch=4, learning_rate=1e-3),
        encoder=(EncoderStage("image", 2, 4, 1e-3), EncoderStage("video", 3, 4, 1e-3, cosine=True)),
        stages=(
            Stage("image", 3, 4, 1e-3, 0.1, x_encoder_lr=1.0),
            Stage("query", 3, 4, 1e-3, 0.1, cosine=True, questions=2),
        ),
        decoder=DecoderStage(steps=3, batch=4, learning_rate=1e-3, noise=0.5),
    )


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    def run(folder: Path, stop_at: tuple[str, int] | None) -> None:
        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stop_at == (stage, step):
                raise KeyboardInterrupt

        train(
            folder,
            nano(vocabulary=320),
            _tiny_recipe(),
            workers=0,
            save_every=1,
            corpus_sentences=200,
            progress=progress,
        )

    run(tmp_path / "whole", None)
    for stop in (("encoder-video", 2), ("image", 2), ("query", 3), ("decoder", 2)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop)
    run(tmp_path / "parts", None)
    whole = checkpoint.load(tmp_path / "whole").model.state_dict()
    parts = checkpoint.load(tmp_path / "parts").model.state_dict()
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], atol=1e-6), name


def test_damaged_checkpoints_are_told(tmp_path: Path, model: VLJEPA) -> None:
    from vljepa_edge.model.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["a cat moves left"], 300)
    checkpoint.save(tmp_path, model, tokenizer, {})
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(checkpoint.CheckpointError, match=r"model\.safetensors: not a readable"):
        checkpoint.load(tmp_path)
    path.write_bytes(whole)
    wider = dataclasses.replace(nano(), embedding_width=320)
    (tmp_path / "config.json").write_text(wider.to_json())
    with pytest.raises(
        checkpoint.CheckpointError, match=r"out_proj.weight is \(256, 192\), expected"
    ):
        checkpoint.load(tmp_path)


def test_evaluation_of_an_untrained_model_is_near_chance(model: VLJEPA) -> None:
    from vljepa_edge.model.data import corpus
    from vljepa_edge.model.tokenizer import train_tokenizer

    config = world.WorldConfig()
    tokenizer = train_tokenizer(corpus(config, 1, 500), 1024)
    quality = evaluate(Reference(model, tokenizer), config, clips=40)
    assert quality.caption_of_100 < 0.25
    assert quality.decoded_object_and_motion < 0.25


def test_captions_are_read_back() -> None:
    config = world.WorldConfig()
    rng = np.random.default_rng(6)
    for _ in range(200):
        scene = world.sample_scene(rng, config, split="train")
        found = parse_caption(world.canonical_caption(scene), config.objects, config.motions)
        assert found == (scene.object, scene.motion)
