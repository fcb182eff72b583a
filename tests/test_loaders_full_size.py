"""Loaders at the size of the real checkpoints, on random weights: 1e-4 and cosine 0.99999.

Slow and large: each test needs up to 8 GiB of memory and 4 GiB of disk, and a minute or more. Run
with `pytest -m full_size`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import full_size_models
import pytest
import torch
import torch.nn.functional as F
from hub_models import assert_parity, pixels_for_upstream, random_frames
from torch import Tensor
from vljepa_edge.model.config import SpecialTokens, paper
from vljepa_edge.model.loaders import embedding_gemma, llama, smollm2, vjepa2

pytest.importorskip("transformers")
pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1800)]

LIMIT = 1e-4


def _assert_same(case: str, found: Tensor, expected: Tensor) -> None:
    assert_parity(f"full size: {case}", found, expected, LIMIT)
    assert F.cosine_similarity(found.flatten(), expected.flatten(), dim=0) >= 0.99999


def _saved(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder, max_shard_size="1GB")
    return model


@torch.no_grad()
def test_x_encoder(tmp_path: Path) -> None:
    theirs = _saved(full_size_models.vjepa2(), tmp_path)
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
    config = paper(frames=8)
    theirs = _saved(full_size_models.llama(), tmp_path).model
    ours = llama.load_predictor(tmp_path, config)
    generator = torch.Generator().manual_seed(3)
    visual = torch.randn(1, 1024, 1024, generator=generator)
    rows = config.predictor.transformer.vocabulary
    ids = torch.randint(0, rows, (1, 32), generator=generator)
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
    config = paper()
    theirs = _saved(full_size_models.embedding_gemma(), tmp_path)
    ours = embedding_gemma.load(tmp_path, config)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(1, config.y_encoder.transformer.vocabulary, (1, 300), generator=generator)
    expected = theirs(input_ids=ids).last_hidden_state
    _assert_same("Y-Encoder, EmbeddingGemma-300M", ours.hidden(ids), expected)


@torch.no_grad()
def test_y_decoder(tmp_path: Path) -> None:
    config = dataclasses.replace(paper(), special_tokens=SpecialTokens(0, 0, 0))
    assert config.y_decoder is not None
    theirs = _saved(full_size_models.smollm2(), tmp_path)
    assert smollm2.read_config(tmp_path) == config.y_decoder
    ours = smollm2.load(tmp_path, config)
    generator = torch.Generator().manual_seed(7)
    embedding = F.normalize(torch.randn(1, 1536, generator=generator), dim=-1)
    ids = torch.randint(0, config.y_decoder.transformer.vocabulary, (1, 40), generator=generator)
    inputs = torch.cat((ours.soft_tokens(embedding), ours.embed_tokens(ids)), 1)
    mask = ours.prefix_mask(48)[None, None]
    expected = theirs(inputs_embeds=inputs, attention_mask=mask, use_cache=False).logits[:, 8:]
    _assert_same("Y-Decoder, SmolLM2-135M", ours(embedding, ids), expected)
