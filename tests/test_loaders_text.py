"""Predictor, Y-Encoder and Y-Decoder from hub folders, against what transformers saved there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hub_models import assert_parity, edit_json, save_embedding_gemma, save_llama
from vljepa_edge.model.config import (
    GemmaConfig,
    PredictorConfig,
    RopeScaling,
    SpecialTokens,
    TransformerConfig,
    VLJEPAConfig,
    nano,
    paper,
)
from vljepa_edge.model.loaders import embedding_gemma, llama, smollm2
from vljepa_edge.model.rope import text_tables

pytest.importorskip("transformers")

STACK = TransformerConfig(
    width=96,
    layers=5,
    heads=6,
    kv_heads=2,
    head_dim=16,
    mlp_width=160,
    vocabulary=300,
    rope_theta=500_000.0,
    rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64),
    norm_eps=1e-5,
)


@pytest.fixture(scope="module")
def llama_hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("llama")
    return folder, save_llama(folder, shards=True)


@pytest.fixture(scope="module")
def gemma_hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[torch.Tensor]]:
    folder = tmp_path_factory.mktemp("gemma")
    return folder, *save_embedding_gemma(folder)


def _predictor_config(layers: int) -> VLJEPAConfig:
    stack = dataclasses.replace(STACK, layers=layers)
    return dataclasses.replace(nano(300), predictor=PredictorConfig(stack, visual_width=24))


@pytest.mark.parametrize("length", [33, 1056, 8704])
def test_rotary_tables_are_those_that_the_weights_saw(length: int) -> None:
    """To the bit, up to the positions of 64 frames: rounding grows with the position."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    stack = paper().predictor.transformer
    assert stack.rope_scaling is not None
    scaling = dataclasses.asdict(stack.rope_scaling)
    scaling["original_max_position_embeddings"] = scaling.pop("original_positions")
    for config, rope in (
        (stack, {"rope_type": "llama3", **scaling}),
        (dataclasses.replace(stack, rope_scaling=None), {"rope_type": "default"}),
    ):
        theirs = LlamaRotaryEmbedding(
            LlamaConfig(
                hidden_size=config.width,
                num_attention_heads=config.heads,
                head_dim=config.head_dim,
                max_position_embeddings=131_072,
                rope_parameters={"rope_theta": config.rope_theta, **rope},
            )
        )
        expected = theirs(torch.zeros(1, 1), torch.arange(length)[None])
        for found, table in zip(text_tables(config, length), expected, strict=True):
            assert torch.equal(found, table[0])


def test_llama_sizes_are_read(llama_hub: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = llama_hub
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2  # the sharded layout
    assert llama.read_config(folder) == STACK
    # Hub folders from before transformers 5 keep the same facts in other fields.
    older = tmp_path / "config.json"
    older.write_text((folder / "config.json").read_text())
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    edit_json(older, rope_parameters=None, rope_theta=500_000.0, rope_scaling=scaling)
    assert llama.read_config(tmp_path) == STACK


@pytest.mark.parametrize("layers", [2, 5])
@torch.no_grad()
def test_predictor_is_the_last_layers_of_a_llama(llama_hub: tuple[Path, Any], layers: int) -> None:
    folder, causal = llama_hub
    ours = llama.load_predictor(folder, _predictor_config(layers), seed=7)
    generator = torch.Generator().manual_seed(8)
    visual = torch.randn(2, 24, 24, generator=generator)
    ids = torch.randint(0, 300, (2, 5), generator=generator)
    mask = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    found, _ = ours.hidden(visual, ours.embed_tokens(ids), mask)

    model = causal.model
    whole = torch.cat((torch.ones(2, 24), mask), 1)
    bias = ((1 - whole) * -1e9)[:, None, None, :].expand(2, 1, 29, 29)
    kept = model.layers
    model.layers, model.config.num_hidden_layers = kept[-layers:], layers
    inputs = torch.cat((ours.vis_proj(visual), model.embed_tokens(ids)), 1)
    expected = model(inputs_embeds=inputs, attention_mask=bias, use_cache=False).last_hidden_state
    model.layers, model.config.num_hidden_layers = kept, len(kept)
    real = whole.bool()
    assert_parity(f"Predictor, last {layers} of 5 Llama layers", found[real], expected[real])
    # Both ways round: padding the query to 512 changes nothing, and the embedding is the mean's.
    query = ours.embed_tokens(F.pad(ids[:1], (0, 507)))
    padded = ours(visual[:1], query, F.pad(mask[:1], (0, 507)))
    pooled = ours.out_proj(expected[:1].mean(1))
    expected = F.normalize(pooled, dim=-1)
    assert_parity(f"Predictor, {layers} layers, query padded to 512", padded, expected)


def test_fresh_projections_follow_the_seed(llama_hub: tuple[Path, Any]) -> None:
    folder, _ = llama_hub
    one, same, other = (
        llama.load_predictor(folder, _predictor_config(2), seed=seed).out_proj.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert 0.015 < one.std() < 0.025


@torch.no_grad()
def test_y_decoder_gives_the_logits_of_the_lm(tmp_path: Path) -> None:
    causal = save_llama(tmp_path, layers=3)
    config = dataclasses.replace(
        nano(300),
        y_decoder=smollm2.read_config(tmp_path, prefix_tokens=3, max_new_tokens=20),
        special_tokens=smollm2.read_special_tokens(tmp_path),
    )
    assert config.special_tokens == SpecialTokens(pad=4, begin=3, end=4)
    ours = smollm2.load(tmp_path, config)
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(0, 300, (2, 12), generator=generator)
    embedding = F.normalize(torch.randn(2, 256, generator=generator), dim=-1)

    # The deployed step over an empty cache is the bare LM, at every length.
    logits = causal(ids[:1]).logits
    c, cache = ours.config.transformer, ours.config.cache_length
    nothing = torch.zeros(2 * c.layers, c.kv_heads, cache, c.head_dim)
    for length in (1, 5, 12):
        causal_mask = torch.full((length, length), -1e9).triu(1)
        mask = torch.cat((torch.full((length, cache), -1e9), causal_mask), 1)
        tokens = ours.embed_tokens(ids[:1, :length])
        found, _ = ours.step(tokens, torch.arange(length), mask, nothing)
        assert_parity(f"Y-Decoder, step over {length} tokens", found, logits[:, length - 1])

    # With its prefix: transformers reads the soft tokens as embeddings under the same mask.
    inputs = torch.cat((ours.soft_tokens(embedding), causal.model.embed_tokens(ids)), 1)
    mask = ours.prefix_mask(15)[None, None].expand(2, 1, 15, 15)
    expected = causal(inputs_embeds=inputs, attention_mask=mask).logits[:, 3:]
    assert_parity("Y-Decoder, prefix of 3, logits", ours(embedding, ids), expected)


@torch.no_grad()
def test_y_decoder_without_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    causal = save_llama(tmp_path, layers=2)
    decoder = smollm2.read_config(tmp_path, prefix_tokens=1)
    ours = smollm2.load(tmp_path, dataclasses.replace(nano(300), y_decoder=decoder))
    monkeypatch.setattr(ours, "config", dataclasses.replace(decoder, prefix_tokens=0))
    monkeypatch.setattr(ours, "soft_tokens", lambda embedding: torch.zeros(len(embedding), 0, 96))
    ids = torch.randint(0, 300, (2, 20), generator=torch.Generator().manual_seed(9))
    assert_parity(
        "Y-Decoder, no prefix, logits", ours(torch.zeros(2, 256), ids), causal(ids).logits
    )


def test_equal_but_separate_tables_are_taken(tmp_path: Path) -> None:
    """An export that wrote the tied head a second time is no reason to refuse."""
    causal = save_llama(tmp_path, layers=2)
    state = {**causal.state_dict(), "lm_head.weight": causal.lm_head.weight.detach().clone()}
    from safetensors.torch import save_file

    save_file(state, tmp_path / "model.safetensors")
    for tied in (True, False):
        edit_json(tmp_path / "config.json", tie_word_embeddings=tied)
        config = dataclasses.replace(nano(300), y_decoder=smollm2.read_config(tmp_path))
        ours = smollm2.load(tmp_path, config)
        assert torch.equal(ours.embed_tokens.weight, causal.model.embed_tokens.weight)


def _gemma_config(folder: Path, dense_heads: bool) -> VLJEPAConfig:
    y_encoder = embedding_gemma.read_config(folder, dense_heads)
    return dataclasses.replace(nano(300), y_encoder=y_encoder)


def test_embedding_gemma_sizes_are_read(
    gemma_hub: tuple[Path, Any, list[torch.Tensor]], tmp_path: Path
) -> None:
    folder, _, _ = gemma_hub
    found = embedding_gemma.read_config(folder, dense_heads=True)
    assert found.transformer == TransformerConfig(
        48, 4, 3, 1, 16, 72, 200, rope_theta=1_000_000.0, norm_eps=1e-6
    )
    assert found.gemma == GemmaConfig((1, 3), 8, 10_000.0, 16)
    assert found.dense_widths == (80, 48) and found.max_tokens == 64
    older = tmp_path / "config.json"
    older.write_text((folder / "config.json").read_text())
    fields = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 2}
    edit_json(older, rope_parameters=None, layer_types=None, **fields)
    assert embedding_gemma.read_config(tmp_path) == dataclasses.replace(found, dense_widths=())


@pytest.mark.parametrize("dense_heads", [False, True])
@torch.no_grad()
def test_y_encoder_is_embedding_gemma(
    gemma_hub: tuple[Path, Any, list[torch.Tensor]], dense_heads: bool
) -> None:
    folder, theirs, heads = gemma_hub
    ours = embedding_gemma.load(folder, _gemma_config(folder, dense_heads), seed=3)
    ids = torch.randint(1, 200, (2, 40), generator=torch.Generator().manual_seed(10))
    mask = torch.ones(2, 40)
    mask[1, 30:] = 0
    hidden = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    real = mask.bool()
    assert_parity("Y-Encoder, Gemma 3 tokens", ours.hidden(ids, mask)[real], hidden[real])
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    if dense_heads:
        for head in heads:
            pooled = pooled @ head.T
        pooled = F.normalize(pooled, dim=-1)
    expected = F.normalize(ours.projector(pooled), dim=-1)
    heads_used = "with" if dense_heads else "without"
    assert_parity(f"Y-Encoder, {heads_used} dense heads", ours(ids, mask), expected)
    assert (ours(ids[1:, :30]) - expected[1:]).abs().max() <= 1e-5  # true length, no mask
