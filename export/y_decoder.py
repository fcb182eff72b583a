"""Y-Decoder for export, as two graphs: the soft prefix, and one step over a static KV cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import y_decoder
from ..model.config import VLJEPAConfig, YDecoderConfig
from .blocks import Layer, Projection, RMSNorm, layers_of, text_rotation


def decoder_config(config: VLJEPAConfig) -> YDecoderConfig:
    """The Y-Decoder's sizes. ValueError where the model has none."""
    if config.y_decoder is None:
        raise ValueError(f"model {config.name} has no Y-Decoder")
    return config.y_decoder


class YDecoderPrefixGraph(nn.Module):
    """embedding [1,E] -> soft_tokens [1,K,W]."""

    def __init__(self, config: VLJEPAConfig, model: y_decoder.YDecoder) -> None:
        super().__init__()
        self.prefix_tokens = decoder_config(config).prefix_tokens
        self.prefix_proj = Projection.of(model.prefix_proj)

    def forward(self, embedding: Tensor) -> Tensor:
        """[1,E] -> [1,K,W]."""
        return self.prefix_proj(embedding).reshape(1, self.prefix_tokens, -1)  # type: ignore[no-any-return]


class YDecoderGraph(nn.Module):
    """n new positions over the cache -> logits [1,V] of the last one, kv_new [P,G,n,d].

    input_embeddings [1,n,W], positions int64 [n], attention_mask additive [n,C+n] with the cache's
    columns first, kv_cache [P,G,C,d] where plane 2i holds layer i's keys and 2i+1 its values.
    The caller copies kv_new into the cache: the graph never writes C columns for n new ones.
    """

    c: Tensor
    s: Tensor

    def __init__(self, config: VLJEPAConfig, model: y_decoder.YDecoder) -> None:
        super().__init__()
        c = decoder_config(config)
        self.groups = c.transformer.heads // c.transformer.kv_heads
        self.layers = layers_of(model.layers)
        self.norm = RMSNorm(model.norm)
        self.head = Projection(model.embed_tokens.weight)
        table, signed = text_rotation(c.transformer, c.cache_length)
        self.register_buffer("c", table)
        self.register_buffer("s", signed)

    def forward(
        self, input_embeddings: Tensor, positions: Tensor, attention_mask: Tensor, kv_cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[1,n,W], [n], [n,C+n], [P,G,C,d] -> [1,V], [P,G,n,d]."""
        x = input_embeddings
        c, s = F.embedding(positions, self.c), F.embedding(positions, self.s)
        if self.groups > 1:  # one row per query head, as blocks.Attention lays them out
            attention_mask = torch.cat([attention_mask] * self.groups)
        cached = torch.split(kv_cache, 1)
        new = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = layer.attention.project(layer.input_norm(x), c, s)
            new += [k, v]
            keys = torch.cat((cached[2 * i], k), 2)
            values = torch.cat((cached[2 * i + 1], v), 2)
            x = layer.feed_forward(x + layer.attention.attend(q, keys, values, attention_mask))
        return self.head(self.norm(x[:, -1])), torch.cat(new)
