"""Text triplets: two ways to say one thing, and a text that says another in nearly the same words.

As in SugarCrepe++: an object, an attribute or a relation is replaced, or two are swapped.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .captions import caption
from .clips import clip_rng
from .motions import MOTIONS
from .placing import pick
from .questions_v2 import same_arity
from .sampling import sample_scene
from .scene import Scene, WorldConfig
from .vocabulary import COLOURS, RELATIONS, SIZES, kin

TRIPLET_KINDS: tuple[str, ...] = (
    "replace object",
    "replace attribute",
    "replace motion",
    "replace relation",
    "swap object",
    "swap attribute",
)
_TRIES = 400


@dataclass(frozen=True)
class Triplet:
    """`first` and `second` mean the same, `other` does not."""

    first: str
    second: str
    other: str


def change_one(
    rng: np.random.Generator, scene: Scene, kind: str, config: WorldConfig
) -> Scene | None:
    """The scene with one thing replaced or two swapped; None where it has no such thing."""
    other = scene.other
    if kind == "replace object":
        akin = kin(scene.object, config.objects) if rng.random() < 0.5 else []
        free = [name for name in akin or config.objects if name not in scene.names()]
        return dataclasses.replace(scene, object=pick(rng, free)) if free else None
    if kind == "replace motion":
        motions = [m for m in same_arity(scene, config.motions) if m != scene.motion]
        return dataclasses.replace(scene, motion=pick(rng, motions))
    if kind == "replace attribute":
        if scene.colour is not None:
            colours = [colour for colour in COLOURS if colour != scene.colour]
            return dataclasses.replace(scene, colour=pick(rng, colours))
        if scene.size is not None:
            return dataclasses.replace(scene, size=SIZES[1 - SIZES.index(scene.size)])
        if scene.count > 1:
            counts = [n for n in range(2, config.max_count + 1) if n != scene.count]
            return dataclasses.replace(scene, centres=scene.centres[:1] * pick(rng, counts))
        return None
    if other is None:
        return None
    if kind == "replace relation":
        if scene.relation is not None:
            relations = [relation for relation in RELATIONS if relation != scene.relation]
            return dataclasses.replace(scene, relation=pick(rng, relations))
        motions = [m for m in same_arity(scene, config.motions) if m != scene.motion]
        return dataclasses.replace(scene, motion=pick(rng, motions))
    if kind == "swap object":
        if MOTIONS[scene.motion].symmetric and scene.relation is None:
            return None
        turned = dataclasses.replace(other, object=scene.object, colour=scene.colour)
        return dataclasses.replace(scene, object=other.object, colour=other.colour, other=turned)
    if kind == "swap attribute":
        if scene.colour == other.colour:
            return None
        painted = dataclasses.replace(other, colour=scene.colour)
        return dataclasses.replace(scene, colour=other.colour, other=painted)
    raise ValueError(f"unknown kind {kind!r}; one of {', '.join(TRIPLET_KINDS)}")


def sample_triplet(
    seed: int, index: int, kind: str, config: WorldConfig | None = None, split: str = "test"
) -> Triplet | None:
    """Return triplet `index` of a kind, pure in its arguments; None where a world has no such
    thing to replace or swap."""
    config = config or WorldConfig()
    if kind.startswith("swap") or kind == "replace relation":
        partners = tuple(m for m in config.motions if MOTIONS[m].partner)
        # Half of them relations, half events of two objects.
        events = bool(partners) and index % 2 == 0
        motions = partners if events else tuple(m for m in config.motions if m not in partners)
        config = dataclasses.replace(
            config, motions=motions, p_relation=1.0, p_count=0.0,
            p_colour=max(config.p_colour, 0.6), p_other_colour=2 * config.p_other_colour,
        )  # fmt: skip
    elif kind == "replace attribute":
        config = dataclasses.replace(config, p_colour=0.4, p_count=0.4, p_size=0.5)
    rng = clip_rng(seed, index, split, 5)
    for _ in range(_TRIES):
        scene = sample_scene(rng, config, split=split)
        wrong = change_one(rng, scene, kind, config)
        if wrong is not None:
            first, second = caption(scene, rng), caption(scene, rng)
            while second == first:
                second = caption(scene, rng)
            return Triplet(first, second, caption(wrong, rng))
    return None
