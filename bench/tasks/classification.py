"""Open-vocabulary classification: the nearest label text, of objects, motions, and both at once.

Objects and motions are each asked for with a query of their own, as the paper asks its datasets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import world
from .context import Context
from .score import Score, score

TASK = "classification"
SPLITS = {"test": "seen pairs", "pairs": "held-out pairs", "style": "held-out style"}


def classify(context: Context, splits: Sequence[str] = tuple(SPLITS)) -> list[Score]:
    """Top-1 of "which object is it?" among all objects, of "how does it move?" among all motions,
    both of a clip, and the caption query's among the captions of all pairs."""
    objects, motions = context.config.objects, context.config.motions
    labels = world.label_texts(context.config)
    pairs = [world.motion_object_caption(o, m) for o in objects for m in motions]
    rows: list[Score] = []
    for split in splits:
        told = SPLITS[split]
        pool = context.pool(split)
        right_object = np.array([objects.index(s.object) for s in pool.scenes])
        right_motion = np.array([motions.index(s.motion) for s in pool.scenes])
        objects_right = (pool.objects @ context.texts(labels["object"]).T).argmax(1) == right_object
        motions_right = (pool.motions @ context.texts(labels["motion"]).T).argmax(1) == right_motion
        best = (pool.embeddings @ context.texts(pairs).T).argmax(1)
        for name, right, ways in (
            (f"objects ({len(objects)}-way)", objects_right, len(objects)),
            (f"motions ({len(motions)}-way)", motions_right, len(motions)),
            ("both of a clip", objects_right & motions_right, len(pairs)),
            (
                f"captions ({len(pairs)}-way)",
                best == right_object * len(motions) + right_motion,
                len(pairs),
            ),
        ):
            rows.append(score(TASK, f"{name}, {told}", right, chance=1 / ways))
    return rows
