"""What is true of every patch of a clip: which sprite covers it, and how that sprite moves there.

The ground truth behind a dense training signal: a ViT's token is one patch of a pair of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .motions import MOTIONS
from .render import wrap
from .scene import Scene

# A sprite fainter than this is not there.
_VISIBLE = 0.25
# Sprites are drawn in a square; most leave its corners empty.
_FILL = 0.46


@dataclass(frozen=True)
class PatchTruth:
    """Of T' pairs of frames and h x w patches, rows first.

    `owner` int8 [T',h,w]: 0 background, 1 the main object, 2 the object beside it, 3 and more the
    distractors. `rates` float32 [T',5]: what the main object does between the two frames of a
    pair: travel x and y (frame fractions), log scale, angle (radians, clockwise), opacity.
    """

    owner: npt.NDArray[np.int8]
    rates: npt.NDArray[np.float32]


def _inside(
    centre: tuple[float, float], half: tuple[float, float], angle_deg: float, grid: int
) -> npt.NDArray[np.bool_]:
    """Whether the middle of each patch lies in an ellipse, bool [h,w]; lengths in frames."""
    middles = (np.arange(grid) + 0.5) / grid
    x, y = middles[None, :] - centre[0], middles[:, None] - centre[1]
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    u, v = (cosine * x + sine * y) / half[0], (cosine * y - sine * x) / half[1]
    return np.asarray(u * u + v * v <= 1.0)


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
    edges = np.concatenate((times_s[0::tubelet], times_s[tubelet - 1 :: tubelet]))
    pairs = steps // tubelet
    pose = motion.pose(edges + scene.start_s, scene.drive)
    middle = motion.pose((edges[:pairs] + edges[pairs:]) / 2 + scene.start_s, scene.drive)
    still = np.zeros((grid, grid), np.int8)
    for number, placed in enumerate((scene.other, *scene.distractors)):
        if placed is not None:
            half = placed.diameter * _FILL
            still[_inside(placed.centre, (half, half), 0.0, grid)] = 2 + number
    owner = np.repeat(still[None], pairs, 0)
    radius = scene.diameter / 2
    for i in range(pairs):
        if float(middle.opacity[i]) < _VISIBLE:
            continue
        half_x = scene.diameter * _FILL * max(abs(float(middle.scale_x[i])), 0.1)
        half_y = scene.diameter * _FILL * abs(float(middle.scale_y[i]))
        for x, y in scene.centres:
            x, y = x + float(middle.dx[i]), y + float(middle.dy[i])
            if "x" in motion.wraps:
                x = wrap(x, radius)
            if "y" in motion.wraps:
                y = wrap(y, radius)
            owner[i][_inside((x, y), (half_x, half_y), float(middle.angle_deg[i]), grid)] = 1
    scale = np.log(np.maximum(np.abs(pose.scale_y), 0.05))
    tracks = np.stack(
        (pose.dx, pose.dy, scale, np.radians(pose.angle_deg), pose.opacity), 1
    ).astype(np.float32)
    return PatchTruth(owner, tracks[pairs:] - tracks[:pairs])
