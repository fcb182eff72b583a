"""CIDEr between captions, equal to pycocoevalcap's (CIDEr-D: clipped, length-penalised, times 10).

Texts are compared as they are, split at spaces; `plain` lowers them and takes punctuation away.
The n-gram weights come from the references given, so a score belongs to its whole set of captions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

N = 4
SIGMA = 6.0
_Vector = list[dict[tuple[str, ...], float]]


def plain(text: str) -> str:
    """Lower case, no punctuation, single spaces."""
    return " ".join(re.findall(r"[\w'-]+", text.lower()))


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Score of each candidate against its own references.

    Raises ValueError where the two lists differ in length or one has no reference.
    """
    if len(candidates) != len(references) or not all(references):
        raise ValueError("every candidate wants at least one reference")
    counted = [[_ngrams(text) for text in texts] for texts in references]
    documents = Counter(gram for texts in counted for gram in set().union(*texts))
    log_count = math.log(len(candidates)) if candidates else 0.0
    scores = []
    for candidate, texts in zip(candidates, counted, strict=True):
        vector = _vector(_ngrams(candidate), documents, log_count)
        found = [_similarity(vector, _vector(text, documents, log_count)) for text in texts]
        scores.append(10 * sum(found) / len(found))
    return scores


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(
        tuple(words[i : i + n]) for n in range(1, N + 1) for i in range(len(words) - n + 1)
    )


def _vector(
    counts: Counter[tuple[str, ...]], documents: Counter[tuple[str, ...]], log_count: float
) -> tuple[_Vector, list[float], int]:
    """tf-idf per n, their norms, and the length that the penalty sees (in bigrams, as upstream)."""
    vector: _Vector = [{} for _ in range(N)]
    squares = [0.0] * N
    length = 0
    for gram, count in counts.items():
        n = len(gram) - 1
        weight = count * (log_count - math.log(max(1.0, documents[gram])))
        vector[n][gram] = weight
        squares[n] += weight * weight
        if n == 1:
            length += count
    return vector, [math.sqrt(square) for square in squares], length


def _similarity(
    candidate: tuple[_Vector, list[float], int], reference: tuple[_Vector, list[float], int]
) -> float:
    total = 0.0
    penalty = math.exp(-((candidate[2] - reference[2]) ** 2) / (2 * SIGMA**2))
    for n in range(N):
        mine, theirs = candidate[0][n], reference[0][n]
        value = sum(
            min(w, theirs[gram]) * theirs[gram] for gram, w in mine.items() if gram in theirs
        )
        if candidate[1][n] and reference[1][n]:
            value /= candidate[1][n] * reference[1][n]
        total += value * penalty
    return total / N
