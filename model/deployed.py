"""A deployed bundle as an `Embedder`: the C core's own path, judged by the reference's code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..runtime.model import Model
from .evaluate import Floats


class Deployed:
    """A bundle opened by the runtime; windows go one by one, as on a device."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def embed_video(self, frames: npt.NDArray[np.uint8], query: str) -> Floats:
        """uint8 [B,T,H,W,3] -> unit [B,E]."""
        return np.stack([self.model.embed_video(clip, query) for clip in frames])

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """-> unit [len(texts), E]."""
        return self.model.embed_text(list(texts))

    def decode(self, embeddings: Floats) -> list[str]:
        """Greedy texts of [B,E]."""
        return [self.model.decode(row).text for row in embeddings]
