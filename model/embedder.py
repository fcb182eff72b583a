"""What is judged: a model as four functions, whether PyTorch or the C core runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Frames to embeddings, texts to embeddings, embeddings to texts."""

    def embed_video(self, frames: npt.NDArray[np.uint8], query: str) -> Floats:
        """uint8 [B,T,H,W,3] -> unit [B,E]."""

    def embed_queries(
        self, frames: npt.NDArray[np.uint8], queries: Sequence[Sequence[str]]
    ) -> list[Floats]:
        """uint8 [B,T,H,W,3] and some queries of each clip -> unit [queries of it, E] per clip; a
        clip is encoded once for all its queries."""

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """-> unit [len(texts), E]."""

    def decode(self, embeddings: Floats) -> list[str]:
        """[B,E] -> texts."""
