"""Y-Encoder for export: one text at its true length, no padding and no mask."""

from __future__ import annotations

from torch import Tensor, nn

from ..model import y_encoder
from ..model.config import VLJEPAConfig
from .blocks import Projection, RMSNorm, layers_of, text_rotation, unit_rows


class YEncoderGraph(nn.Module):
    """token_ids int64 [1,L] -> text_embedding float [1,E]."""

    c: Tensor
    s: Tensor

    def __init__(self, config: VLJEPAConfig, model: y_encoder.YEncoder) -> None:
        super().__init__()
        self.embed_tokens = model.embed_tokens
        self.layers = layers_of(model.layers)
        self.norm = RMSNorm(model.norm)
        self.projector = Projection.of(model.projector)
        c, s = text_rotation(config.y_encoder.transformer, config.y_encoder.max_tokens)
        self.register_buffer("c", c)
        self.register_buffer("s", s)

    def forward(self, token_ids: Tensor) -> Tensor:
        """[1,L] -> [1,E]."""
        x = self.embed_tokens(token_ids)
        tokens = x.shape[1]
        c, s = self.c[:tokens], self.s[:tokens]
        for layer in self.layers:
            x = layer(x, c, s, None)
        return unit_rows(self.projector(self.norm(x).mean(1)))
