"""What a motion is made of: poses over time, and the entry that describes a motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scene import Drive, Point

Floats = npt.NDArray[np.float64]


@dataclass
class Pose:
    """A sprite's pose over T times, float64 [T] each: offset from its centre (frame fractions),
    scale along its own axes, angle (degrees, clockwise), opacity 0..1."""

    dx: Floats
    dy: Floats
    scale_x: Floats
    scale_y: Floats
    angle_deg: Floats
    opacity: Floats

    @classmethod
    def rest(cls, steps: int) -> Pose:
        """Return the pose of a sprite at rest."""
        zero, one = np.zeros(steps), np.ones(steps)
        return cls(zero, zero.copy(), one, one.copy(), zero.copy(), one.copy())


@dataclass(frozen=True)
class Motion:
    """One motion: its episode function, the ranges its `Drive` is drawn from, the room it needs.

    `reach` = (left, right, up, down) in multiples of the amplitude; `scale` the largest scale;
    `wraps` the axes along which the sprite leaves the frame and re-enters at the other edge.

    An *event* with `partner` has a second object in it: `companion` moves that one too (None: it
    rests), `other_at` gives its centre from the main one's (frame fractions), `in_front` draws it
    over the main object, `symmetric` tells that either may be called the first. `diameters` are
    the ranges of both, `tilt_deg` how far the event's axis leans from the horizontal at most.
    """

    pose: Callable[[Floats, Drive], Pose]
    rate: tuple[float, float] = (0.0, 0.0)
    amplitude: tuple[float, float] = (0.0, 0.0)
    reach: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    scale: float = 1.0
    wraps: str = ""
    directed: bool = False
    partner: bool = False
    companion: Callable[[Floats, Drive], Pose] | None = None
    other_at: Callable[[Drive], Point] = lambda drive: (0.0, 0.0)
    in_front: bool = False
    symmetric: bool = False
    diameters: tuple[tuple[float, float], tuple[float, float]] = ((0.2, 0.25), (0.2, 0.25))
    tilt_deg: float = 0.0
