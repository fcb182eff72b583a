"""A deployed bundle as an `Embedder`: the C core's own path, judged by the reference's code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..runtime.model import Model
from .embedder import Floats

# Queries of one clip that go to the Predictor together.
_AT_ONCE = 4


class Deployed:
    """A bundle opened by the runtime; windows go one by one, as on a device."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def embed_video(self, frames: npt.NDArray[np.uint8], query: str) -> Floats:
        """uint8 [B,T,H,W,3] -> unit [B,E]."""
        return np.stack([self.model.embed_video(clip, query) for clip in frames])

    def embed_queries(
        self, frames: npt.NDArray[np.uint8], queries: Sequence[Sequence[str]]
    ) -> list[Floats]:
        """uint8 [B,T,H,W,3] and some queries of each clip -> unit [queries of it, E] per clip."""
        result = []
        for clip, texts in zip(frames, queries, strict=True):
            tokens = self.model.encode_window(self.model.window(clip))
            compiled = [self.model.compile_query(text) for text in texts]
            rows = [
                self.model.predict(tokens, compiled[i : i + _AT_ONCE])
                for i in range(0, len(compiled), _AT_ONCE)
            ]
            result.append(np.concatenate(rows))
        return result

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """-> unit [len(texts), E]."""
        return self.model.embed_text(list(texts))

    def decode(self, embeddings: Floats) -> list[str]:
        """Greedy texts of [B,E]."""
        return [self.model.decode(row).text for row in embeddings]
