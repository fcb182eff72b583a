"""The PyTorch model in float32 as an `Embedder`: full precision, what a bundle is held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from .embedder import Floats
from .tokenizer import encode_batch
from .vl_jepa import VLJEPA

_MAX_QUERY_TOKENS = 512


class Reference:
    """Runs in batches on the CPU."""

    def __init__(self, model: VLJEPA, tokenizer: Tokenizer, batch: int = 64) -> None:
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch

    def embed_video(self, frames: npt.NDArray[np.uint8], query: str) -> Floats:
        """uint8 [B,T,H,W,3] -> unit [B,E]."""
        return np.concatenate(self.embed_queries(frames, [[query]] * len(frames)))

    @torch.no_grad()
    def embed_queries(
        self, frames: npt.NDArray[np.uint8], queries: Sequence[Sequence[str]]
    ) -> list[Floats]:
        """uint8 [B,T,H,W,3] and some queries of each clip -> unit [queries of it, E] per clip."""
        special, predictor = self.model.config.special_tokens, self.model.predictor
        result: list[Floats] = []
        for start in range(0, len(frames), self.batch):
            part = torch.from_numpy(frames[start : start + self.batch]).permute(0, 1, 4, 2, 3)
            asked = queries[start : start + self.batch]
            visual = self.model.x_encoder(part)
            counts = [len(texts) for texts in asked]
            owners = torch.repeat_interleave(torch.arange(len(part)), torch.tensor(counts))
            texts = [text for clip in asked for text in clip]
            ids, mask = encode_batch(self.tokenizer, texts, _MAX_QUERY_TOKENS, special)
            rows = []
            for at in range(0, len(texts), self.batch):
                chosen = slice(at, at + self.batch)
                query = predictor.embed_tokens(ids[chosen])
                rows.append(predictor(visual[owners[chosen]], query, mask[chosen]))
            embeddings = torch.cat(rows).numpy()
            result += np.split(embeddings, np.cumsum(counts)[:-1])
        return result

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Floats:
        """-> unit [len(texts), E]."""
        c = self.model.config
        rows = []
        for start in range(0, len(texts), 512):
            part = texts[start : start + 512]
            rows.append(
                self.model.y_encoder(
                    *encode_batch(self.tokenizer, part, c.y_encoder.max_tokens, c.special_tokens)
                )
            )
        return torch.cat(rows).numpy()

    @torch.no_grad()
    def decode(self, embeddings: Floats) -> list[str]:
        """Greedy texts of [B,E]. ValueError where the model has no Y-Decoder."""
        if self.model.y_decoder is None:
            raise ValueError("this model has no Y-Decoder")
        rows = []
        for start in range(0, len(embeddings), 256):
            ids = self.model.y_decoder.generate(torch.from_numpy(embeddings[start : start + 256]))
            rows += [self.tokenizer.decode(row).strip() for row in ids]
        return rows
