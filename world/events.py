"""Version 2's further motions: events with an order in time, and events of two objects.

Each repeats at 1.15-1.4 Hz, so that any second of an episode shows a whole one. Several come in
pairs that hold the same pictures in opposite order (appear and vanish, fall and launch, stop and
start, approach and depart, hide and emerge): one plays forward and then begins anew at a cut, and
only the order tells which one it is. Chasing shows who follows whom by the direction alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .poses import Floats, Motion, Pose
from .scene import Drive, Point

# Cycles a second of all that happens again and again.
_RATE = (1.15, 1.4)
# Half of the way between two objects that touch, in frame fractions.
_CONTACT = 0.115


def _cycle(t: Floats, drive: Drive) -> Floats:
    """Where each time is in its cycle, 0..1; an episode begins in the first fifth of one."""
    return np.mod(drive.rate * t + 0.2 * drive.phase, 1.0)


def _ramp(f: Floats, begin: float, end: float) -> Floats:
    """0 before `begin`, 1 after `end`, straight between."""
    return np.clip((f - begin) / (end - begin), 0.0, 1.0)


def _ease(p: Floats) -> Floats:
    """0..1 to 0..1 with a soft beginning and end."""
    return p * p * (3.0 - 2.0 * p)


def axis(drive: Drive) -> Point:
    """The unit vector that an event runs along, x right and y down."""
    angle = math.radians(drive.tilt_deg)
    return drive.direction * math.cos(angle), math.sin(angle)


def _along(drive: Drive, way: Floats) -> Pose:
    """A pose displaced along the event's axis by `way` [T], in frame fractions."""
    result = Pose.rest(len(way))
    x, y = axis(drive)
    result.dx, result.dy = x * way, y * way
    return result


def _either_way(
    pose: Callable[[Floats, Drive], Pose],
) -> tuple[Callable[[Floats, Drive], Pose], Callable[[Floats, Drive], Pose]]:
    """From a pose over the cycle's fraction: that event, and the one with its time reversed."""
    return (
        lambda t, drive: pose(_cycle(t, drive), drive),
        lambda t, drive: pose(1.0 - _cycle(t, drive), drive),
    )


def _appearing(f: Floats, drive: Drive) -> Pose:
    """Nothing, then quickly the whole object."""
    result = Pose.rest(len(f))
    result.scale_x = _ease(_ramp(f, 0.15, 0.55))
    result.scale_y = result.scale_x
    return result


def _falling(f: Floats, drive: Drive) -> Pose:
    """Ever faster down to its place, flattened for a moment, then at rest."""
    result = Pose.rest(len(f))
    result.dy = -drive.amplitude * (1.0 - _ramp(f, 0.0, 0.55) ** 2)
    squash = 0.22 * np.sin(np.pi * _ramp(f, 0.55, 0.8))
    result.scale_x, result.scale_y = 1.0 + squash, 1.0 - squash
    return result


def _stopping(f: Floats, drive: Drive) -> Pose:
    """Fast at first, ever slower, then at rest."""
    return _along(drive, drive.amplitude * (0.5 - (1.0 - _ramp(f, 0.0, 0.6)) ** 2))


def _approaching(f: Floats, drive: Drive) -> Pose:
    """From afar up to the other object, where it stays a while."""
    return _along(drive, drive.amplitude * (_ramp(f, 0.0, 0.72) - 1.0))


def _beside(drive: Drive) -> Point:
    """Where the other object is: as far from the main one's last place as two that touch."""
    x, y = axis(drive)
    return 2.2 * _CONTACT * x, 2.2 * _CONTACT * y


def _hiding(f: Floats, drive: Drive) -> Pose:
    """From beside the other object to behind it, where it cannot be seen for a while."""
    return _along(drive, drive.amplitude * (_ramp(f, 0.0, 0.62) - 1.0))


def _colliding(sign: int) -> Callable[[Floats, Drive], Pose]:
    """Towards each other, a knock, apart again."""

    def pose(t: Floats, drive: Drive) -> Pose:
        f = _cycle(t, drive)
        way = _CONTACT + (drive.amplitude - _CONTACT) * np.abs(2.0 * f - 1.0)
        result = _along(drive, -sign * way)
        knocked = _ramp(f, 0.5, 0.52) * (1.0 - _ramp(f, 0.52, 0.95))
        result.angle_deg = -sign * drive.direction * 40.0 * knocked
        return result

    return pose


def _swapping(sign: int) -> Callable[[Floats, Drive], Pose]:
    """Half a turn about the middle, a rest, half a turn again: they take each other's place."""

    def pose(t: Floats, drive: Drive) -> Pose:
        turned = drive.rate * t + 0.2 * drive.phase
        whole = np.floor(turned)
        angle = np.pi * (whole + _ease(_ramp(turned - whole, 0.1, 0.8)))
        x, y = axis(drive)
        along, across = np.cos(angle), 0.5 * np.sin(angle)
        result = Pose.rest(len(t))
        result.dx = sign * drive.amplitude * (along * x - across * y)
        result.dy = sign * drive.amplitude * (along * y + across * x)
        return result

    return pose


def _running(lead_deg: float) -> Callable[[Floats, Drive], Pose]:
    """Round an ellipse, so far ahead of the event's phase."""

    def pose(t: Floats, drive: Drive) -> Pose:
        turn = 2 * np.pi * drive.direction * (drive.rate * t + drive.phase + lead_deg / 360)
        result = Pose.rest(len(t))
        result.dx = drive.amplitude * np.cos(turn)
        result.dy = 0.85 * drive.amplitude * np.sin(turn)
        return result

    return pose


_appear, _vanish = _either_way(_appearing)
_fall, _launch = _either_way(_falling)
_stop, _start = _either_way(_stopping)
_approach, _depart = _either_way(_approaching)
_hide, _emerge = _either_way(_hiding)

_EQUAL = ((0.23, 0.28), (0.23, 0.28))
_HIDING = ((0.17, 0.21), (0.36, 0.42))

EVENTS: dict[str, Motion] = {
    "appear": Motion(_appear, _RATE),
    "vanish": Motion(_vanish, _RATE),
    "fall": Motion(_fall, _RATE, (0.4, 0.55), reach=(0, 0, 1, 0), scale=1.22),
    "launch": Motion(_launch, _RATE, (0.4, 0.55), reach=(0, 0, 1, 0), scale=1.22),
    "stop": Motion(_stop, _RATE, (0.4, 0.52), reach=(0.5, 0.5, 0, 0), directed=True),
    "start": Motion(_start, _RATE, (0.4, 0.52), reach=(0.5, 0.5, 0, 0), directed=True),
    "collide": Motion(
        _colliding(1), _RATE, (0.3, 0.34), directed=True, partner=True,
        companion=_colliding(-1), symmetric=True, diameters=_EQUAL, tilt_deg=90.0,
    ),
    "swap": Motion(
        _swapping(1), _RATE, (0.22, 0.27), directed=True, partner=True,
        companion=_swapping(-1), symmetric=True, diameters=_EQUAL, tilt_deg=90.0,
    ),
    "follow": Motion(
        _running(0.0), (0.55, 0.8), (0.3, 0.34), directed=True, partner=True,
        companion=_running(80.0), diameters=((0.2, 0.25), (0.2, 0.25)),
    ),
    "orbit": Motion(
        _running(0.0), (0.8, 1.15), (0.31, 0.35), directed=True, partner=True,
        diameters=((0.17, 0.21), (0.28, 0.34)),
    ),
    "approach": Motion(
        _approach, _RATE, (0.32, 0.38), directed=True, partner=True,
        other_at=_beside, diameters=_EQUAL, tilt_deg=35.0,
    ),
    "depart": Motion(
        _depart, _RATE, (0.32, 0.38), directed=True, partner=True,
        other_at=_beside, diameters=_EQUAL, tilt_deg=35.0,
    ),
    "hide": Motion(
        _hide, _RATE, (0.34, 0.38), directed=True, partner=True,
        in_front=True, diameters=_HIDING, tilt_deg=35.0,
    ),
    "emerge": Motion(
        _emerge, _RATE, (0.34, 0.38), directed=True, partner=True,
        in_front=True, diameters=_HIDING, tilt_deg=35.0,
    ),
}  # fmt: skip
