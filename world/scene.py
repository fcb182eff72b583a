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


@dataclass(frozen=True)
class Drive:
    """The numbers behind a motion: `rate` in Hz (cycles), 1/s (growth), frames/s (travel) or
    degrees/s (rotation); `amplitude` in frame fractions, degrees or a ratio; `direction` is +1 or
    -1; `phase` in cycles."""

    rate: float = 0.0
    amplitude: float = 0.0
    direction: int = 1
    phase: float = 0.0


@dataclass(frozen=True)
class Placed:
    """A static object beside the main one."""

    object: str
    centre: Point
    diameter: float


@dataclass(frozen=True)
class Background:
    """`kind` is one of `background.KINDS`; `seed` fixes its colours and shapes."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Sensor:
    """What the camera adds: noise (standard deviation in grey levels), a slow brightness swing
    (`gain` 0.1 is ±10 %), and hand shake (amplitude in frame fractions)."""

    seed: int
    noise: int = 0
    gain: float = 0.0
    shake: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that is true of a clip.

    The renderer's time 0 is `start_s` of the motion's episode; the camera's own clock (brightness,
    hand shake, noise) is `camera_s` further on, so that it runs on when only the motion changes.
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
            x, y = item["centre"]
            return Placed(item["object"], (x, y), item["diameter"])

        rest = {key: value for key, value in fields.items() if key != "count"}
        rest["centres"] = tuple((x, y) for x, y in fields["centres"])
        rest["drive"] = Drive(**fields["drive"])
        rest["background"] = Background(**fields["background"])
        rest["sensor"] = Sensor(**fields["sensor"])
        rest["other"] = placed(fields["other"]) if fields["other"] else None
        rest["distractors"] = tuple(placed(item) for item in fields["distractors"])
        return cls(**rest)
