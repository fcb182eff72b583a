"""Gemma 3 text layers (EmbeddingGemma) rewritten for graphs, as `blocks.py` does it for Llama's."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import gemma
from ..model.config import YEncoderConfig
from ..model.gemma import window_mask
from .blocks import Projection, RMSNorm, mix, rotate, text_rotation


def gemma_norm(norm: gemma.GemmaNorm) -> RMSNorm:
    """x / rms(x) * (1 + weight) as a plain RMSNorm."""
    return RMSNorm(norm, 1 + norm.weight)


class GemmaAttention(nn.Module):
    """Grouped-query attention from one fused projection, queries and keys normalised together."""

    def __init__(self, attention: gemma.GemmaAttention) -> None:
        super().__init__()
        self.heads, self.kv_heads = attention.heads, attention.kv_heads
        self.head_dim = attention.head_dim
        linears = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = Projection(torch.cat([linear.weight for linear in linears]))
        self.out = Projection.of(attention.o_proj)
        # The norm would undo a scale in the projection: the softmax scale goes into its weight.
        scale = attention.query_factor * self.head_dim**-0.5
        q = (1 + attention.q_norm.weight) * scale
        k = 1 + attention.k_norm.weight
        rows = torch.stack([q] * self.heads + [k] * self.kv_heads)[:, None]  # [h+g,1,d]
        self.qk_norm = RMSNorm(attention.q_norm, rows)

    def forward(self, x: Tensor, c: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
        """x [1,L,W], c and s [L,d], additive mask [h/g*L,L] or None -> [1,L,W]."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        qk, v = torch.split(heads, [self.heads + self.kv_heads, self.kv_heads], 1)
        q, k = torch.split(rotate(self.qk_norm(qk), c, s), [self.heads, self.kv_heads], 1)
        return self.out(mix(q, k, v, mask))  # type: ignore[no-any-return]


class GemmaLayer(nn.Module):
    """Attention and MLP, each normalised before and after."""

    def __init__(self, layer: gemma.GemmaLayer) -> None:
        super().__init__()
        self.full = layer.full
        self.input_norm = gemma_norm(layer.input_layernorm)
        self.attention = GemmaAttention(layer.self_attn)
        self.attention_norm = gemma_norm(layer.post_attention_layernorm)
        self.mlp_norm = gemma_norm(layer.pre_feedforward_layernorm)
        mlp = layer.mlp
        self.gate, self.up = Projection.of(mlp.gate_proj), Projection.of(mlp.up_proj)
        self.down = Projection.of(mlp.down_proj)
        self.output_norm = gemma_norm(layer.post_feedforward_layernorm)

    def forward(self, x: Tensor, c: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
        """x [1,L,W], c and s [L,d], additive mask [h/g*L,L] or None -> [1,L,W]."""
        x = x + self.attention_norm(self.attention(self.input_norm(x), c, s, mask))
        y = self.mlp_norm(x)
        y = self.down(F.gelu(self.gate(y), approximate="tanh") * self.up(y))
        return x + self.output_norm(y)  # type: ignore[no-any-return]


class GemmaStack(nn.Module):
    """All layers with their two kinds of tables, and the window of those that see only nearby."""

    c: Tensor
    s: Tensor
    local_c: Tensor
    local_s: Tensor
    window: Tensor | None

    def __init__(self, config: YEncoderConfig, layers: nn.ModuleList) -> None:
        super().__init__()
        assert config.gemma is not None
        t = config.transformer
        self.scale = t.width**0.5
        self.groups = t.heads // t.kv_heads
        self.layers = nn.ModuleList(GemmaLayer(layer) for layer in layers)  # type: ignore[arg-type]
        local = dataclasses.replace(t, rope_theta=config.gemma.local_rope_theta, rope_scaling=None)
        c, s = text_rotation(t, config.max_tokens)
        local_c, local_s = text_rotation(local, config.max_tokens)
        for name, table in {"c": c, "s": s, "local_c": local_c, "local_s": local_s}.items():
            self.register_buffer(name, table)
        # A window that covers the longest text hides nothing.
        covered = config.max_tokens <= config.gemma.reach + 1
        window = None if covered else window_mask(config.max_tokens, config.gemma.reach)
        self.register_buffer("window", window)

    def forward(self, x: Tensor) -> Tensor:
        """Token embeddings [1,L,W] -> [1,L,W], before the last norm."""
        tokens = x.shape[1]
        x = x * self.scale
        full = (self.c[:tokens], self.s[:tokens], None)
        mask = None
        if self.window is not None:  # one row per query head, as `blocks.mix` lays them out
            mask = torch.cat([self.window[:tokens, :tokens]] * self.groups)
        local = (self.local_c[:tokens], self.local_s[:tokens], mask)
        for layer in self.layers:
            assert isinstance(layer, GemmaLayer)
            x = layer(x, *(full if layer.full else local))
        return x
