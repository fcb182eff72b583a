"""Where things go in a scene, how big they are, and which motions a relation bears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .motions import MOTIONS
from .scene import Drive, Placed, Point, WorldConfig

T = TypeVar("T")

DIAMETERS = {None: (0.32, 0.42), "small": (0.2, 0.24), "big": (0.56, 0.66)}
COUNT_DIAMETERS = {2: (0.27, 0.34), 3: (0.24, 0.3), 4: (0.22, 0.27), 5: (0.2, 0.24)}
RELATION_DIAMETERS = (0.27, 0.34)

RESIZING_MOTIONS = frozenset({"grow", "shrink", "pulse"})
IN_PLACE = frozenset(
    {"clockwise", "counterclockwise", "rock", "shake", "blink", "flip", "still"}
    | {"fade in", "fade out", "appear", "vanish"}
    | RESIZING_MOTIONS
)
# A relation has to hold at every instant, so each axis goes with motions that cannot break it.
RELATION_MOTIONS = {
    "left of": IN_PLACE | {"up", "down", "bounce", "fall", "launch"},
    "right of": IN_PLACE | {"up", "down", "bounce", "fall", "launch"},
    "above": IN_PLACE | {"left", "right", "sway", "stop", "start"},
    "below": IN_PLACE | {"left", "right", "sway", "stop", "start"},
}


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Draw one item uniformly (much faster than `Generator.choice`)."""
    return items[int(rng.random() * len(items))]


def between(rng: np.random.Generator, low: float, high: float) -> float:
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


def place_copies(
    rng: np.random.Generator, motion: str, drive: Drive, diameter: float, count: int
) -> tuple[Point, ...]:
    """Place `count` copies of the main object apart from each other."""
    x0, x1, y0, y1 = room(motion, drive, diameter)
    if count == 1:
        return ((between(rng, x0, x1), between(rng, y0, y1)),)
    wraps = MOTIONS[motion].wraps
    if "x" in wraps:
        x0, x1 = 0.05, 0.95
    if "y" in wraps:
        y0, y1 = 0.05, 0.95
    apart = diameter * min(MOTIONS[motion].scale, 1.3) * 1.02
    for _ in range(40):
        chosen: list[Point] = []
        for _ in range(count):
            x, y = between(rng, x0, x1), between(rng, y0, y1)
            if all((x - a) ** 2 + (y - b) ** 2 >= apart**2 for a, b in chosen):
                chosen.append((x, y))
        if len(chosen) == count:
            return tuple(chosen)
    columns = 2 if count <= 4 else 3
    rows = -(-count // columns)
    return tuple(((i % columns + 0.5) / columns, (i // columns + 0.5) / rows) for i in range(count))


def place_related(
    rng: np.random.Generator, relation: str, motion: str, drive: Drive, diameter: float
) -> tuple[Point, Point, float]:
    """Place the main object and another one: (main centre, other centre, other diameter)."""
    x0, x1, y0, y1 = room(motion, drive, diameter)
    near, far = between(rng, 0.2, 0.27), between(rng, 0.73, 0.8)
    if relation in ("right of", "below"):
        near, far = far, near
    other = between(rng, *RELATION_DIAMETERS)
    level = between(rng, 0.35, 0.65)
    if relation in ("left of", "right of"):
        own = between(rng, max(y0, level - 0.12), min(y1, level + 0.12))
        if "y" in MOTIONS[motion].wraps:
            own = between(rng, y0, y1)
        return (near, own), (far, level), other
    own = between(rng, max(x0, level - 0.12), min(x1, level + 0.12))
    if "x" in MOTIONS[motion].wraps:
        own = between(rng, x0, x1)
    return (own, near), (level, far), other


def corner_distractors(
    rng: np.random.Generator, config: WorldConfig, main: str, centres: tuple[Point, ...]
) -> tuple[Placed, ...]:
    """Put one or two small unmentioned objects into corners, away from the main object."""
    corners = [(x, y) for x in (0.11, 0.89) for y in (0.11, 0.89)]
    corners.sort(key=lambda c: -min((c[0] - x) ** 2 + (c[1] - y) ** 2 for x, y in centres))
    placed: list[Placed] = []
    for corner in corners[: 1 if rng.random() < 0.7 else 2]:
        name = pick(rng, config.objects)
        if name != main and all(name != item.object for item in placed):
            placed.append(Placed(name, corner, between(rng, 0.14, 0.18)))
    return tuple(placed)
