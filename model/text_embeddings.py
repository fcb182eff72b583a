"""Many texts through the Y-Encoder at once, in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .tokenizer import encode_batch
from .vl_jepa import VLJEPA

# Texts of so many lengths go through in turn.
_LENGTHS = 4


def embed_texts(model: VLJEPA, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Unit embeddings [len(texts),E]; short texts go apart from long ones: less is padded."""
    c = model.config
    ids, mask = encode_batch(tokenizer, texts, c.y_encoder.max_tokens, c.special_tokens)
    lengths = mask.sum(1).long()
    order = lengths.argsort(stable=True)
    parts = []
    for rows in order.chunk(_LENGTHS):
        longest = int(lengths[rows].max())
        parts.append(model.y_encoder(ids[rows, :longest], mask[rows, :longest]))
    return torch.cat(parts)[order.argsort()]
