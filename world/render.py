"""Draws a scene: background, static objects, the moving sprites, then what the camera adds.

Deterministic: a scene, times and a picture size give the same bytes every time. Nothing is kept
between calls but caches of sprites and noise.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from .atlas import MIP_PX, Rgba, mipmaps
from .background import draw_background
from .motions import MOTIONS
from .poses import Pose
from .scene import Placed, Point, Scene, Sensor

Image = npt.NDArray[np.uint8]

_NOISE_SLACK_PX = 64


def _draw_sprite(
    canvas: Image,
    levels: tuple[Rgba, ...],
    centre_px: Point,
    size_px: Point,
    angle_deg: float,
    opacity: float,
) -> None:
    """Blend a sprite into `canvas` in place.

    `levels` are its mipmaps (premultiplied alpha); `size_px` its drawn width and height, a negative
    width mirrors it; `angle_deg` turns it clockwise.
    """
    longest = max(abs(size_px[0]), abs(size_px[1]))
    if opacity <= 0.0 or longest < 1.0:
        return
    level = levels[0]
    for side, candidate in zip(MIP_PX, levels, strict=True):
        if side >= longest:
            level = candidate
    side = level.shape[0]
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    half_w = (abs(cosine * size_px[0]) + abs(sine * size_px[1])) / 2 + 1
    half_h = (abs(sine * size_px[0]) + abs(cosine * size_px[1])) / 2 + 1
    height, width = canvas.shape[:2]
    x0, x1 = max(0, int(centre_px[0] - half_w)), min(width, math.ceil(centre_px[0] + half_w))
    y0, y1 = max(0, int(centre_px[1] - half_h)), min(height, math.ceil(centre_px[1] + half_h))
    if x0 >= x1 or y0 >= y1:
        return
    a, c = cosine * size_px[0] / side, sine * size_px[0] / side
    b, d = -sine * size_px[1] / side, cosine * size_px[1] / side
    middle = (side - 1) / 2
    matrix = np.array(
        [
            [a, b, centre_px[0] - 0.5 - x0 - (a + b) * middle],
            [c, d, centre_px[1] - 0.5 - y0 - (c + d) * middle],
        ]
    )
    patch = cv2.warpAffine(level, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    if opacity < 1.0:
        patch = cv2.convertScaleAbs(patch, alpha=opacity)
    region = canvas[y0:y1, x0:x1]
    through = cv2.cvtColor(cv2.bitwise_not(patch[:, :, 3]), cv2.COLOR_GRAY2RGB)
    behind = cv2.multiply(region, through, scale=1.0 / 255.0)
    region[:] = cv2.add(behind, cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB))


def _draw_placed(canvas: Image, scene: Scene, placed: Placed, pose: Pose, step: int) -> None:
    """Draw another object in the pose that it has at one of the pose's times."""
    height, width = canvas.shape[:2]
    x, y = placed.centre[0] + float(pose.dx[step]), placed.centre[1] + float(pose.dy[step])
    extent = placed.diameter * min(height, width)
    levels = mipmaps(scene.style, placed.object, placed.colour, scene.redrawn)
    angle = float(pose.angle_deg[step])
    _draw_sprite(canvas, levels, (x * width, y * height), (extent, extent), angle, 1.0)


@lru_cache(maxsize=64)
def _noise_tile(sigma: int, height: int, width: int) -> npt.NDArray[np.int16]:
    """Return sensor noise somewhat larger than the frame; frames take random windows of it."""
    rng = np.random.default_rng((sigma, height, width))
    shape = (height + _NOISE_SLACK_PX, width + _NOISE_SLACK_PX, 3)
    return np.rint(rng.normal(0.0, sigma, shape)).astype(np.int16)


@lru_cache(maxsize=64)
def _light(seed: int, strength: float, height: int, width: int) -> Image:
    """Return coloured light that falls off over the frame, uint8 [H, W, 3]; 160 changes nothing."""
    rng = np.random.default_rng((seed, 41))
    angle, warmth = rng.uniform(0, 2 * math.pi), rng.uniform(-1.0, 1.0)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    fall = 1.0 + 0.7 * strength * (x * math.cos(angle) + y * math.sin(angle))
    tint = 1.0 + 0.2 * strength * warmth * np.array([1.0, 0.1, -1.0])
    levels = np.clip(160.0 * fall[..., None] * tint, 0, 255)
    return np.asarray(np.rint(levels), dtype=np.uint8)


def camera_offset(sensor: Sensor, time_s: float) -> Point:
    """How far the picture is moved by panning at a time of the camera's clock, frame fractions."""
    if sensor.pan <= 0.0:
        return 0.0, 0.0
    angle, start = sensor.seed % 360, (sensor.seed // 360) % 1000 / 1000
    # Six seconds there and back: slower than anything that is called a motion.
    way = sensor.pan * math.sin(2 * math.pi * (time_s / 6.0 + start))
    return way * math.cos(math.radians(angle)), 0.6 * way * math.sin(math.radians(angle))


def _sense(canvas: Image, sensor: Sensor, time_s: float) -> Image:
    """Apply what the camera adds; every effect depends on seed and time alone."""
    height, width = canvas.shape[:2]
    phase = (sensor.seed % 1000) / 1000 * 2 * math.pi
    if sensor.pan > 0.0:
        x, y = camera_offset(sensor, time_s)
        matrix = np.array([[1.0, 0.0, x * width], [0.0, 1.0, y * height]])
        canvas = np.asarray(
            cv2.warpAffine(canvas, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101),
            dtype=np.uint8,
        )
    if sensor.shake > 0.0:
        dx = sensor.shake * math.sin(2 * math.pi * 1.3 * time_s + phase) * width
        dy = sensor.shake * math.sin(2 * math.pi * 1.7 * time_s + 2 * phase) * height
        matrix = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        canvas = np.asarray(
            cv2.warpAffine(canvas, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101),
            dtype=np.uint8,
        )
    if sensor.blur > 0.0:
        sigma = sensor.blur * min(height, width)
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), dtype=np.uint8)
    if sensor.light > 0.0:
        light = _light(sensor.seed, sensor.light, height, width)
        canvas = np.asarray(cv2.multiply(canvas, light, scale=1.0 / 160.0), dtype=np.uint8)
    if sensor.gain > 0.0:
        gain = 1.0 + sensor.gain * math.sin(2 * math.pi * 0.25 * time_s + phase)
        canvas = np.asarray(cv2.convertScaleAbs(canvas, alpha=gain), dtype=np.uint8)
    if sensor.noise > 0:
        rng = np.random.default_rng((sensor.seed, round(time_s * 1e6)))
        y, x = rng.integers(0, _NOISE_SLACK_PX + 1, 2)
        window = _noise_tile(sensor.noise, height, width)[y : y + height, x : x + width]
        canvas = np.asarray(cv2.add(canvas, window, dtype=cv2.CV_8U), dtype=np.uint8)
    return canvas


def wrap(position: float, half: float) -> float:
    """Bring a coordinate back into the frame, on the other side, when its sprite has nearly left.

    `half` is half the sprite; a seventh or so of it stays in view, so that no frame is empty.
    """
    edge = 0.7 * half
    return (position + edge) % (1.0 + 2 * edge) - edge


def render(
    scene: Scene, times_s: npt.NDArray[np.float64], size: int | tuple[int, int] = 128
) -> Image:
    """Draw a scene at the given times.

    `times_s` is float64 [T], seconds since the clip's beginning, not negative; `size` the side of a
    square picture or (height, width) in pixels. Returns RGB uint8 [T, height, width, 3].
    """
    height, width = (size, size) if isinstance(size, int) else size
    side = min(height, width)
    times = np.asarray(times_s, dtype=np.float64)
    motion = MOTIONS[scene.motion]
    backdrop = draw_background(scene.background, height, width)
    moves = motion.companion is not None or motion.in_front
    other = scene.other if moves else None
    still = (*scene.distractors, *((scene.other,) if scene.other and not moves else ()))
    for placed in still:
        if not placed.front:
            _draw_placed(backdrop, scene, placed, Pose.rest(1), 0)

    episode = times + scene.start_s
    pose = motion.pose(episode, scene.drive)
    beside = motion.companion(episode, scene.drive) if motion.companion else Pose.rest(len(times))
    levels = mipmaps(scene.style, scene.object, scene.colour, scene.redrawn)
    diameter_px = scene.diameter * side
    half_x, half_y = diameter_px / width / 2, diameter_px / height / 2
    camera_times = times + (scene.start_s + scene.camera_s)
    frames = np.empty((len(times), height, width, 3), np.uint8)
    for i in range(len(times)):
        canvas = backdrop.copy()
        if other is not None and not motion.in_front:
            _draw_placed(canvas, scene, other, beside, i)
        extent_px = (diameter_px * float(pose.scale_x[i]), diameter_px * float(pose.scale_y[i]))
        for x, y in scene.centres:
            x, y = x + float(pose.dx[i]), y + float(pose.dy[i])
            if "x" in motion.wraps:
                x = wrap(x, half_x)
            if "y" in motion.wraps:
                y = wrap(y, half_y)
            centre = (x * width, y * height)
            angle, opacity = float(pose.angle_deg[i]), float(pose.opacity[i])
            _draw_sprite(canvas, levels, centre, extent_px, angle, opacity)
        if other is not None and motion.in_front:
            _draw_placed(canvas, scene, other, beside, i)
        for placed in still:
            if placed.front:
                _draw_placed(canvas, scene, placed, Pose.rest(1), 0)
        frames[i] = _sense(canvas, scene.sensor, float(camera_times[i]))
    return frames
