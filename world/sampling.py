"""Draws scenes: which object does what, where, how many, beside what, seen by which camera."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from .background import KINDS
from .motions import MOTIONS, sample_drive
from .scene import Background, Drive, Placed, Point, Scene, Sensor, WorldConfig
from .vocabulary import COLOURS, RELATIONS, SIZES

T = TypeVar("T")

# "pairs": the held-out object-motion pairs alone. "style": the held-out drawing style alone.
SPLITS: tuple[str, ...] = ("train", "val", "test", "pairs", "style")

_DIAMETERS = {None: (0.32, 0.42), "small": (0.2, 0.24), "big": (0.56, 0.66)}
_COUNT_DIAMETERS = {2: (0.27, 0.34), 3: (0.24, 0.3), 4: (0.22, 0.27), 5: (0.2, 0.24)}
_RELATION_DIAMETERS = (0.27, 0.34)

RESIZING_MOTIONS = frozenset({"grow", "shrink", "pulse"})
_IN_PLACE = frozenset(
    {"clockwise", "counterclockwise", "rock", "shake", "blink", "flip", "still"}
    | {"fade in", "fade out"}
    | RESIZING_MOTIONS
)
# A relation has to hold at every instant, so each axis goes with motions that cannot break it.
RELATION_MOTIONS = {
    "left of": _IN_PLACE | {"up", "down", "bounce"},
    "right of": _IN_PLACE | {"up", "down", "bounce"},
    "above": _IN_PLACE | {"left", "right", "sway"},
    "below": _IN_PLACE | {"left", "right", "sway"},
}


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Draw one item uniformly (much faster than `Generator.choice`)."""
    return items[int(rng.random() * len(items))]


@lru_cache(maxsize=65536)
def is_held_out_pair(name: str, motion: str, share: float = 0.1) -> bool:
    """Tell whether an object-motion pair is kept out of training; fixed by a hash of the words."""
    digest = hashlib.blake2b(f"{name}|{motion}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") < share * 2**32


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw uniformly; an empty range gives its middle."""
    return low + (high - low) * float(rng.random()) if low < high else (low + high) / 2


def room(motion: str, drive: Drive, diameter: float) -> tuple[float, float, float, float]:
    """Return (x low, x high, y low, y high): where a centre may be so that the motion stays in
    view. Along a wrapped axis an episode starts on the side that it leaves."""
    spec = MOTIONS[motion]
    radius = diameter * spec.scale / 2
    left, right, up, down = (drive.amplitude * reach for reach in spec.reach)
    x0, x1, y0, y1 = radius + left, 1 - radius - right, radius + up, 1 - radius - down
    if motion in ("left", "up") or (motion == "zigzag" and drive.direction < 0):
        start = (0.55, 1.0)
    else:
        start = (0.0, 0.45)
    if "x" in spec.wraps:
        x0, x1 = start
    if "y" in spec.wraps:
        y0, y1 = start
    return x0, x1, y0, y1


def _centres(
    rng: np.random.Generator, motion: str, drive: Drive, diameter: float, count: int
) -> tuple[Point, ...]:
    """Place `count` copies of the main object apart from each other."""
    x0, x1, y0, y1 = room(motion, drive, diameter)
    if count == 1:
        return ((_between(rng, x0, x1), _between(rng, y0, y1)),)
    wraps = MOTIONS[motion].wraps
    if "x" in wraps:
        x0, x1 = 0.05, 0.95
    if "y" in wraps:
        y0, y1 = 0.05, 0.95
    apart = diameter * min(MOTIONS[motion].scale, 1.3) * 1.02
    for _ in range(40):
        chosen: list[Point] = []
        for _ in range(count):
            x, y = _between(rng, x0, x1), _between(rng, y0, y1)
            if all((x - a) ** 2 + (y - b) ** 2 >= apart**2 for a, b in chosen):
                chosen.append((x, y))
        if len(chosen) == count:
            return tuple(chosen)
    columns = 2 if count <= 4 else 3
    rows = -(-count // columns)
    return tuple(((i % columns + 0.5) / columns, (i // columns + 0.5) / rows) for i in range(count))


def _related(
    rng: np.random.Generator, relation: str, motion: str, drive: Drive, diameter: float
) -> tuple[Point, Point, float]:
    """Place the main object and another one: (main centre, other centre, other diameter)."""
    x0, x1, y0, y1 = room(motion, drive, diameter)
    near, far = _between(rng, 0.2, 0.27), _between(rng, 0.73, 0.8)
    if relation in ("right of", "below"):
        near, far = far, near
    other = _between(rng, *_RELATION_DIAMETERS)
    level = _between(rng, 0.35, 0.65)
    if relation in ("left of", "right of"):
        own = _between(rng, max(y0, level - 0.12), min(y1, level + 0.12))
        if "y" in MOTIONS[motion].wraps:
            own = _between(rng, y0, y1)
        return (near, own), (far, level), other
    own = _between(rng, max(x0, level - 0.12), min(x1, level + 0.12))
    if "x" in MOTIONS[motion].wraps:
        own = _between(rng, x0, x1)
    return (own, near), (level, far), other


def _distractors(
    rng: np.random.Generator, config: WorldConfig, main: str, centres: tuple[Point, ...]
) -> tuple[Placed, ...]:
    """Put one or two small unmentioned objects into corners, away from the main object."""
    corners = [(x, y) for x in (0.11, 0.89) for y in (0.11, 0.89)]
    corners.sort(key=lambda c: -min((c[0] - x) ** 2 + (c[1] - y) ** 2 for x, y in centres))
    placed: list[Placed] = []
    for corner in corners[: 1 if rng.random() < 0.7 else 2]:
        name = pick(rng, config.objects)
        if name != main and all(name != item.object for item in placed):
            placed.append(Placed(name, corner, _between(rng, 0.14, 0.18)))
    return tuple(placed)


def _sensor(rng: np.random.Generator, config: WorldConfig) -> Sensor:
    seed = int(rng.integers(2**31))
    noise = 2 + int(rng.random() * 6) if rng.random() < config.p_noise else 0
    gain = _between(rng, 0.06, 0.2) if rng.random() < config.p_gain else 0.0
    shake = _between(rng, 0.004, 0.01) if rng.random() < config.p_camera_shake else 0.0
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
        name, motion = pick(rng, config.objects), pick(rng, config.motions)
        held_out = is_held_out_pair(name, motion, config.held_out_pair_share)
        if held_out == (split == "pairs"):
            break
    return scene_of(rng, config, name, motion, split=split)


def scene_of(
    rng: np.random.Generator, config: WorldConfig, name: str, motion: str, *, split: str = "train"
) -> Scene:
    """Draw a scene in which the given object makes the given motion; all the rest is random."""
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
        diameter = _between(rng, *_RELATION_DIAMETERS)
        companion = pick(rng, [item for item in config.objects if item != name])
        main, beside, other_diameter = _related(rng, relation, motion, drive, diameter)
        centres: tuple[Point, ...] = (main,)
        other = Placed(companion, beside, other_diameter)
    else:
        span = _DIAMETERS[size] if count == 1 else _COUNT_DIAMETERS[min(count, 5)]
        diameter = _between(rng, *span)
        centres = _centres(rng, motion, drive, diameter, count)
    distractors: tuple[Placed, ...] = ()
    if count == 1 and other is None and size != "big" and rng.random() < config.p_distractor:
        distractors = _distractors(rng, config, name, centres)
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
        start_s=_between(rng, 0.0, config.max_start_s) if late else 0.0,
    )
