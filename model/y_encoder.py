"""Y-Encoder: a text in, its embedding in the space of the predictions out."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .config import VLJEPAConfig
from .gemma import GemmaLayer, GemmaNorm, GemmaViews
from .rope import text_tables
from .transformer import Layer, RMSNorm, additive_mask, initialise, masked_mean


class YEncoder(nn.Module):
    """Bidirectional text transformer, masked mean pool, linear head.

    Its layers are Llama-shaped, or Gemma 3's (EmbeddingGemma) where the configuration has `gemma`.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config.y_encoder
        c, gemma = self.config.transformer, self.config.gemma
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        if gemma is None:
            self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
            self.norm = RMSNorm(c.width, c.norm_eps)
            cos, sin = text_tables(c, self.config.max_tokens)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        else:
            self.layers = nn.ModuleList(
                GemmaLayer(c, gemma, full=i in gemma.full_layers) for i in range(c.layers)
            )
            self.norm = GemmaNorm(c.width, c.norm_eps)
            self.views = GemmaViews(c, gemma, self.config.max_tokens)
        widths = (c.width, *self.config.dense_widths)
        if len(widths) > 1:
            self.dense = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.projector = nn.Linear(widths[-1], config.embedding_width)
        self.apply(initialise)

    def hidden(self, token_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """int64 [B,L], 1/0 mask [B,L] or None -> the tokens after the last norm [B,L,W]."""
        length = token_ids.shape[1]
        x = self.embed_tokens(token_ids)
        bias = None if mask is None else additive_mask(mask)
        if self.config.gemma is None:
            for layer in self.layers:
                x = layer(x, self.cos[:length], self.sin[:length], bias)
        else:
            x = x * self.config.transformer.width**0.5
            full, sliding = self.views(length, bias)
            for layer in self.layers:
                x = layer(x, full if layer.full else sliding)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward(self, token_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """int64 [B,L], 1/0 mask [B,L] or None (no padding) -> unit embeddings [B,E]."""
        x = self.hidden(token_ids, mask)
        pooled = x.mean(1) if mask is None else masked_mean(x, mask)
        if self.config.dense_widths:
            for dense in self.dense:
                pooled = dense(pooled)
            pooled = F.normalize(pooled, dim=-1)  # sentence-transformers ends with it
        return F.normalize(self.projector(pooled).float(), dim=-1)
