"""Version 2's scenes: events of two objects, second groups, occluders, and a richer camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .background import KINDS
from .motions import MOTIONS, sample_drive
from .placing import (
    COUNT_DIAMETERS,
    DIAMETERS,
    IN_PLACE,
    RELATION_DIAMETERS,
    RELATION_MOTIONS,
    RESIZING_MOTIONS,
    between,
    corner_distractors,
    pick,
    place_related,
    room,
)
from .poses import Pose
from .scene import Background, Drive, Placed, Point, Scene, Sensor, WorldConfig
from .vocabulary import COLOURS, POPULAR, RELATIONS, SIZES, SOLID_OBJECTS, kin

# Times at which an event's reach is looked at: two of the longest cycles.
_EPISODE_S: npt.NDArray[np.float64] = np.linspace(0.0, 1.8, 28)
_POPULAR_SHARE = 0.2
_KIN_SHARE = 0.5
_SIX_DIAMETERS = (0.18, 0.21)


def pick_object(rng: np.random.Generator, objects: Sequence[str]) -> str:
    """Draw an object; those at the head of the table come up more often."""
    return pick(rng, objects[:POPULAR] if rng.random() < _POPULAR_SHARE else objects)


def _pick_other(rng: np.random.Generator, objects: Sequence[str], name: str) -> str:
    """Draw an object to go with another one, often one of its kin."""
    related = kin(name, objects) if rng.random() < _KIN_SHARE else []
    return pick(rng, related or [item for item in objects if item != name])


def _colour_but(rng: np.random.Generator, colour: str | None) -> str:
    return pick(rng, [item for item in COLOURS if item != colour])


def place_event(rng: np.random.Generator, config: WorldConfig, scene: Scene) -> Scene:
    """Lay an event of two objects out so that both stay in view; keeps `other` where it is one.

    The place of either follows from the event's middle and the poses of both.
    """
    motion, drive = MOTIONS[scene.motion], scene.drive
    sizes = tuple(between(rng, *span) for span in motion.diameters)
    tracks = [motion.pose(_EPISODE_S, drive)]
    tracks.append(motion.companion(_EPISODE_S, drive) if motion.companion else Pose.rest(1))
    offset = motion.other_at(drive)
    centre: list[float] = []
    for place, ways in enumerate(([p.dx for p in tracks], [p.dy for p in tracks])):
        low = min(ways[0].min() - sizes[0] / 2, offset[place] + ways[1].min() - sizes[1] / 2)
        high = max(ways[0].max() + sizes[0] / 2, offset[place] + ways[1].max() + sizes[1] / 2)
        centre.append(between(rng, -float(low), 1.0 - float(high)))
    other = scene.other
    unfit = other is not None and motion.in_front and other.object not in SOLID_OBJECTS
    if other is None or unfit:
        offered: Sequence[str] = config.objects
        if motion.in_front:
            solid = [o for o in offered if o in SOLID_OBJECTS and o != scene.object]
            offered = solid or offered
        colour = _colour_but(rng, scene.colour) if rng.random() < config.p_other_colour else None
        name = pick(rng, [o for o in offered if o != scene.object])
        if not motion.in_front:
            name = _pick_other(rng, offered, scene.object)
        other = Placed(name, (0.0, 0.0), 0.0, colour)
    beside = (centre[0] + offset[0], centre[1] + offset[1])
    return dataclasses.replace(
        scene,
        centres=((centre[0], centre[1]),),
        diameter=sizes[0],
        other=dataclasses.replace(other, centre=beside, diameter=sizes[1]),
    )


def _sensor(rng: np.random.Generator, config: WorldConfig) -> Sensor:
    seed = int(rng.integers(2**31))
    u = rng.random(6)
    return Sensor(
        seed,
        noise=2 + int(rng.random() * 6) if u[0] < config.p_noise else 0,
        gain=between(rng, 0.06, 0.2) if u[1] < config.p_gain else 0.0,
        shake=between(rng, 0.004, 0.01) if u[2] < config.p_camera_shake else 0.0,
        pan=between(rng, 0.04, 0.08) if u[3] < config.p_pan else 0.0,
        light=between(rng, 0.3, 0.9) if u[4] < config.p_light else 0.0,
        blur=between(rng, 0.003, 0.007) if u[5] < config.p_blur else 0.0,
    )


def _apart(
    rng: np.random.Generator,
    bounds: tuple[float, float, float, float],
    count: int,
    apart: float,
) -> tuple[Point, ...] | None:
    """Draw points in a rectangle that keep their distance, or None where that never worked."""
    x0, x1, y0, y1 = bounds
    for _ in range(30):
        chosen: list[Point] = []
        for x, y in rng.random((count, 2)).tolist():
            point = (x0 + (x1 - x0) * x, y0 + (y1 - y0) * y)
            if any((point[0] - a) ** 2 + (point[1] - b) ** 2 < apart**2 for a, b in chosen):
                break
            chosen.append(point)
        if len(chosen) == count:
            return tuple(chosen)
    return None


def _copies(
    rng: np.random.Generator, motion: str, drive: Drive, count: int, more: int
) -> tuple[tuple[Point, ...], float]:
    """Place `count` moving copies and `more` still things; fewer copies where there is no room.

    Returns the centres, `more` of them last, and the diameter of all.
    """
    spec = MOTIONS[motion]
    while True:
        total = count + more
        if total == 1:
            diameter = between(rng, *DIAMETERS[None])
            x0, x1, y0, y1 = room(motion, drive, diameter)
            return ((between(rng, x0, x1), between(rng, y0, y1)),), diameter
        span = COUNT_DIAMETERS[min(total, 5)] if total < 6 else _SIX_DIAMETERS
        diameter = between(rng, *span)
        for _ in range(3):
            x0, x1, y0, y1 = room(motion, drive, diameter)
            if "x" in spec.wraps:
                x0, x1 = 0.05, 0.95
            if "y" in spec.wraps:
                y0, y1 = 0.05, 0.95
            apart = diameter * min(spec.scale, 1.3) * 1.02
            if x0 <= x1 and y0 <= y1:
                found = _apart(rng, (x0, x1, y0, y1), total, apart)
                if found is not None:
                    return found, diameter
            diameter *= 0.9
        if more:
            more -= 1
        else:
            count -= 1


def _occluder(
    rng: np.random.Generator, config: WorldConfig, name: str, centre: Point, diameter: float
) -> Placed:
    """Put an object over a part of the main one."""
    angle, way = between(rng, 0.0, 2 * np.pi), 0.55 * diameter
    place = (centre[0] + way * float(np.cos(angle)), centre[1] + way * float(np.sin(angle)))
    small = between(rng, 0.5, 0.65) * diameter
    return Placed(_pick_other(rng, config.objects, name), place, small, front=True)


def _redrawn(rng: np.random.Generator, config: WorldConfig) -> int:
    """A seed of other drawings, or 0; nothing is drawn from `rng` in a world that has none."""
    if config.p_redrawn <= 0.0 or rng.random() >= config.p_redrawn:
        return 0
    return 1 + int(rng.integers(2**31))


def scene_of_v2(
    rng: np.random.Generator, config: WorldConfig, name: str, motion: str, *, split: str = "train"
) -> Scene:
    """Draw a version-2 scene in which the given object makes the given motion."""
    style = config.held_out_style if split == "style" else pick(rng, config.styles)
    late = between(rng, 0.0, config.max_start_s) if rng.random() < config.p_late_start else 0.0
    drive = sample_drive(rng, motion)
    scene = Scene(
        object=name,
        motion=motion,
        style=style,
        centres=(),
        diameter=0.0,
        drive=drive,
        background=Background(pick(rng, KINDS), int(rng.integers(2**31))),
        sensor=_sensor(rng, config),
        colour=pick(rng, tuple(COLOURS)) if rng.random() < config.p_colour else None,
        start_s=late,
        world=2,
        redrawn=_redrawn(rng, config),
    )
    if MOTIONS[motion].partner:
        return place_event(rng, config, scene)
    kind = float(rng.random())
    if kind < config.p_count:
        return _counted(rng, config, scene)
    if kind < config.p_count + config.p_relation:
        relation = pick(rng, RELATIONS)
        if motion in RELATION_MOTIONS[relation]:
            diameter = between(rng, *RELATION_DIAMETERS)
            main, beside, size = place_related(rng, relation, motion, drive, diameter)
            coloured = rng.random() < config.p_other_colour
            colour = _colour_but(rng, scene.colour) if coloured else None
            other = Placed(_pick_other(rng, config.objects, name), beside, size, colour)
            return dataclasses.replace(
                scene, relation=relation, other=other, centres=(main,), diameter=diameter
            )
    told = rng.random() < config.p_size and motion not in RESIZING_MOTIONS
    size_word = pick(rng, SIZES) if told else None
    diameter = between(rng, *DIAMETERS[size_word])
    x0, x1, y0, y1 = room(motion, drive, diameter)
    centre = (between(rng, x0, x1), between(rng, y0, y1))
    aside: tuple[Placed, ...] = ()
    if size_word is None and motion in IN_PLACE and rng.random() < 2 * config.p_occluder:
        aside = (_occluder(rng, config, name, centre, diameter),)
    elif size_word != "big" and rng.random() < config.p_distractor:
        aside = corner_distractors(rng, config, name, (centre,))
    return dataclasses.replace(
        scene, size=size_word, centres=(centre,), diameter=diameter, distractors=aside
    )


def _counted(rng: np.random.Generator, config: WorldConfig, scene: Scene) -> Scene:
    """Two and more copies; some beside a group that stands still: other things, or the same in
    another colour, which then are told apart by their colours."""
    count = 2 + int(rng.random() * (config.max_count - 1))
    more = 0
    in_place = scene.motion in IN_PLACE - RESIZING_MOTIONS
    if in_place and rng.random() < config.p_group / max(config.p_count, 1e-9):
        total = max(2, count)
        count = 1 + int(rng.random() * (total - 1))
        more = total - count
    places, diameter = _copies(rng, scene.motion, scene.drive, count, more)
    count = min(count, len(places))
    colour, group_colour, group = scene.colour, None, scene.object
    if len(places) > count:
        if rng.random() < 0.5:
            colour = colour or pick(rng, tuple(COLOURS))
            group_colour = _colour_but(rng, colour)
        else:
            group = _pick_other(rng, config.objects, scene.object)
    return dataclasses.replace(
        scene,
        colour=colour,
        centres=places[:count],
        diameter=diameter,
        distractors=tuple(Placed(group, at, diameter, group_colour) for at in places[count:]),
    )
