"""Text triplets: two phrasings of one thing lie nearer to each other than to a hard negative."""

from __future__ import annotations

from ... import world
from .context import Context
from .score import Score, missing, score

TASK = "text triplets"


def compare(context: Context) -> list[Score]:
    """Right where sim(first, second) is above both similarities to the other text."""
    rows: list[Score] = []
    every: list[bool] = []
    for kind in world.TRIPLET_KINDS:
        found = [
            triplet
            for i in range(context.clips)
            if (triplet := world.sample_triplet(context.seed, i, kind, context.config)) is not None
        ]
        if not found:
            rows.append(missing(TASK, kind, "this world has no such texts"))
            continue
        first, second, other = (
            context.texts([getattr(triplet, name) for triplet in found])
            for name in ("first", "second", "other")
        )
        same = (first * second).sum(1)
        right = (same > (first * other).sum(1)) & (same > (second * other).sum(1))
        every += right.tolist()
        rows.append(score(TASK, kind, right, chance=1 / 3))
    return [*rows, score(TASK, "all", every, chance=1 / 3)]
