"""CIDEr-D (arXiv 1411.5726): how much a text says what reference texts say, by weighted n-grams."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

Gram = tuple[str, ...]
LONGEST = 4
_SIGMA = 6.0


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D of each candidate against its references, on the usual scale of 0 to 10.

    How rare an n-gram is comes from the references themselves; one text alone has no such measure,
    and gives 0. ValueError where the two differ in number.
    """
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates but {len(references)} references")
    if not candidates:
        raise ValueError("no candidates")
    counted = [[_grams(reference) for reference in group] for group in references]
    documents: Counter[Gram] = Counter()
    for group in counted:
        documents.update({gram for grams in group for gram in grams})
    logs = {gram: math.log(max(1.0, count)) for gram, count in documents.items()}
    total = math.log(len(references))
    scores = []
    for candidate, group in zip(candidates, counted, strict=True):
        mine = _grams(candidate)
        each = [_similarity(mine, reference, logs, total) for reference in group]
        scores.append(10.0 * float(np.mean(each)) if each else 0.0)
    return float(np.mean(scores))


def _grams(text: str) -> Counter[Gram]:
    tokens = words(text)
    return Counter(
        tuple(tokens[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(tokens) - n + 1)
    )


def _similarity(
    mine: Counter[Gram], theirs: Counter[Gram], logs: dict[Gram, float], total: float
) -> float:
    """Mean over n of the clipped cosine, less for another length (in bigrams, as pycocoevalcap)."""
    lengths = [sum(count for gram, count in of.items() if len(gram) == 2) for of in (mine, theirs)]
    penalty = math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * _SIGMA**2))
    result = 0.0
    for n in range(1, LONGEST + 1):
        a, b = (
            {gram: count * (total - logs.get(gram, 0.0)) for gram, count in of.items()}
            for of in (
                {g: c for g, c in mine.items() if len(g) == n},
                {g: c for g, c in theirs.items() if len(g) == n},
            )
        )
        norms = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        if norms > 0:
            shared = sum(min(v, b[g]) * b[g] for g, v in a.items() if g in b)
            result += shared / norms * penalty
    return result / LONGEST
