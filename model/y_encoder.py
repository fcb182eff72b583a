"""Y-Encoder: a text in, its embedding in the space of the predictions out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import VLJEPAConfig
from .rope import text_tables
from .transformer import Layer, RMSNorm, additive_mask, initialise, masked_mean


class YEncoder(nn.Module):
    """Bidirectional text transformer, masked mean pool, linear head."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config.y_encoder
        c = self.config.transformer
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.projector = nn.Linear(c.width, config.embedding_width)
        self.apply(initialise)
        cos, sin = text_tables(c, self.config.max_tokens)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, token_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """int64 [B,L], 1/0 mask [B,L] or None (no padding) -> unit embeddings [B,E]."""
        length = token_ids.shape[1]
        x = self.embed_tokens(token_ids)
        bias = None if mask is None else additive_mask(mask)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length], bias)
        x = self.norm(x)
        pooled = x.mean(1) if mask is None else masked_mean(x, mask)
        return F.normalize(self.projector(pooled).float(), dim=-1)
