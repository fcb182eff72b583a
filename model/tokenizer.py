"""nano's tokenizer: a small byte-level BPE trained on sprite world's own sentences.

Byte-level, so that decoding is concatenation of token bytes (the C core needs no tokenizer) and any
text can be told. Other models bring their own `tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from .config import SpecialTokens

SPECIALS = ("<pad>", "<begin>", "<end>")


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE with ids 0, 1, 2 for pad, begin and end. Lower-cases and trims its input."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads a `tokenizer.json`."""
    return Tokenizer.from_file(str(path))


def parse_tokenizer(text: str) -> Tokenizer:
    """What `Tokenizer.to_str` gave."""
    return Tokenizer.from_str(text)


def encode_batch(
    tokenizer: Tokenizer, texts: Sequence[str], limit: int, special: SpecialTokens
) -> tuple[Tensor, Tensor]:
    """Ids int64 [B,L], padded to the longest row (cut at `limit`), and their 1/0 mask [B,L]."""
    rows = [encoding.ids[:limit] for encoding in tokenizer.encode_batch(list(texts))]
    length = max(1, max(len(row) for row in rows))
    ids = torch.full((len(rows), length), special.pad, dtype=torch.long)
    mask = torch.zeros(len(rows), length)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return ids, mask
