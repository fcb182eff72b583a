"""What is true of every patch of a clip: which sprite covers it, and how that sprite moves there.

The ground truth behind a dense training signal: a ViT's token is one patch of a pair of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .motions import MOTIONS
from .poses import Pose
from .render import camera_offset, wrap
from .scene import Scene

# A sprite fainter than this is not there.
_VISIBLE = 0.25
# Nor is one that is smaller than this share of itself.
_SEEN_FROM = 0.15
# Sprites are drawn in a square; most leave its corners empty.
_FILL = 0.46


@dataclass(frozen=True)
class PatchTruth:
    """Of T' pairs of frames and h x w patches, rows first.

    `owner` int8 [T',h,w]: 0 background, 1 the main object, 2 the object beside it, 3 and more the
    distractors. `rates` float32 [T',5]: what the main object does between the two frames of a
    pair: travel x and y (frame fractions), log scale, angle (radians, clockwise), opacity.
    `other_rates` the same of the object beside it, which moves in some events.
    """

    owner: npt.NDArray[np.int8]
    rates: npt.NDArray[np.float32]
    other_rates: npt.NDArray[np.float32]


class _Shape(NamedTuple):
    """One sprite as an ellipse: whose it is, centre and half axes in frames, angle."""

    owner: int
    centre: tuple[float, float]
    half: tuple[float, float]
    angle_deg: float


def _inside(
    centre: tuple[float, float], half: tuple[float, float], angle_deg: float, grid: int
) -> npt.NDArray[np.bool_]:
    """Whether the middle of each patch lies in an ellipse, bool [h,w]; lengths in frames."""
    middles = (np.arange(grid) + 0.5) / grid
    x, y = middles[None, :] - centre[0], middles[:, None] - centre[1]
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    u, v = (cosine * x + sine * y) / half[0], (cosine * y - sine * x) / half[1]
    return np.asarray(u * u + v * v <= 1.0)


def _rates(pose: Pose, pairs: int) -> npt.NDArray[np.float32]:
    """What a pose changes from the first `pairs` of its times to the others, float32 [pairs,5]."""
    scale = np.log(np.maximum(np.abs(pose.scale_y), 0.05))
    tracks = np.stack((pose.dx, pose.dy, scale, np.radians(pose.angle_deg), pose.opacity), 1)
    single = tracks.astype(np.float32)
    return single[pairs:] - single[:pairs]


def _shapes(scene: Scene, middle: Pose, beside: Pose, i: int) -> list[_Shape]:
    """What can be seen at time `i` of the poses, from the back to the front."""
    motion = MOTIONS[scene.motion]
    behind: list[_Shape] = []
    front: list[_Shape] = []
    for number, placed in enumerate((scene.other, *scene.distractors)):
        if placed is not None:
            x, y = placed.centre
            if number == 0:
                x, y = x + float(beside.dx[i]), y + float(beside.dy[i])
            half = placed.diameter * _FILL
            over = motion.in_front if number == 0 else placed.front
            (front if over else behind).append(_Shape(2 + number, (x, y), (half, half), 0.0))
    scale_x, scale_y = abs(float(middle.scale_x[i])), abs(float(middle.scale_y[i]))
    if float(middle.opacity[i]) < _VISIBLE or scale_y < _SEEN_FROM:
        return behind + front
    half, radius = scene.diameter * _FILL, scene.diameter / 2
    copies = []
    for x, y in scene.centres:
        x, y = x + float(middle.dx[i]), y + float(middle.dy[i])
        if "x" in motion.wraps:
            x = wrap(x, radius)
        if "y" in motion.wraps:
            y = wrap(y, radius)
        halves = (half * max(scale_x, 0.1), half * scale_y)
        copies.append(_Shape(1, (x, y), halves, float(middle.angle_deg[i])))
    return behind + copies + front


def patch_truth(
    scene: Scene, times_s: npt.NDArray[np.float64], grid: int, tubelet: int = 2
) -> PatchTruth:
    """Truth of a square clip at `times_s` float64 [T], cut in grid x grid patches.

    T is a multiple of `tubelet`; a pair is judged at its middle. Raises ValueError otherwise.
    """
    steps = len(times_s)
    if steps % tubelet:
        raise ValueError(f"{steps} frames are no multiple of the tubelet {tubelet}")
    motion = MOTIONS[scene.motion]
    pairs = steps // tubelet
    edges = np.concatenate((times_s[0::tubelet], times_s[tubelet - 1 :: tubelet]))
    middles = (edges[:pairs] + edges[pairs:]) / 2 + scene.start_s
    edges = edges + scene.start_s
    pose, middle = motion.pose(edges, scene.drive), motion.pose(middles, scene.drive)
    beside, beside_middle = Pose.rest(2 * pairs), Pose.rest(pairs)
    if motion.companion is not None:
        beside = motion.companion(edges, scene.drive)
        beside_middle = motion.companion(middles, scene.drive)
    owner = np.zeros((pairs, grid, grid), np.int8)
    for i in range(pairs):
        at_x, at_y = camera_offset(scene.sensor, float(middles[i]) + scene.camera_s)
        for shape in _shapes(scene, middle, beside_middle, i):
            centre = (shape.centre[0] + at_x, shape.centre[1] + at_y)
            owner[i][_inside(centre, shape.half, shape.angle_deg, grid)] = shape.owner
    return PatchTruth(owner, _rates(pose, pairs), _rates(beside, pairs))
