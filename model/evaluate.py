"""First quality figures of a model on sprite world: classification, captions, answers.

Everything goes through one `Embedder`, so that the PyTorch reference and a deployed bundle are
judged by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import world
from .data import CAPTION_QUERY
from .embedder import Embedder
from .reference import Reference

__all__ = ["Embedder", "Quality", "Reference", "evaluate", "parse_caption"]


@dataclass(frozen=True)
class Quality:
    """Shares in 0..1 over `clips` clips of one split."""

    split: str
    clips: int
    caption_of_100: float  # right object-motion caption among 100 candidates
    caption_of_all: float  # ... among all object-motion pairs of the world
    object_top1: float
    motion_top1: float
    decoded_object_and_motion: float
    decoded_object: float
    decoded_motion: float


def evaluate(
    embedder: Embedder,
    config: world.WorldConfig,
    *,
    split: str = "test",
    clips: int = 500,
    seed: int = 2,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Quality:
    """Quality on clips of a split that training never sees (seeds and splits are apart)."""
    samples = []
    for i in range(clips):
        samples.append(world.sample_clip(seed, i, config, split=split))
        if progress is not None and (i + 1) % 50 == 0:
            progress(i + 1, clips)
    frames = np.stack([sample.frames for sample in samples])
    predicted = embedder.embed_video(frames, CAPTION_QUERY)

    objects, motions = list(config.objects), list(config.motions)
    texts = [world.motion_object_caption(o, m) for o in objects for m in motions]
    scores = (predicted @ embedder.embed_text(texts).T).reshape(clips, len(objects), len(motions))
    right_object = np.array([objects.index(s.scene.object) for s in samples])
    right_motion = np.array([motions.index(s.scene.motion) for s in samples])
    flat = scores.reshape(clips, -1)
    truth = right_object * len(motions) + right_motion

    rng = np.random.default_rng(seed)
    of_100 = []
    for row, right in zip(flat, truth, strict=True):
        others = rng.permutation(flat.shape[1])[:100]
        others = others[others != right][:99]
        of_100.append(bool(row[right] > row[others].max()))

    best = flat.argmax(1)
    named_object = named_motion = np.zeros(clips, dtype=bool)
    if decode:
        captions = embedder.decode(predicted)
        named = [parse_caption(c, objects, motions) for c in captions]
        if config.version == 2:
            told = [world.read_caption(c, objects, motions) for c in captions]
            named = [(one.object, one.motion) for one in told]
        named_object = np.array(
            [n[0] == s.scene.object for n, s in zip(named, samples, strict=True)]
        )
        named_motion = np.array(
            [n[1] == s.scene.motion for n, s in zip(named, samples, strict=True)]
        )
    return Quality(
        split=split,
        clips=clips,
        caption_of_100=float(np.mean(of_100)),
        caption_of_all=float(np.mean(best == truth)),
        object_top1=float(np.mean(best // len(motions) == right_object)),
        motion_top1=float(np.mean(best % len(motions) == right_motion)),
        decoded_object_and_motion=float(np.mean(named_object & named_motion)),
        decoded_object=float(np.mean(named_object)),
        decoded_motion=float(np.mean(named_motion)),
    )


def parse_caption(
    text: str, objects: Sequence[str], motions: Sequence[str]
) -> tuple[str | None, str | None]:
    """The first object that a caption names as its subject and the motion that it tells."""
    words = text.split()
    singular = {o: o for o in objects} | {world.plural(o): o for o in objects}
    subject = next((singular[w] for w in words if w in singular), None)
    for motion in motions:
        for forms in world.verb_phrases(motion):
            if any(text.endswith(form) for form in forms):
                return subject, motion
    return subject, None
