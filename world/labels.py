"""Label texts: short texts that each tell one thing of a scene, and which of them are true.

"an apple", "it moves left", "red", "three", "small": the whole vocabulary of a kind, as
classification offers it.
"""

from __future__ import annotations

from functools import lru_cache

from .scene import Scene, WorldConfig
from .verbs import verb_phrases
from .vocabulary import COLOURS, COUNT_WORDS, SIZES, with_article

LABEL_KINDS: tuple[str, ...] = ("object", "motion", "colour", "count", "size")


@lru_cache(maxsize=16)
def label_texts(config: WorldConfig) -> dict[str, tuple[str, ...]]:
    """All label texts by kind, in the order of `LABEL_KINDS`."""
    return {
        "object": tuple(with_article(name) for name in config.objects),
        "motion": tuple(f"it {verb_phrases(motion)[0][1]}" for motion in config.motions),
        "colour": tuple(COLOURS),
        "count": COUNT_WORDS[1 : config.max_count + 1],
        "size": SIZES,
    }


def labels_of(scene: Scene, config: WorldConfig) -> dict[str, int | None]:
    """Which label text of each kind is true of the main object; None where captions tell none."""
    return {
        "object": config.objects.index(scene.object),
        "motion": config.motions.index(scene.motion),
        "colour": None if scene.colour is None else list(COLOURS).index(scene.colour),
        "count": scene.count - 1,
        "size": None if scene.size is None else SIZES.index(scene.size),
    }
