"""Backgrounds: plain, gradient, smooth noise, stripes, checks and simple landscapes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .scene import Background

Image = npt.NDArray[np.uint8]

KINDS: tuple[str, ...] = ("plain", "gradient", "noise", "stripes", "checks", "horizon")


def _colour(rng: np.random.Generator, saturation: float = 0.55) -> npt.NDArray[np.float32]:
    """Draw an RGB colour 0..255, float32 [3], muted so that sprites stand out of it."""
    grey = rng.uniform(50, 235)
    hue = rng.uniform(-1, 1, 3)
    shift = (hue - hue.mean()) * 110.0 * saturation
    return np.asarray(np.clip(grey + shift, 20, 250), dtype=np.float32)


def _mix(weight: npt.NDArray[np.float32], a: npt.ArrayLike, b: npt.ArrayLike) -> Image:
    """Blend two colours by a weight picture, float32 [H, W] in 0..1, into uint8 [H, W, 3]."""
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    levels = first + (second - first) * np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    table = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    index = np.rint(np.clip(weight, 0, 1) * 255).astype(np.uint8)
    return np.asarray(table[index], dtype=np.uint8)


def _ramp(height: int, width: int, angle: float) -> npt.NDArray[np.float32]:
    """Return a linear ramp over the frame, float32 [H, W], about -0.5..0.5 across its side."""
    x = (np.arange(width, dtype=np.float32) / width - 0.5) * np.float32(np.cos(angle))
    y = (np.arange(height, dtype=np.float32) / height - 0.5) * np.float32(np.sin(angle))
    return np.asarray(x[None, :] + y[:, None], dtype=np.float32)


def draw_background(background: Background, height: int, width: int) -> Image:
    """Draw a background, RGB uint8 [height, width, 3]; the same seed gives the same picture."""
    rng = np.random.default_rng(background.seed)
    first, second = _colour(rng), _colour(rng)
    if background.kind == "plain":
        return np.full((height, width, 3), np.rint(first), np.uint8)
    if background.kind == "gradient":
        ramp = _ramp(height, width, rng.uniform(0, 2 * np.pi))
        return _mix(ramp * np.float32(0.9) + np.float32(0.5), first, second)
    if background.kind == "noise":
        cells = int(rng.integers(3, 8))
        light = rng.normal(0, rng.uniform(12, 32), (cells, cells, 1))
        hue = rng.normal(0, rng.uniform(4, 16), (cells, cells, 3))
        coarse = first + (light + hue).astype(np.float32)
        smooth = cv2.resize(
            np.rint(np.clip(coarse, 0, 255)).astype(np.uint8),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        return np.asarray(smooth, dtype=np.uint8)
    # Patterns repeat, so keep their contrast low: the sprites must stay the loudest thing.
    near = first + (second - first) * np.float32(0.3)
    if background.kind == "stripes":
        waves = rng.uniform(3, 9)
        ramp = _ramp(height, width, rng.uniform(0, np.pi))
        return _mix(np.sin(ramp * np.float32(2 * np.pi * waves)) * np.float32(2) + 0.5, first, near)
    if background.kind == "checks":
        cells = int(rng.integers(3, 9))
        x = np.arange(width) * cells // width
        y = np.arange(height) * cells // height
        return _mix(((x[None, :] + y[:, None]) % 2).astype(np.float32), first, near)
    if background.kind == "horizon":
        sky = np.array([rng.uniform(120, 200), rng.uniform(170, 225), 245], np.float32)
        haze = np.clip(sky + rng.uniform(-10, 50), 0, 255)
        ground = np.array(
            [rng.uniform(60, 190), rng.uniform(110, 180), rng.uniform(50, 120)], np.float32
        )
        line = int(rng.uniform(0.45, 0.8) * height)
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:line] = _mix(np.linspace(0, 1, line, dtype=np.float32), sky, haze)[:, None]
        canvas[line:] = _mix(
            np.linspace(0, 1, height - line, dtype=np.float32), ground, ground * np.float32(0.75)
        )[:, None]
        if rng.random() < 0.5:
            hill = np.rint(ground * 0.85 + 20).astype(int).tolist()
            centre = (int(rng.uniform(0.1, 0.9) * width), line)
            axes = (int(rng.uniform(0.2, 0.5) * width), int(rng.uniform(0.08, 0.25) * height))
            cv2.ellipse(canvas, centre, axes, 0.0, 180.0, 360.0, hill, -1)
        return canvas
    raise ValueError(f"unknown background {background.kind!r}; expected one of {', '.join(KINDS)}")
