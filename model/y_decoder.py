"""Y-Decoder: a prefix LM that turns one embedding into text.

The paper doesn't give its form. Ours: a linear map makes K soft tokens of the embedding, which see
one another; a small Llama-shaped LM goes on from them, causally. It is trained on text alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import VLJEPAConfig
from .rope import text_tables
from .transformer import Layer, RMSNorm, initialise

HIDDEN = -1e9


class YDecoder(nn.Module):
    """Prefix LM with tied input and output embeddings."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        if config.y_decoder is None:
            raise ValueError(f"model {config.name} is configured without a Y-Decoder")
        self.config = config.y_decoder
        c = self.config.transformer
        self.special = config.special_tokens
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        self.prefix_proj = nn.Linear(config.embedding_width, self.config.prefix_tokens * c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.apply(initialise)
        nn.init.normal_(self.prefix_proj.weight, std=0.2)
        cos, sin = text_tables(c, self.config.cache_length)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def soft_tokens(self, embedding: Tensor) -> Tensor:
        """[B,E] -> [B,K,W]."""
        return self.prefix_proj(embedding).unflatten(1, (self.config.prefix_tokens, -1))  # type: ignore[no-any-return]

    def prefix_mask(self, length: int) -> Tensor:
        """Additive [length, length]: the first K positions see one another, the rest is causal."""
        prefix = self.config.prefix_tokens
        mask = torch.full((length, length), HIDDEN).triu(1)
        mask[:prefix, :prefix] = 0
        return mask

    def forward(self, embedding: Tensor, token_ids: Tensor) -> Tensor:
        """Teacher forcing: [B,E] and begin-token-first ids [B,L] -> logits [B,L,V]."""
        prefix = self.soft_tokens(embedding)
        x = torch.cat((prefix, self.embed_tokens(token_ids).to(prefix.dtype)), 1)
        length = x.shape[1]
        mask = self.prefix_mask(length)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length], mask)
        logits: Tensor = self.norm(x[:, self.config.prefix_tokens :]) @ self.embed_tokens.weight.T
        return logits

    def step(
        self, input_embeddings: Tensor, positions: Tensor, attention_mask: Tensor, kv_cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One call of the deployed decoder: n new positions over a static cache.

        input_embeddings [1,n,W], positions int64 [n], additive attention_mask [n,C+n] (the cache's
        columns first), kv_cache [2*layers,G,C,d] -> logits of the last position [1,V] and
        kv_new [2*layers,G,n,d].
        """
        x = input_embeddings
        cos, sin = self.cos[positions], self.sin[positions]
        planes = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), cos, sin)
            planes += [k[0], v[0]]
            keys = torch.cat((kv_cache[2 * i][None], k), 2)
            values = torch.cat((kv_cache[2 * i + 1][None], v), 2)
            x = layer.feed_forward(x + layer.self_attn.attend(q, keys, values, attention_mask))
        logits = self.norm(x[:, -1]) @ self.embed_tokens.weight.T
        return logits, torch.stack(planes)

    @torch.no_grad()
    def generate(self, embedding: Tensor) -> list[list[int]]:
        """Greedy ids per row of [B,E], without begin and end; the C decoder's reference."""
        batch = embedding.shape[0]
        ids = torch.full((batch, 1), self.special.begin, dtype=torch.long)
        done = torch.zeros(batch, dtype=torch.bool)
        for _ in range(self.config.max_new_tokens):
            token = self.forward(embedding, ids)[:, -1].argmax(-1)
            token = torch.where(done, torch.full_like(token, self.special.end), token)
            ids = torch.cat((ids, token[:, None]), 1)
            done |= token == self.special.end
            if bool(done.all()):
                break
        rows = []
        for row in ids[:, 1:].tolist():
            stop = row.index(self.special.end) if self.special.end in row else len(row)
            rows.append(row[:stop])
        return rows
