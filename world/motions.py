"""The motions: each turns seconds into poses, and stays true to its label for as long as it runs.

A motion is an *episode*: it may run for many seconds, and any second of it shows the label. Travel
re-enters at the opposite edge, growth and fading start over in a saw-tooth, the rest is periodic,
with a turn in every second and at least four samples a swing at 8 frames a second (all but shaking,
which only has to look restless). Version 2's further motions are in events.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .events import EVENTS
from .poses import Floats, Motion, Pose
from .scene import Drive

GROW_FROM, GROW_TO = 0.55, 1.5


def _swing(t: Floats, drive: Drive) -> Floats:
    return np.sin(2 * np.pi * (drive.rate * t + drive.phase))


def _saw(t: Floats, period_s: float, drive: Drive) -> Floats:
    """Rise from 0 towards 1 every `period_s`; episodes begin in the first quarter of a rise."""
    return np.mod(t / period_s + 0.25 * drive.phase, 1.0)


def _travel(x: int, y: int) -> Callable[[Floats, Drive], Pose]:
    def pose(t: Floats, drive: Drive) -> Pose:
        result = Pose.rest(len(t))
        result.dx, result.dy = x * drive.rate * t, y * drive.rate * t
        return result

    return pose


def _rotate(sign: int) -> Callable[[Floats, Drive], Pose]:
    def pose(t: Floats, drive: Drive) -> Pose:
        result = Pose.rest(len(t))
        result.angle_deg = sign * drive.rate * t
        return result

    return pose


def _resize(grows: bool) -> Callable[[Floats, Drive], Pose]:
    def pose(t: Floats, drive: Drive) -> Pose:
        result = Pose.rest(len(t))
        span = np.log(GROW_TO / GROW_FROM)
        rise = _saw(t, float(span) / drive.rate, drive)
        result.scale_x = GROW_FROM * np.exp(span * (rise if grows else 1.0 - rise))
        result.scale_y = result.scale_x
        return result

    return pose


def _fade(appears: bool) -> Callable[[Floats, Drive], Pose]:
    def pose(t: Floats, drive: Drive) -> Pose:
        result = Pose.rest(len(t))
        rise = _saw(t, 1.0 / drive.rate, drive)
        result.opacity = rise if appears else 1.0 - rise
        return result

    return pose


def _bounce(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    f = np.mod(drive.rate * t + drive.phase, 1.0)
    result.dy = -drive.amplitude * 4.0 * f * (1.0 - f)
    return result


def _sway(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    result.dx = drive.amplitude * _swing(t, drive)
    return result


def _rock(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    result.angle_deg = drive.amplitude * _swing(t, drive)
    return result


def _circle(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    turn = 2 * np.pi * (drive.direction * drive.rate * t + drive.phase)
    result.dx, result.dy = drive.amplitude * np.cos(turn), drive.amplitude * np.sin(turn)
    return result


def _zigzag(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    f = np.mod(drive.rate * t + drive.phase, 1.0)
    result.dx = drive.direction * 0.42 * t
    result.dy = drive.amplitude * (4.0 * np.abs(f - 0.5) - 1.0)
    return result


def _shake(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    turn = 2 * np.pi * drive.rate * t
    result.dx = drive.amplitude * np.sin(turn + 6.28 * drive.phase)
    result.dy = drive.amplitude * np.sin(1.18 * turn + 2.0 + 9.0 * drive.phase)
    result.angle_deg = 7.0 * np.sin(0.91 * turn + 4.0 + 5.0 * drive.phase)
    return result


def _blink(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    result.opacity = (np.mod(drive.rate * t + drive.phase, 1.0) < 0.5).astype(np.float64)
    return result


def _flip(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    turn = np.cos(2 * np.pi * (drive.rate * t + drive.phase))
    result.scale_x = np.where(turn < 0, -1.0, 1.0) * np.maximum(np.abs(turn), 0.08)
    return result


def _pulse(t: Floats, drive: Drive) -> Pose:
    result = Pose.rest(len(t))
    result.scale_x = 1.0 + drive.amplitude * _swing(t, drive)
    result.scale_y = result.scale_x
    return result


_TRAVEL = (0.4, 0.75)
_TURN = (85.0, 150.0)

MOTIONS: dict[str, Motion] = {
    "left": Motion(_travel(-1, 0), _TRAVEL, wraps="x"),
    "right": Motion(_travel(1, 0), _TRAVEL, wraps="x"),
    "up": Motion(_travel(0, -1), _TRAVEL, wraps="y"),
    "down": Motion(_travel(0, 1), _TRAVEL, wraps="y"),
    "clockwise": Motion(_rotate(1), _TURN),
    "counterclockwise": Motion(_rotate(-1), _TURN),
    "grow": Motion(_resize(grows=True), (0.45, 0.8), scale=GROW_TO),
    "shrink": Motion(_resize(grows=False), (0.45, 0.8), scale=GROW_TO),
    "bounce": Motion(_bounce, (1.2, 1.8), (0.16, 0.28), reach=(0, 0, 1, 0)),
    "sway": Motion(_sway, (0.85, 1.2), (0.14, 0.21), reach=(1, 1, 0, 0)),
    "rock": Motion(_rock, (0.95, 1.4), (28.0, 42.0)),
    "circle": Motion(_circle, (0.8, 1.15), (0.13, 0.19), reach=(1, 1, 1, 1), directed=True),
    "zigzag": Motion(_zigzag, (1.4, 1.8), (0.1, 0.15), (0, 0, 1, 1), wraps="x", directed=True),
    "shake": Motion(_shake, (2.6, 3.1), (0.025, 0.04), reach=(1, 1, 1, 1)),
    "blink": Motion(_blink, (1.6, 2.1)),
    "flip": Motion(_flip, (0.8, 1.2)),
    "pulse": Motion(_pulse, (1.3, 1.8), (0.25, 0.33), scale=1.33),
    "still": Motion(lambda t, drive: Pose.rest(len(t))),
    "fade in": Motion(_fade(appears=True), (0.65, 0.95)),
    "fade out": Motion(_fade(appears=False), (0.65, 0.95)),
    **EVENTS,
}


def is_event_of_two(name: str) -> bool:
    """Tell whether a second object takes part in a motion."""
    return MOTIONS[name].partner


def sample_drive(rng: np.random.Generator, name: str) -> Drive:
    """Draw the numbers of one episode of a motion."""
    motion = MOTIONS[name]
    u = rng.random(4)
    rate, amplitude = (
        low + (high - low) * float(x)
        for (low, high), x in zip((motion.rate, motion.amplitude), u[:2], strict=True)
    )
    direction = 1 if not motion.directed or u[2] < 0.5 else -1
    tilt_deg = motion.tilt_deg * (2.0 * float(rng.random()) - 1.0) if motion.tilt_deg else 0.0
    return Drive(rate, amplitude, direction, float(u[3]), tilt_deg)
