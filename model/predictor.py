"""Predictor: visual tokens and a query in, the predicted embedding of the answer out."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import VLJEPAConfig
from .rope import text_tables
from .transformer import HIDDEN, Layer, RMSNorm, additive_mask, initialise, masked_mean


class Predictor(nn.Module):
    """Bidirectional Llama layers, masked mean pool, linear head (paper, section 3).

    Positions run 0..N-1 over the visual tokens, then N..N+L-1 over the query.
    """

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config.predictor
        c = self.config.transformer
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        self.vis_proj = nn.Linear(self.config.visual_width, c.width)
        self.query_proj = nn.Linear(c.width, c.width) if self.config.project_query else None
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.out_proj = nn.Linear(c.width, config.embedding_width)
        self.apply(initialise)
        self._tables: tuple[Tensor, Tensor] | None = None

    def watch(self, watched: bool) -> None:
        """Whether forward passes of training note each layer's excess (`transformer.excess_of`)."""
        for layer in self.layers:
            cast("Layer", layer).watched = watched
            cast("Layer", layer).excess = None

    def excess(self) -> Tensor:
        """The last watched pass's excess, mean over layers, float32 scalar. RuntimeError: none."""
        noted = [
            excess for layer in self.layers if (excess := cast("Layer", layer).excess) is not None
        ]
        if len(noted) != len(self.layers):
            raise RuntimeError("no forward pass of training was watched: call watch(True) first")
        return torch.stack(noted).mean()

    def tables(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin [length, head_dim]."""
        if self._tables is None or len(self._tables[0]) < length:
            self._tables = text_tables(self.config.transformer, length)
        return self._tables[0][:length], self._tables[1][:length]

    def hidden(
        self,
        visual_tokens: Tensor,
        query_embeddings: Tensor,
        query_mask: Tensor,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The tokens after the last norm [B,N+L,W] and the pooling mask [B,N+L].

        `seen` int64 [K]: the visual tokens that are looked at, in their own places; then N is K.
        """
        places = visual_tokens.shape[1]
        if seen is not None:
            visual_tokens = visual_tokens[:, seen]
        batch, visual, _ = visual_tokens.shape
        length = query_embeddings.shape[1]
        query = query_embeddings if self.query_proj is None else self.query_proj(query_embeddings)
        x = torch.cat((self.vis_proj(visual_tokens), query), 1)
        ones = torch.ones(batch, visual, device=x.device)
        mask = torch.cat((ones, query_mask.float()), 1)
        bias = additive_mask(mask)
        if self.config.causal:
            later = torch.full((visual + length, visual + length), HIDDEN, device=x.device)
            bias = bias + later.triu(1)
        cos, sin = self.tables(places + length)
        if seen is not None:
            at = torch.cat((seen, torch.arange(places, places + length, device=seen.device)))
            cos, sin = cos[at], sin[at]
        for layer in self.layers:
            x = layer(x, cos, sin, bias)
        if self.config.pooling == "query":
            mask = torch.cat((0 * ones, query_mask.float()), 1)
        elif self.config.pooling == "visual":
            mask = torch.cat((ones, 0 * query_mask.float()), 1)
        return self.norm(x), mask

    def forward(
        self,
        visual_tokens: Tensor,
        query_embeddings: Tensor,
        query_mask: Tensor,
        seen: Tensor | None = None,
    ) -> Tensor:
        """[B,N,D], [B,L,W], 1/0 [B,L] -> unit predicted embeddings [B,E]. `seen`: as `hidden`'s,
        in training."""
        x, mask = self.hidden(visual_tokens, query_embeddings, query_mask, seen)
        return F.normalize(self.out_proj(masked_mean(x, mask)).float(), dim=-1)
