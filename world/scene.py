"""What a clip shows: `Scene`, exact ground truth as JSON, and `WorldConfig`, what is sampled.

Positions are fractions of the frame (x right, y down, centre of a sprite), diameters fractions of
the frame's shorter side, times seconds. Nothing here depends on the picture size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .vocabulary import OBJECTS, STYLES

Point = tuple[float, float]
VERSIONS = (1, 2)

# The version-1 motions; see motions.py for what each one does.
MOTIONS_V1: tuple[str, ...] = (
    "left",
    "right",
    "up",
    "down",
    "clockwise",
    "counterclockwise",
    "grow",
    "shrink",
    "bounce",
    "sway",
    "rock",
    "circle",
    "zigzag",
    "shake",
    "blink",
    "flip",
    "pulse",
    "still",
    "fade in",
    "fade out",
)

# Version 2 has these too; see events.py. From "collide" on, two objects take part.
EVENTS_V2: tuple[str, ...] = (
    "appear",
    "vanish",
    "fall",
    "launch",
    "stop",
    "start",
    "collide",
    "swap",
    "follow",
    "orbit",
    "approach",
    "depart",
    "hide",
    "emerge",
)


@dataclass(frozen=True)
class WorldConfig:
    """Which worlds are sampled. Part of a clip's identity: another config, another clip.

    Probabilities are per scene. An attribute that does not go with the drawn motion (a relation
    with something that crosses the frame, say) is left out, so real shares are a little lower.
    """

    objects: tuple[str, ...] = OBJECTS[:120]
    motions: tuple[str, ...] = MOTIONS_V1
    styles: tuple[str, ...] = STYLES[:2]
    held_out_style: str = STYLES[2]
    held_out_pair_share: float = 0.1
    size: int = 128
    frames: int = 8
    fps: float = 8.0
    max_count: int = 4
    p_colour: float = 0.2
    p_size: float = 0.15
    p_count: float = 0.15
    p_relation: float = 0.12
    p_distractor: float = 0.1
    p_noise: float = 0.4
    p_gain: float = 0.3
    p_camera_shake: float = 0.12
    # Share of clips that begin somewhere inside the motion's episode instead of at its start.
    p_late_start: float = 0.5
    max_start_s: float = 4.0
    # Lengths of a stream's segments.
    segment_s: tuple[float, float] = (2.0, 5.0)
    # 2: the rules of sampling_v2.py and version 2's texts; the shares below are read there alone.
    version: int = 1
    p_other_colour: float = 0.0
    p_occluder: float = 0.0
    p_group: float = 0.0
    p_pan: float = 0.0
    p_light: float = 0.0
    p_blur: float = 0.0
    # Share of scenes whose sprites are drawn otherwise than in any style's sheet (redraw.py).
    p_redrawn: float = 0.0

    @classmethod
    def v2(cls, **changes: Any) -> WorldConfig:
        """Version 2: 300 objects, 34 motions and events, one to six copies, occlusion, a camera
        that pans, light and blur, richer texts, 24 annotations a minute. `changes` are fields."""
        fields: dict[str, Any] = {
            "version": 2,
            "objects": OBJECTS[:300],
            "motions": MOTIONS_V1 + EVENTS_V2,
            "max_count": 6,
            "p_colour": 0.25,
            "p_count": 0.2,
            "p_relation": 0.16,
            "p_other_colour": 0.25,
            "p_occluder": 0.1,
            "p_group": 0.12,
            "p_pan": 0.15,
            "p_light": 0.3,
            "p_blur": 0.15,
            "segment_s": (1.5, 3.5),
        }
        return cls(**{**fields, **changes})

    @classmethod
    def of(cls, version: int, **changes: Any) -> WorldConfig:
        """A version by its number, as a model's card tells it. ValueError for one unknown here."""
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise ValueError(f"sprite world has no version {version}; there are {known}")
        return cls.v2(**changes) if version == 2 else cls(**changes)


@dataclass(frozen=True)
class Drive:
    """The numbers behind a motion: `rate` in Hz (cycles), 1/s (growth), frames/s (travel) or
    degrees/s (rotation); `amplitude` in frame fractions, degrees or a ratio; `direction` is +1 or
    -1; `phase` in cycles; `tilt_deg` turns an event's axis, clockwise."""

    rate: float = 0.0
    amplitude: float = 0.0
    direction: int = 1
    phase: float = 0.0
    tilt_deg: float = 0.0


@dataclass(frozen=True)
class Placed:
    """An object beside the main one: static, but for the other one of an event. `front`: drawn
    over the main object, part of which it may hide."""

    object: str
    centre: Point
    diameter: float
    colour: str | None = None
    front: bool = False


@dataclass(frozen=True)
class Background:
    """`kind` is one of `background.KINDS`; `seed` fixes its colours and shapes."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Sensor:
    """What the camera adds: noise (standard deviation in grey levels), a slow brightness swing
    (`gain` 0.1 is ±10 %), hand shake and panning (amplitudes in frame fractions), coloured light
    that falls off over the frame (0 to 1), and blur (standard deviation in frame fractions)."""

    seed: int
    noise: int = 0
    gain: float = 0.0
    shake: float = 0.0
    pan: float = 0.0
    light: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that is true of a clip.

    The renderer's time 0 is `start_s` of the motion's episode; the camera's own clock (brightness,
    hand shake, noise) is `camera_s` further on, so that it runs on when only the motion changes.
    `other` is what a relation or an event names; `distractors` are never named in captions.
    `world` is the version of sprite world, which fixes how it is told. `redrawn`, where it isn't 0,
    is the seed of other drawings of all its sprites.
    """

    object: str
    motion: str
    style: str
    centres: tuple[Point, ...]
    diameter: float
    drive: Drive
    background: Background
    sensor: Sensor
    colour: str | None = None
    size: str | None = None
    relation: str | None = None
    other: Placed | None = None
    distractors: tuple[Placed, ...] = ()
    start_s: float = 0.0
    camera_s: float = 0.0
    world: int = 1
    redrawn: int = 0

    @property
    def count(self) -> int:
        """How many copies of the main object there are."""
        return len(self.centres)

    def names(self) -> frozenset[str]:
        """Every object that can be seen."""
        placed = {item.object for item in self.distractors}
        return frozenset({self.object, *placed} | ({self.other.object} if self.other else set()))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` gives an equal scene back."""
        return {**dataclasses.asdict(self), "count": self.count}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Scene:
        """Build a scene from `to_dict`'s result, also after a round trip through JSON."""

        def placed(item: dict[str, Any]) -> Placed:
            return Placed(**{**item, "centre": tuple(item["centre"])})

        rest = {key: value for key, value in fields.items() if key != "count"}
        rest["centres"] = tuple((x, y) for x, y in fields["centres"])
        rest["drive"] = Drive(**fields["drive"])
        rest["background"] = Background(**fields["background"])
        rest["sensor"] = Sensor(**fields["sensor"])
        rest["other"] = placed(fields["other"]) if fields["other"] else None
        rest["distractors"] = tuple(placed(item) for item in fields["distractors"])
        return cls(**rest)
