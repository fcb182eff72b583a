"""Gemma 3 text layers read bidirectionally, as EmbeddingGemma uses them.

Parameter names and formulae follow `Gemma3TextModel` in transformers' modeling_gemma3.py. BF16 or
FP32 only: the residual stream outgrows FP16.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attention
from .config import GemmaConfig, TransformerConfig
from .rope import rotate_half, text_tables
from .transformer import RMSNorm

HIDDEN = -1e9


class GemmaNorm(RMSNorm):
    """x / rms(x) * (1 + weight), computed in float32 throughout (Llama casts before it scales)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., W]."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * (1.0 + self.weight.float())).to(x.dtype)


class LayerView(NamedTuple):
    """What a layer rotates with and what it may see."""

    cos: Tensor  # [L, head_dim]
    sin: Tensor
    mask: Tensor | None  # additive, broadcast to [B, heads, L, L]


class GemmaViews(nn.Module):
    """Tables and window mask of both kinds of layer, made once; it has no parameters."""

    cos: Tensor
    sin: Tensor
    local_cos: Tensor
    local_sin: Tensor
    window: Tensor

    def __init__(self, c: TransformerConfig, gemma: GemmaConfig, length: int) -> None:
        super().__init__()
        local = dataclasses.replace(c, rope_theta=gemma.local_rope_theta, rope_scaling=None)
        self.reach = gemma.reach
        tables = (*text_tables(c, length), *text_tables(local, length))
        for name, table in zip(("cos", "sin", "local_cos", "local_sin"), tables, strict=True):
            self.register_buffer(name, table, persistent=False)
        window = window_mask(length, gemma.reach)
        self.register_buffer("window", window, persistent=False)

    def forward(self, length: int, padding: Tensor | None) -> tuple[LayerView, LayerView]:
        """The view of a full layer and of a sliding one; `padding` is additive [B,1,1,L]."""
        near = padding
        if length > self.reach + 1:  # else the window covers the text
            window = self.window[:length, :length]
            near = window if padding is None else padding + window
        return (
            LayerView(self.cos[:length], self.sin[:length], padding),
            LayerView(self.local_cos[:length], self.local_sin[:length], near),
        )


def window_mask(length: int, reach: int) -> Tensor:
    """Additive float32 [length, length]: 0 where |i - j| <= reach, -1e9 elsewhere."""
    index = torch.arange(length, device="cpu")
    far = (index[:, None] - index[None, :]).abs() > reach
    return torch.where(far, HIDDEN, 0.0)


class GemmaAttention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, c: TransformerConfig, gemma: GemmaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, c.head_dim
        # `attention` divides by sqrt(head_dim); Gemma's own divisor may differ.
        self.query_factor = (c.head_dim / gemma.query_scale) ** 0.5
        self.q_proj = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.heads * c.head_dim, c.width, bias=False)
        self.q_norm = GemmaNorm(c.head_dim, c.norm_eps)
        self.k_norm = GemmaNorm(c.head_dim, c.norm_eps)

    def forward(self, x: Tensor, view: LayerView) -> Tensor:
        """[B,L,W] -> [B,L,W]."""
        batch, tokens, _ = x.shape
        shape = (batch, tokens, -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(shape)).transpose(1, 2)  # [B,h,L,d]
        k = self.k_norm(self.k_proj(x).view(shape)).transpose(1, 2)  # [B,g,L,d]
        v = self.v_proj(x).view(shape).transpose(1, 2)
        cos, sin = view.cos.to(q.dtype), view.sin.to(q.dtype)
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        if self.query_factor != 1.0:
            q = q * self.query_factor
        groups = self.heads // self.kv_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = attention(q, k, v, view.mask)
        return self.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class GemmaMLP(nn.Module):
    """Gated MLP with the tanh form of GELU."""

    def __init__(self, c: TransformerConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(c.width, c.mlp_width, bias=False)
        self.up_proj = nn.Linear(c.width, c.mlp_width, bias=False)
        self.down_proj = nn.Linear(c.mlp_width, c.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,L,W] -> [B,L,W]."""
        gate = F.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gate * self.up_proj(x))  # type: ignore[no-any-return]


class GemmaLayer(nn.Module):
    """Attention and MLP, each normalised before and after."""

    def __init__(self, c: TransformerConfig, gemma: GemmaConfig, full: bool) -> None:
        super().__init__()
        self.full = full
        self.input_layernorm = GemmaNorm(c.width, c.norm_eps)
        self.self_attn = GemmaAttention(c, gemma)
        self.post_attention_layernorm = GemmaNorm(c.width, c.norm_eps)
        self.pre_feedforward_layernorm = GemmaNorm(c.width, c.norm_eps)
        self.mlp = GemmaMLP(c)
        self.post_feedforward_layernorm = GemmaNorm(c.width, c.norm_eps)

    def forward(self, x: Tensor, view: LayerView) -> Tensor:
        """[B,L,W] -> [B,L,W]."""
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), view))
        y = self.mlp(self.pre_feedforward_layernorm(x))
        return x + self.post_feedforward_layernorm(y)  # type: ignore[no-any-return]
