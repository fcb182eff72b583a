"""Text-to-video retrieval: where the right video ranks among all, by its predicted embedding."""

from __future__ import annotations

import numpy as np

from ... import world
from .context import Context
from .score import Score, missing, score

TASK = "retrieval"
DEPTHS = (1, 5, 10)
# Candidates of the captions in held-out words.
_OTHERS = 100


def retrieve(context: Context) -> list[Score]:
    """Recall at 1, 5 and 10 for captions in a random phrasing, then in words never captioned."""
    pool = context.pool("test")
    videos = len(pool.scenes)
    scores = context.texts(pool.captions) @ pool.embeddings.T
    ranks = (scores > np.diag(scores)[:, None]).sum(1)
    rows = [
        score(TASK, f"R@{depth} of {videos}", ranks < depth, chance=min(1.0, depth / videos))
        for depth in DEPTHS
    ]
    rare = [
        (number, text)
        for number, scene in enumerate(pool.scenes)
        if scene.world == 2 and (text := world.held_out_caption(scene)) is not None
    ]
    name = f"held-out words, R@1 of {_OTHERS}"
    if len(rare) < 2 or videos < _OTHERS:
        why = "version 1 has no held-out words" if context.config.version == 1 else "too few clips"
        return [*rows, missing(TASK, name, why)]
    found = context.texts([text for _, text in rare]) @ pool.embeddings.T
    rng = np.random.default_rng(context.seed)
    first = []
    for row, (number, _) in zip(found, rare, strict=True):
        others = rng.permutation(videos)
        others = others[others != number][: _OTHERS - 1]
        first.append(bool(row[number] > row[others].max()))
    return [*rows, score(TASK, name, first, chance=1 / _OTHERS)]
