"""Y-Encoder for export: one text at its true length, no padding."""

from __future__ import annotations

from torch import Tensor, nn

from ..model import y_encoder
from ..model.config import VLJEPAConfig, YEncoderConfig
from ..model.gemma import GemmaNorm
from .blocks import Projection, RMSNorm, layers_of, text_rotation, unit_rows
from .gemma import GemmaStack, gemma_norm


class LlamaStack(nn.Module):
    """Llama-shaped layers with their tables."""

    c: Tensor
    s: Tensor

    def __init__(self, config: YEncoderConfig, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers_of(layers)
        c, s = text_rotation(config.transformer, config.max_tokens)
        self.register_buffer("c", c)
        self.register_buffer("s", s)

    def forward(self, x: Tensor) -> Tensor:
        """Token embeddings [1,L,W] -> [1,L,W], before the last norm."""
        tokens = x.shape[1]
        c, s = self.c[:tokens], self.s[:tokens]
        for layer in self.layers:
            x = layer(x, c, s, None)
        return x


class YEncoderGraph(nn.Module):
    """token_ids int64 [1,L] -> text_embedding float [1,E]."""

    def __init__(self, config: VLJEPAConfig, model: y_encoder.YEncoder) -> None:
        super().__init__()
        c = config.y_encoder
        self.embed_tokens = model.embed_tokens
        stack = LlamaStack if c.gemma is None else GemmaStack
        self.stack = stack(c, model.layers)
        norm = model.norm
        self.norm = gemma_norm(norm) if isinstance(norm, GemmaNorm) else RMSNorm(norm)
        dense = list(model.dense) if c.dense_widths else []
        self.dense = nn.ModuleList(Projection.of(linear) for linear in dense)  # type: ignore[arg-type]
        self.projector = Projection.of(model.projector)

    def forward(self, token_ids: Tensor) -> Tensor:
        """[1,L] -> [1,E]."""
        x = self.norm(self.stack(self.embed_tokens(token_ids))).mean(1)
        for dense in self.dense:
            x = dense(x)
        if self.dense:
            x = unit_rows(x)
        return unit_rows(self.projector(x))
