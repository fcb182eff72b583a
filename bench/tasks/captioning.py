"""Captions that the Y-Decoder writes: CIDEr, and whether object and motion are the right ones."""

from __future__ import annotations

from collections.abc import Sequence

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
        written = context.judged.embedder.decode(pool.embeddings)
    except ValueError as error:
        return [missing(TASK, "CIDEr", str(error))]
    return score_captions(written, pool.scenes, context.config, context.seed)


def score_captions(
    texts: Sequence[str], scenes: Sequence[world.Scene], config: world.WorldConfig, seed: int
) -> list[Score]:
    """CIDEr of one text a scene, and whether it names object and motion; whoever wrote it."""
    written = [plain(text) for text in texts]
    rng = np.random.default_rng(seed)
    references = []
    for scene in scenes:
        others = [world.caption(scene, rng) for _ in range(_REFERENCES - 1)]
        references.append([plain(text) for text in (world.canonical_caption(scene), *others)])
    objects, motions = config.objects, config.motions
    told = [world.read_caption(text, objects, motions) for text in written]
    right_object = np.array([t.object == s.object for t, s in zip(told, scenes, strict=True)])
    right_motion = np.array([t.motion == s.motion for t, s in zip(told, scenes, strict=True)])
    return [
        score(TASK, "CIDEr, five references", cider(written, references), unit="cider"),
        score(TASK, "right object", right_object),
        score(TASK, "right motion", right_motion),
        score(TASK, "right object and motion", right_object & right_motion),
    ]
