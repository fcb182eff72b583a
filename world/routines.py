"""What an object does next: version 2's motions follow each other in fixed rounds.

A stream's motion changes keep to them, so that the next step can be foreseen from the present one.
"""

from __future__ import annotations

from collections.abc import Sequence

ROUTINES: tuple[tuple[str, ...], ...] = (
    ("appear", "grow", "pulse", "shrink", "vanish"),
    ("fall", "bounce", "still", "launch"),
    ("start", "zigzag", "stop", "rock"),
    ("left", "circle", "right", "sway"),
    ("up", "flip", "down", "shake"),
    ("clockwise", "blink", "counterclockwise"),
    ("fade in", "fade out"),
    ("approach", "collide", "follow", "orbit", "depart", "swap", "hide", "emerge"),
)


def next_step(motion: str, motions: Sequence[str]) -> str:
    """Return the motion that comes after one, among those that a world has; itself if alone."""
    for routine in ROUTINES:
        if motion in routine:
            place = routine.index(motion)
            for candidate in (*routine[place + 1 :], *routine[:place]):
                if candidate in motions:
                    return candidate
    return motion
