"""Worlds that show more of one thing: several copies to count, two objects with a relation, or
things in other colours and drawings than their styles' sheets have.

A world without a motion that goes with it has none left: `motions` is empty.
"""

from __future__ import annotations

import dataclasses

from .motions import is_event_of_two
from .placing import RELATION_MOTIONS
from .scene import WorldConfig


def counted_world(config: WorldConfig) -> WorldConfig:
    """Scenes of several copies, a fifth of them beside a group that isn't meant: half of those that
    stay in place."""
    motions = tuple(m for m in config.motions if not is_event_of_two(m))
    grouped = 0.45 if config.version == 2 else 0.0
    return dataclasses.replace(config, motions=motions, p_count=0.9, p_group=grouped)


def placed_world(config: WorldConfig) -> WorldConfig:
    """Scenes of an object left or right of, above or below another."""
    fits = RELATION_MOTIONS.values()
    motions = tuple(m for m in config.motions if all(m in those for those in fits))
    return dataclasses.replace(config, motions=motions, p_relation=1.0, p_count=0.0)


def drawn_world(
    config: WorldConfig, redrawn: float, recoloured: float | None = None
) -> WorldConfig:
    """Scenes of which a share is drawn otherwise (redraw.py); a share of main objects recoloured,
    None: as many as before."""
    colour = config.p_colour if recoloured is None else recoloured
    return dataclasses.replace(config, p_redrawn=redrawn, p_colour=colour)
