"""Loaders at the size of the real checkpoints, on random weights: 1e-4 and cosine 0.99999.

Slow and large: each test needs up to 8 GiB of memory and 4 GiB of disk, and a minute or more. Run
with `pytest -m full_size`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hub_models import assert_parity, pixels_for_upstream, random_frames, randomise
from torch import Tensor
from vljepa_edge.model.config import SpecialTokens, paper
from vljepa_edge.model.loaders import embedding_gemma, llama, smollm2, vjepa2

pytest.importorskip("transformers")
pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1800)]

LIMIT = 1e-4


def _assert_same(case: str, found: Tensor, expected: Tensor) -> None:
    assert_parity(f"full size: {case}", found, expected, LIMIT)
    assert F.cosine_similarity(found.flatten(), expected.flatten(), dim=0) >= 0.99999


def _saved(model: Any, folder: Path, seed: int) -> Any:
    model = randomise(model, seed)
    model.save_pretrained(folder, max_shard_size="1GB")
    return model


@torch.no_grad()
def test_x_encoder(tmp_path: Path) -> None:
    from transformers import VJEPA2Config, VJEPA2Model

    theirs = _saved(VJEPA2Model(VJEPA2Config()), tmp_path, 1)
    config = paper(frames=8)
    assert vjepa2.read_config(tmp_path) == config.x_encoder
    clip = random_frames(1, 8, 256, 256)
    pixels = pixels_for_upstream(clip, config)
    expected = theirs(pixel_values_videos=pixels, skip_predictor=True).last_hidden_state
    del theirs
    ours = vjepa2.load(tmp_path, config)
    _assert_same("X-Encoder, V-JEPA 2 ViT-L, 8 frames", ours(clip), expected)


@torch.no_grad()
def test_predictor(tmp_path: Path) -> None:
    """The last 8 of 9 layers of Llama-3.2-1B's size over 1,024 visual and 32 query tokens."""
    from transformers import LlamaConfig, LlamaModel

    config = paper(frames=8)
    c = config.predictor.transformer
    scaling = dataclasses.asdict(c.rope_scaling) if c.rope_scaling is not None else {}
    original = scaling.pop("original_positions")
    rope = {"rope_type": "llama3", "rope_theta": c.rope_theta, **scaling}
    theirs = LlamaModel(
        LlamaConfig(
            hidden_size=c.width,
            num_hidden_layers=9,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_dim,
            intermediate_size=c.mlp_width,
            vocab_size=c.vocabulary,
            rms_norm_eps=c.norm_eps,
            rope_parameters={**rope, "original_max_position_embeddings": original},
            tie_word_embeddings=True,
        )
    )
    theirs = _saved(theirs, tmp_path, 2)
    ours = llama.load_predictor(tmp_path, config)
    generator = torch.Generator().manual_seed(3)
    visual = torch.randn(1, 1024, 1024, generator=generator)
    ids = torch.randint(0, c.vocabulary, (1, 32), generator=generator)
    found, mask = ours.hidden(visual, ours.embed_tokens(ids), torch.ones(1, 32))
    inputs = torch.cat((ours.vis_proj(visual), ours.embed_tokens(ids)), 1)
    del ours
    theirs.layers = theirs.layers[1:]
    theirs.config.num_hidden_layers = 8
    bias = torch.zeros(1, 1, 1056, 1056)
    expected = theirs(inputs_embeds=inputs, attention_mask=bias, use_cache=False)
    assert mask.shape == (1, 1056)
    _assert_same("Predictor, Llama-3.2-1B", found, expected.last_hidden_state)


@torch.no_grad()
def test_y_encoder(tmp_path: Path) -> None:
    """A text of 300 tokens, longer than the window."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    config = paper()
    c = config.y_encoder.transformer
    theirs = Gemma3TextModel(
        Gemma3TextConfig(
            vocab_size=c.vocabulary,
            hidden_size=c.width,
            intermediate_size=c.mlp_width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_dim,
            query_pre_attn_scalar=256,
            sliding_window=512,
            max_position_embeddings=2048,
            use_bidirectional_attention=True,
        )
    )
    theirs = _saved(theirs, tmp_path, 4)
    ours = embedding_gemma.load(tmp_path, config)
    ids = torch.randint(1, c.vocabulary, (1, 300), generator=torch.Generator().manual_seed(5))
    expected = theirs(input_ids=ids).last_hidden_state
    _assert_same("Y-Encoder, EmbeddingGemma-300M", ours.hidden(ids), expected)


@torch.no_grad()
def test_y_decoder(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = dataclasses.replace(paper(), special_tokens=SpecialTokens(0, 0, 0))
    assert config.y_decoder is not None
    c = config.y_decoder.transformer
    theirs = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=c.width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_dim,
            intermediate_size=c.mlp_width,
            vocab_size=c.vocabulary,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    theirs = _saved(theirs, tmp_path, 6)
    assert smollm2.read_config(tmp_path) == config.y_decoder
    ours = smollm2.load(tmp_path, config)
    generator = torch.Generator().manual_seed(7)
    embedding = F.normalize(torch.randn(1, 1536, generator=generator), dim=-1)
    ids = torch.randint(0, c.vocabulary, (1, 40), generator=generator)
    inputs = torch.cat((ours.soft_tokens(embedding), ours.embed_tokens(ids)), 1)
    mask = ours.prefix_mask(48)[None, None]
    expected = theirs(inputs_embeds=inputs, attention_mask=mask, use_cache=False).logits[:, 8:]
    _assert_same("Y-Decoder, SmolLM2-135M", ours(embedding, ids), expected)
