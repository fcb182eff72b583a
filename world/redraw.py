"""Other drawings of a sprite: the same thing as another hand would draw it.

Two drawing styles teach an encoder two pictures of each thing. Redrawn ones are bent and stretched
a little, shaded from some side, cleaner or richer in detail, and of other tones, so that it learns
what a thing looks like in any of them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Rgba = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]

# How far points of a 4 x 4 grid are moved, of the picture's side (standard deviation).
_BEND = 0.025
_STRETCH = 0.12
_TURN_RAD = 0.12


def _bent(rgba: Rgba, rng: np.random.Generator) -> Rgba:
    """Stretched, sheared, turned and bent smoothly; straight alpha."""
    side = rgba.shape[0]
    angle = rng.uniform(-_TURN_RAD, _TURN_RAD)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ (np.eye(2) + rng.normal(0.0, _STRETCH / 2, (2, 2)))
    middle = (side - 1) / 2
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - middle
    grid = rng.normal(0.0, _BEND * side, (4, 4, 2)).astype(np.float32)
    moved = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    map_x = matrix[0, 0] * x + matrix[0, 1] * y + middle + moved[..., 0]
    map_y = matrix[1, 0] * x + matrix[1, 1] * y + middle + moved[..., 1]
    bent = cv2.remap(
        rgba, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderValue=0
    )
    return np.asarray(bent, dtype=np.uint8)


def _detail(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Fine lines weakened (down to half) or strengthened (up to twice)."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(1.0, 4.0)))
    return np.asarray(smooth + (rgb - smooth) * 2.0 ** rng.uniform(-1.0, 1.0), dtype=np.float32)


def _shaded(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Lit from one side, with a soft highlight: what flat drawings lack and round ones have."""
    side = rgb.shape[0]
    y, x = np.mgrid[-1.0 : 1.0 : side * 1j, -1.0 : 1.0 : side * 1j]
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.4)
    light = 1.0 + strength * (x * math.cos(angle) + y * math.sin(angle))
    at_x, at_y, wide = (*rng.uniform(-0.5, 0.5, 2), rng.uniform(0.2, 0.7))
    spot = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * wide * wide))
    glow = rng.uniform(-60.0, 90.0) * spot
    return np.asarray(rgb * light[..., None] + glow[..., None], dtype=np.float32)


def _toned(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Another gamma, saturation, and a little of every channel in every other."""
    level = np.clip(rgb, 0, 255) / 255.0
    level = level ** (2.0 ** rng.uniform(-0.7, 0.7))
    grey = level.mean(2, keepdims=True)
    level = grey + (level - grey) * rng.uniform(0.5, 1.5)
    mixed = level @ (np.eye(3) + rng.normal(0.0, 0.08, (3, 3)))
    return np.asarray(mixed * 255.0, dtype=np.float32)


def redraw(rgba: Rgba, seed: int) -> Rgba:
    """RGBA uint8 [S,S,4] with straight alpha -> the same, drawn otherwise; the same every time for
    one `seed`. Outline, place and colours stay near the given ones."""
    rng = np.random.default_rng((seed, 67))
    bent = _bent(rgba, rng)
    rgb = bent[:, :, :3].astype(np.float32)
    for change in (_detail, _shaded, _toned):
        if rng.random() < 0.7:
            rgb = change(rgb, rng)
    changed = np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)
    return np.dstack([changed, bent[:, :, 3]])
