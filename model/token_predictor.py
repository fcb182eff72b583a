"""The paper's other way (section 4.4), for comparison: a VLM of the same size that predicts tokens.

The same X-Encoder and the same layers as the Predictor. Visual tokens are a prefix that sees
itself; query and answer follow causally, and a next-token head (tied to the embeddings) takes the
place of pooling and projection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from .config import SpecialTokens, VLJEPAConfig
from .rope import text_tables
from .transformer import HIDDEN, Layer, RMSNorm, initialise
from .x_encoder import XEncoder

# Keys and values [B,g,S,d] of each layer, of everything so far.
Cache = list[tuple[Tensor, Tensor]]


class CausalPredictor(nn.Module):
    """The Predictor's layers behind a prefix of visual tokens, causal over the text."""

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config.predictor
        c = self.config.transformer
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        self.vis_proj = nn.Linear(self.config.visual_width, c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.apply(initialise)

    def forward(self, visual_tokens: Tensor, token_ids: Tensor) -> Tensor:
        """Teacher forcing: [B,N,D] and ids [B,L], padded on the right -> logits [B,L,V]."""
        prefix = self.vis_proj(visual_tokens)
        x = torch.cat((prefix, self.embed_tokens(token_ids).to(prefix.dtype)), 1)
        visual, length = prefix.shape[1], x.shape[1]
        mask = torch.full((length, length), HIDDEN).triu(1)
        mask[:visual, :visual] = 0
        return self._logits(self._run(x, mask, None)[0][:, visual:])

    def start(self, visual_tokens: Tensor) -> Cache:
        """[B,N,D] -> the cache of the prefix."""
        return self._run(self.vis_proj(visual_tokens), None, None)[1]

    def extend(self, token_ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Ids [B,L] behind what the cache holds -> logits [B,L,V] and the longer cache."""
        length, past = token_ids.shape[1], cache[0][0].shape[2]
        mask = torch.full((length, past + length), HIDDEN).triu(past + 1)
        x, longer = self._run(self.embed_tokens(token_ids), mask, cache)
        return self._logits(x), longer

    def _run(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> tuple[Tensor, Cache]:
        past = 0 if cache is None else cache[0][0].shape[2]
        cos, sin = text_tables(self.config.transformer, past + x.shape[1])
        cos, sin = cos[past:], sin[past:]
        longer: Cache = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), cos, sin)
            if cache is not None:
                k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2)
            longer.append((k, v))
            x = layer.feed_forward(x + layer.self_attn.attend(q, k, v, mask))
        return self.norm(x), longer

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = x @ self.embed_tokens.weight.T.to(x.dtype)
        return logits


class TokenPredictor(nn.Module):
    """X-Encoder and causal Predictor; `config` is that of the VL-JEPA that it is compared with."""

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config
        self.x_encoder = XEncoder(config)
        self.predictor = CausalPredictor(config)

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 [B,T,3,H,W] -> visual tokens [B,N,D]."""
        return self.x_encoder(frames)  # type: ignore[no-any-return]

    @torch.no_grad()
    def generate(
        self, visual_tokens: Tensor, query_ids: Sequence[int], limit: int
    ) -> list[list[int]]:
        """Greedy answers to one query about each of [B,N,D], without begin and end."""
        special, count = self.config.special_tokens, len(visual_tokens)
        ids = torch.tensor([[*query_ids, special.begin]]).expand(count, -1)
        cache = self.predictor.start(visual_tokens)
        rows: list[Tensor] = []
        done = torch.zeros(count, dtype=torch.bool)
        for _ in range(limit):
            logits, cache = self.predictor.extend(ids, cache)
            token = logits[:, -1].argmax(-1)
            done |= token == special.end
            rows.append(torch.where(done, special.end, token))
            if bool(done.all()):
                break
            ids = token[:, None]
        answers = torch.stack(rows, 1).tolist()
        return [row[: row.index(special.end)] if special.end in row else row for row in answers]

    @torch.no_grad()
    def score(
        self, visual_tokens: Tensor, query_ids: Sequence[int], candidates: Sequence[Sequence[int]]
    ) -> Tensor:
        """Mean log-probability per token (the end included) of each candidate as the answer to a
        query about one clip [1,N,D] -> [candidates]; the highest has the lowest perplexity."""
        special = self.config.special_tokens
        cache = self.predictor.start(visual_tokens)
        _, cache = self.predictor.extend(torch.tensor([list(query_ids)]), cache)
        inputs, labels, mask = answer_rows([[]] * len(candidates), candidates, special)
        shared = [
            (k.expand(len(candidates), -1, -1, -1), v.expand(len(candidates), -1, -1, -1))
            for k, v in cache
        ]
        logits, _ = self.predictor.extend(inputs, shared)
        told = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
        return -(told * mask).sum(1) / mask.sum(1)


def answer_rows(
    queries: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], special: SpecialTokens
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, begin token, answer, end token, padded on the right: inputs int64 [B,L], what each
    position must predict [B,L], and 1 where that is of the answer or its end, else 0 [B,L]."""
    rows = [
        [*query, special.begin, *answer, special.end]
        for query, answer in zip(queries, answers, strict=True)
    ]
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), special.pad, dtype=torch.long)
    mask = torch.zeros(len(rows), length - 1)
    for i, (row, query) in enumerate(zip(rows, queries, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, len(query) : len(row) - 1] = 1
    return ids[:, :-1], ids[:, 1:], mask


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Ids of each text, cut at `limit`."""
    return [encoding.ids[:limit] for encoding in tokenizer.encode_batch(list(texts))]
