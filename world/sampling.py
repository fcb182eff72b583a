"""Draws scenes: which object does what, where, how many, beside what, seen by which camera."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from .background import KINDS
from .motions import sample_drive
from .placing import (
    COUNT_DIAMETERS,
    DIAMETERS,
    RELATION_DIAMETERS,
    RELATION_MOTIONS,
    RESIZING_MOTIONS,
    between,
    corner_distractors,
    pick,
    place_copies,
    place_related,
)
from .sampling_v2 import pick_object, scene_of_v2
from .scene import Background, Placed, Point, Scene, Sensor, WorldConfig
from .vocabulary import COLOURS, RELATIONS, SIZES

# "pairs": the held-out object-motion pairs alone. "style": the held-out drawing style alone.
SPLITS: tuple[str, ...] = ("train", "val", "test", "pairs", "style")


@lru_cache(maxsize=65536)
def is_held_out_pair(name: str, motion: str, share: float = 0.1) -> bool:
    """Tell whether an object-motion pair is kept out of training; fixed by a hash of the words."""
    digest = hashlib.blake2b(f"{name}|{motion}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") < share * 2**32


def _sensor(rng: np.random.Generator, config: WorldConfig) -> Sensor:
    seed = int(rng.integers(2**31))
    noise = 2 + int(rng.random() * 6) if rng.random() < config.p_noise else 0
    gain = between(rng, 0.06, 0.2) if rng.random() < config.p_gain else 0.0
    shake = between(rng, 0.004, 0.01) if rng.random() < config.p_camera_shake else 0.0
    return Sensor(seed, noise, gain, shake)


def sample_scene(rng: np.random.Generator, config: WorldConfig, *, split: str) -> Scene:
    """Draw one scene of a split.

    "train", "val", "test" and "style" never show a held-out object-motion pair and "pairs" shows
    nothing else; "style" alone uses the held-out drawing style. Raises `ValueError` for any other
    split. Seeds are the caller's business: `clips.sample_clip` gives each split its own.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    while True:
        if config.version == 2:
            name = pick_object(rng, config.objects)
        else:
            name = pick(rng, config.objects)
        motion = pick(rng, config.motions)
        held_out = is_held_out_pair(name, motion, config.held_out_pair_share)
        if held_out == (split == "pairs"):
            break
    return scene_of(rng, config, name, motion, split=split)


def scene_of(
    rng: np.random.Generator, config: WorldConfig, name: str, motion: str, *, split: str = "train"
) -> Scene:
    """Draw a scene in which the given object makes the given motion; all the rest is random."""
    if config.version == 2:
        return scene_of_v2(rng, config, name, motion, split=split)
    style = config.held_out_style if split == "style" else pick(rng, config.styles)
    drive = sample_drive(rng, motion)
    colour = pick(rng, tuple(COLOURS)) if rng.random() < config.p_colour else None
    background = Background(pick(rng, KINDS), int(rng.integers(2**31)))

    size = relation = None
    other: Placed | None = None
    count = 1
    kind = float(rng.random())
    if kind < config.p_count:
        count = 2 + int(rng.random() * (config.max_count - 1))
    elif kind < config.p_count + config.p_relation:
        relation = pick(rng, RELATIONS)
        if motion not in RELATION_MOTIONS[relation]:
            relation = None
    elif rng.random() < config.p_size and motion not in RESIZING_MOTIONS:
        size = pick(rng, SIZES)

    if relation is not None:
        diameter = between(rng, *RELATION_DIAMETERS)
        companion = pick(rng, [item for item in config.objects if item != name])
        main, beside, other_diameter = place_related(rng, relation, motion, drive, diameter)
        centres: tuple[Point, ...] = (main,)
        other = Placed(companion, beside, other_diameter)
    else:
        span = DIAMETERS[size] if count == 1 else COUNT_DIAMETERS[min(count, 5)]
        diameter = between(rng, *span)
        centres = place_copies(rng, motion, drive, diameter, count)
    distractors: tuple[Placed, ...] = ()
    if count == 1 and other is None and size != "big" and rng.random() < config.p_distractor:
        distractors = corner_distractors(rng, config, name, centres)
    late = rng.random() < config.p_late_start
    return Scene(
        object=name,
        motion=motion,
        style=style,
        centres=centres,
        diameter=diameter,
        drive=drive,
        background=background,
        sensor=_sensor(rng, config),
        colour=colour,
        size=size,
        relation=relation,
        other=other,
        distractors=distractors,
        start_s=between(rng, 0.0, config.max_start_s) if late else 0.0,
    )
