"""Open-vocabulary classification: the nearest label text, of objects, motions, and both at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import world
from .context import Context
from .score import Score, score

TASK = "classification"
SPLITS = {"test": "seen pairs", "pairs": "held-out pairs", "style": "held-out style"}


def classify(context: Context, splits: Sequence[str] = tuple(SPLITS)) -> list[Score]:
    """Top-1 among the captions of all object-motion pairs, and of its object and its motion."""
    objects, motions = context.config.objects, context.config.motions
    labels = [world.motion_object_caption(o, m) for o in objects for m in motions]
    embedded = context.texts(labels)
    rows: list[Score] = []
    for split in splits:
        told = SPLITS[split]
        pool = context.pool(split)
        best = (pool.embeddings @ embedded.T).argmax(1)
        right_object = np.array([objects.index(s.object) for s in pool.scenes])
        right_motion = np.array([motions.index(s.motion) for s in pool.scenes])
        found_object, found_motion = best // len(motions), best % len(motions)
        for name, right, ways in (
            (f"objects ({len(objects)}-way)", found_object == right_object, len(objects)),
            (f"motions ({len(motions)}-way)", found_motion == right_motion, len(motions)),
            (
                f"both ({len(labels)}-way)",
                (found_object == right_object) & (found_motion == right_motion),
                len(labels),
            ),
        ):
            rows.append(score(TASK, f"{name}, {told}", right, chance=1 / ways))
    return rows
