"""Predictor for export: all queries of one window in one batch, at their true length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import predictor
from ..model.config import VLJEPAConfig
from .blocks import Projection, RMSNorm, layers_of, text_rotation
from .pooling import MaskedMeanPool

HIDDEN = 1e9


class PredictorGraph(nn.Module):
    """visual_tokens [1,N,D], query_embeddings [Q,L,W], query_mask 1/0 [Q,L] -> unit rows [Q,E]."""

    visual_c: Tensor
    visual_s: Tensor
    query_c: Tensor
    query_s: Tensor

    def __init__(self, config: VLJEPAConfig, model: predictor.Predictor) -> None:
        super().__init__()
        self.visual = config.visual_tokens
        self.pooling = config.predictor.pooling
        self.vis_proj = Projection.of(model.vis_proj)
        self.query_proj = None if model.query_proj is None else Projection.of(model.query_proj)
        self.layers = layers_of(model.layers)
        self.norm = RMSNorm(model.norm)
        self.pool = MaskedMeanPool(model.out_proj)
        most = self.visual + config.predictor.max_query_tokens
        c, s = text_rotation(config.predictor.transformer, most)
        self.register_buffer("visual_c", c[: self.visual].contiguous())
        self.register_buffer("visual_s", s[: self.visual].contiguous())
        self.register_buffer("query_c", c[self.visual :].contiguous())
        self.register_buffer("query_s", s[self.visual :].contiguous())

    def pooling_mask(self, query_mask: Tensor, mask: Tensor) -> Tensor:
        """[Q,L] and [Q,N+L] -> [Q,N+L]: which tokens the mean is over."""
        if self.pooling == "query":
            return F.pad(query_mask, (self.visual, 0), value=0.0)
        if self.pooling == "visual":
            return F.pad(query_mask * 0, (self.visual, 0), value=1.0)
        return mask

    def forward(
        self, visual_tokens: Tensor, query_embeddings: Tensor, query_mask: Tensor
    ) -> Tensor:
        """[1,N,D], [Q,L,W], [Q,L] -> [Q,E]."""
        visual = self.vis_proj(visual_tokens)  # once, then the same for every query
        query = query_embeddings
        if self.query_proj is not None:
            query = self.query_proj(query)
        count, length = query_mask.shape
        x = torch.cat((visual.expand(count, -1, -1), query), 1)  # [Q,N+L,W]
        mask = F.pad(query_mask, (self.visual, 0), value=1.0)  # [Q,N+L]
        bias = ((mask - 1) * HIDDEN)[:, None, None]  # [Q,1,1,N+L]
        # Visual positions are fixed: only the query's part of the tables is cut to its length.
        c = torch.cat((self.visual_c, self.query_c[:length]))
        s = torch.cat((self.visual_s, self.query_s[:length]))
        for layer in self.layers:
            x = layer(x, c, s, bias)
        return self.pool(self.norm(x), self.pooling_mask(query_mask, mask))  # type: ignore[no-any-return]
