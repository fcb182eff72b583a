"""Captions that the Y-Decoder writes: CIDEr, and whether object and motion are the right ones."""

from __future__ import annotations

import numpy as np

from ... import world
from ...calibration.cider import cider, plain
from .context import Context
from .score import Score, missing, score

TASK = "captions"
# Phrasings that a caption is compared with.
_REFERENCES = 5


def caption(context: Context) -> list[Score]:
    """Decodes the predicted embedding of each test clip."""
    pool = context.pool("test")
    try:
        written = [plain(text) for text in context.judged.embedder.decode(pool.embeddings)]
    except ValueError as error:
        return [missing(TASK, "CIDEr", str(error))]
    rng = np.random.default_rng(context.seed)
    references = []
    for scene in pool.scenes:
        others = [world.caption(scene, rng) for _ in range(_REFERENCES - 1)]
        references.append([plain(text) for text in (world.canonical_caption(scene), *others)])
    objects, motions = context.config.objects, context.config.motions
    told = [world.read_caption(text, objects, motions) for text in written]
    right_object = np.array([t.object == s.object for t, s in zip(told, pool.scenes, strict=True)])
    right_motion = np.array([t.motion == s.motion for t, s in zip(told, pool.scenes, strict=True)])
    return [
        score(TASK, "CIDEr, five references", cider(written, references), unit="cider"),
        score(TASK, "right object", right_object),
        score(TASK, "right motion", right_motion),
        score(TASK, "right object and motion", right_object & right_motion),
    ]
