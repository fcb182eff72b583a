"""Llama-shaped layers shared by the Predictor, the Y-Encoder and the Y-Decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attention
from .config import TransformerConfig
from .rope import rotate_half

# Added to the scores of what must not be seen.
HIDDEN = -1e9
# Beyond this a gated MLP's product, whose median is near 0.1, is loud.
LOUD = 8.0


class RMSNorm(nn.Module):
    """x / rms(x) * weight, computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., W]."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight.to(x.dtype) * scaled.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention; what may see what is told by an additive float mask."""

    def __init__(self, c: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, c.head_dim
        self.q_proj = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.heads * c.head_dim, c.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,M,W] -> rotated q [B,h,M,d], rotated k and v [B,g,M,d]."""
        batch, tokens, _ = x.shape
        q = self.q_proj(x).view(batch, tokens, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q [B,h,M,d], k and v [B,g,S,d], mask additive, broadcast to [B,h,M,S] -> [B,M,W]."""
        if self.heads != self.kv_heads:
            groups = self.heads // self.kv_heads
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = attention(q, k, v, mask)
        return self.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def excess_of(product: Tensor) -> Tensor:
    """How far a gated MLP's product [B,M,H] goes beyond ±`LOUD`: summed over channels, mean over
    tokens, float32 scalar. What goes far beyond costs all other channels their INT8 steps."""
    return F.relu(product.abs() - LOUD).float().sum(-1).mean()


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU."""

    def __init__(self, c: TransformerConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.width, c.norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c.width, c.norm_eps)
        self.gate_proj = nn.Linear(c.width, c.mlp_width, bias=False)
        self.up_proj = nn.Linear(c.width, c.mlp_width, bias=False)
        self.down_proj = nn.Linear(c.mlp_width, c.width, bias=False)
        # The last forward pass's excess (`excess_of`), where `watched` is set, in training.
        self.watched = False
        self.excess: Tensor | None = None

    def feed_forward(self, x: Tensor) -> Tensor:
        """[B,M,W] -> [B,M,W], residual included."""
        y = self.post_attention_layernorm(x)
        product = F.silu(self.gate_proj(y)) * self.up_proj(y)
        if self.watched and self.training:
            self.excess = excess_of(product)
        return x + self.down_proj(product)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,M,W], tables [M,d], mask additive or None -> [B,M,W]."""
        q, k, v = self.self_attn.project(self.input_layernorm(x), cos, sin)
        return self.feed_forward(x + self.self_attn.attend(q, k, v, mask))


def initialise(module: nn.Module) -> None:
    """Normal weights of deviation 0.02, as Llama."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def additive_mask(mask: Tensor) -> Tensor:
    """1/0 mask of keys [B,S] -> additive float [B,1,1,S]: 0 where visible, -1e9 elsewhere."""
    return (1.0 - mask.float())[:, None, None, :] * HIDDEN


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x [B,M,W] over positions where mask [B,M] is 1 -> [B,W]; a reduction as a matmul."""
    weights = mask.float() / mask.float().sum(-1, keepdim=True)
    return torch.bmm(weights[:, None, :].to(x.dtype), x)[:, 0]
