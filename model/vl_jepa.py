"""The whole VL-JEPA: four components and how they meet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import VLJEPAConfig
from .predictor import Predictor
from .x_encoder import XEncoder
from .y_decoder import YDecoder
from .y_encoder import YEncoder


class VLJEPA(nn.Module):
    """X-Encoder and Predictor on the video side, Y-Encoder and Y-Decoder on the text side."""

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config
        self.x_encoder = XEncoder(config)
        self.predictor = Predictor(config)
        self.y_encoder = YEncoder(config)
        self.y_decoder = YDecoder(config) if config.y_decoder is not None else None
        # Natural log of 1/temperature of the InfoNCE loss.
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def predict(self, frames: Tensor, query_ids: Tensor, query_mask: Tensor) -> Tensor:
        """uint8 [B,T,3,H,W], int64 [B,L], 1/0 [B,L] -> unit predicted embeddings [B,E]."""
        query = self.predictor.embed_tokens(query_ids)
        return self.predictor(self.x_encoder(frames), query, query_mask)  # type: ignore[no-any-return]

    def parameter_count(self) -> dict[str, int]:
        """Parameters of each component."""
        return {
            name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()
        }
