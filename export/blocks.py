"""The model's layers rewritten for graphs: fused projections, rotary tables, few operators.

Each block here computes what its namesake in `model/` computes, from the same weights, in a form
that exports to the fewest ONNX operators: q, k and v in one matmul with the softmax scale folded
into q, rotation as `x*C + swap_halves(x)*S` with the signs folded into S, and weights stored as
[in, out] so that no transpose is left in the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..model import transformer
from ..model.config import TransformerConfig
from ..model.rope import text_tables


class Projection(nn.Module):
    """x @ weight + bias with weight [in, out], as ONNX MatMul takes it."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` is a Linear's [out, in]."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().float().T.contiguous(), requires_grad=False)
        self.bias = None
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().float().clone(), requires_grad=False)

    @classmethod
    def of(cls, linear: nn.Linear) -> Projection:
        """The same linear map."""
        return cls(linear.weight, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[...,in] -> [...,out]."""
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in the one order of operators that ONNX Runtime fuses."""

    def __init__(self, norm: transformer.RMSNorm, weight: Tensor | None = None) -> None:
        """`weight`: instead of the norm's own, anything that broadcasts to x."""
        super().__init__()
        own = norm.weight if weight is None else weight
        self.weight = nn.Parameter(own.detach().float().clone(), requires_grad=False)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """[...,W] -> [...,W]."""
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x: Tensor, c: Tensor, s: Tensor) -> Tensor:
    """x*C + swap_halves(x)*S along the last axis; c and s broadcast to x."""
    first, second = x.chunk(2, dim=-1)
    return x * c + torch.cat((second, first), -1) * s


def text_rotation(config: TransformerConfig, length: int) -> tuple[Tensor, Tensor]:
    """C and S [length, head_dim] of `rotate` for a Llama-shaped stack."""
    cos, sin = text_tables(config, length)
    half = config.head_dim // 2
    return cos, torch.cat((-sin[:, :half], sin[:, half:]), 1)


class Attention(nn.Module):
    """Grouped-query attention from one fused projection."""

    def __init__(self, attention: transformer.Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.kv_heads = attention.kv_heads
        self.head_dim = attention.head_dim
        q = attention.q_proj.weight * self.head_dim**-0.5
        self.qkv = Projection(torch.cat((q, attention.k_proj.weight, attention.v_proj.weight)))
        self.out = Projection.of(attention.o_proj)

    def project(self, x: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,M,W], c and s [M,d] -> rotated q [B,h,M,d], rotated k and v [B,g,M,d]."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        qk, v = torch.split(heads, [self.heads + self.kv_heads, self.kv_heads], 1)
        q, k = torch.split(rotate(qk, c, s), [self.heads, self.kv_heads], 1)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q [B,h,M,d], k and v [B,g,S,d], mask as `mix` takes it -> [B,M,W]."""
        return self.out(mix(q, k, v, mask))  # type: ignore[no-any-return]


def mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention of scaled q [B,h,M,d] over k and v [B,g,S,d] -> [B,M,h*d].

    The h/g queries that share a key are laid one below the other, so that keys and values are never
    repeated: the additive `mask` broadcasts to [B,g,h/g*M,S].
    """
    batch, heads, tokens, head_dim = q.shape
    kv_heads = k.shape[1]
    if heads != kv_heads:
        q = q.reshape(batch, kv_heads, -1, head_dim)
    scores = q @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    mixed = torch.softmax(scores, -1) @ v
    if heads != kv_heads:
        mixed = mixed.reshape(batch, heads, tokens, head_dim)
    return mixed.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU.

    Gate and up stay two matmuls: one for both would need a Split, which copies what it cuts
    (5 % of the Predictor's time on ONNX Runtime).
    """

    def __init__(self, layer: transformer.Layer) -> None:
        super().__init__()
        self.input_norm = RMSNorm(layer.input_layernorm)
        self.attention = Attention(layer.self_attn)
        self.mlp_norm = RMSNorm(layer.post_attention_layernorm)
        self.gate, self.up = Projection.of(layer.gate_proj), Projection.of(layer.up_proj)
        self.down = Projection.of(layer.down_proj)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half of the layer: [B,M,W] -> [B,M,W]."""
        y = self.mlp_norm(x)
        gate = self.gate(y)
        return x + self.down(gate * torch.sigmoid(gate) * self.up(y))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, c: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,M,W], c and s [M,d], additive mask or None -> [B,M,W]."""
        q, k, v = self.attention.project(self.input_norm(x), c, s)
        return self.feed_forward(x + self.attention.attend(q, k, v, mask))


def layers_of(stack: nn.ModuleList) -> nn.ModuleList:
    """A stack of `model.transformer.Layer` in exportable form."""
    return nn.ModuleList(Layer(layer) for layer in stack)  # type: ignore[arg-type]


def unit_rows(x: Tensor) -> Tensor:
    """Rows of unit length, as `torch.nn.functional.normalize`."""
    return x / torch.clamp(torch.linalg.vector_norm(x, dim=-1, keepdim=True), min=1e-12)
