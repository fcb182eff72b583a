"""Our Gemma 3 layers against transformers' `Gemma3TextModel`, tiny random weights, float32."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from vljepa_edge.model.config import (
    GemmaConfig,
    TransformerConfig,
    VLJEPAConfig,
    YEncoderConfig,
    nano,
    paper,
)
from vljepa_edge.model.gemma import window_mask
from vljepa_edge.model.y_encoder import YEncoder

transformers = pytest.importorskip("transformers")


def _config(gemma: GemmaConfig, layers: int) -> VLJEPAConfig:
    stack = TransformerConfig(
        width=48,
        layers=layers,
        heads=3,
        kv_heads=1,
        head_dim=16,
        mlp_width=72,
        vocabulary=200,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
    )
    return dataclasses.replace(
        nano(), y_encoder=YEncoderConfig(stack, max_tokens=64, gemma=gemma), embedding_width=32
    )


def _pair(gemma: GemmaConfig, layers: int = 3) -> tuple[torch.nn.Module, YEncoder]:
    """transformers' model and ours with the same weights, none of them at its starting value."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    torch.manual_seed(11)
    config = _config(gemma, layers)
    kinds = ["full" if i in gemma.full_layers else "sliding" for i in range(layers)]
    theirs = Gemma3TextModel(
        Gemma3TextConfig(
            vocab_size=200,
            hidden_size=48,
            intermediate_size=72,
            num_hidden_layers=layers,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=gemma.query_scale,
            sliding_window=gemma.sliding_window,
            layer_types=[f"{kind}_attention" for kind in kinds],
            use_bidirectional_attention=True,
            attn_implementation="eager",
        )
    ).eval()
    ours = YEncoder(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if "norm" in name else 0.1))
    own = ours.state_dict()
    own.update(theirs.state_dict())
    ours.load_state_dict(own)
    return theirs, ours


def _hidden_states(sliding_window: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    theirs, ours = _pair(
        GemmaConfig(full_layers=(1,), sliding_window=sliding_window, query_scale=16)
    )
    ids = torch.randint(1, 200, (2, length))
    mask = torch.ones(2, length)
    mask[1, length - length // 3 :] = 0
    with torch.no_grad():
        found = ours.hidden(ids, mask)
        expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return found[mask.bool()], expected[mask.bool()]


@pytest.mark.parametrize("sliding_window", [8, 9, 512])
@pytest.mark.parametrize("length", [4, 5, 6, 40])
def test_hidden_states_equal_gemma3(sliding_window: int, length: int) -> None:
    """Texts below, at and above the reach of the window, with padding."""
    found, expected = _hidden_states(sliding_window, length)
    assert (found - expected).abs().max() <= 1e-5


@torch.no_grad()
def test_the_window_is_halved_and_excludes_what_is_farther() -> None:
    theirs, ours = _pair(GemmaConfig(full_layers=(), sliding_window=8, query_scale=16), layers=1)
    ids = torch.randint(1, 200, (1, 20))
    changed = ids.clone()
    changed[0, 10] = (ids[0, 10] + 1) % 200
    moved = (ours.hidden(ids) - ours.hidden(changed)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(6, 15))  # 4 to either side
    upstream = theirs(input_ids=ids).last_hidden_state - theirs(input_ids=changed).last_hidden_state
    assert torch.equal(moved, upstream.abs().amax(-1)[0] > 1e-6)


@torch.no_grad()
def test_a_query_scale_of_its_own() -> None:
    theirs, ours = _pair(GemmaConfig(full_layers=(1,), sliding_window=8, query_scale=40))
    ids = torch.randint(1, 200, (1, 12))
    assert (ours.hidden(ids) - theirs(input_ids=ids).last_hidden_state).abs().max() <= 1e-5


@torch.no_grad()
def test_padding_does_not_change_an_embedding() -> None:
    _, ours = _pair(GemmaConfig(full_layers=(2,), sliding_window=8, query_scale=16))
    ids = torch.randint(1, 200, (1, 11))
    padded = torch.nn.functional.pad(ids, (0, 53))
    mask = torch.nn.functional.pad(torch.ones(1, 11), (0, 53))
    assert (ours(ids) - ours(padded, mask)).abs().max() <= 1e-5


def test_window_mask() -> None:
    mask = window_mask(5, 2)
    assert mask[0].tolist() == [0, 0, 0, -1e9, -1e9]
    assert torch.equal(mask, mask.T)


def test_the_paper_preset_is_embedding_gemma() -> None:
    y_encoder = paper().y_encoder
    assert y_encoder.gemma is not None and y_encoder.gemma.full_layers == (5, 11, 17, 23)
    with torch.device("meta"):
        model = YEncoder(paper())
    backbone = sum(
        p.numel() for name, p in model.named_parameters() if not name.startswith("projector")
    )
    assert backbone == 302_863_104  # EmbeddingGemma's published 300 M, without its dense heads
    assert not any(b.is_meta for b in model.buffers())
