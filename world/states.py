"""A change of state and the clips that may have made it: two pictures, four actions, one of them.

As in WORLDPREDICTION-WM: given the state before and after, which action lies between? All four
clips show the same object (or pair of objects) elsewhere, so that the change alone decides.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .captions import caption
from .clips import Clip, clip_rng, window_times
from .motions import MOTIONS
from .placing import pick
from .render import Image, render, wrap
from .sampling import sample_scene, scene_of
from .scene import Scene, WorldConfig

# Motions that leave things otherwise than they were, each beside what undoes it.
OPPOSITES: dict[str, str] = {
    "left": "right",
    "up": "down",
    "clockwise": "counterclockwise",
    "grow": "shrink",
    "fade in": "fade out",
    "appear": "vanish",
    "fall": "launch",
    "approach": "depart",
    "hide": "emerge",
}
OPPOSITES |= {two: one for one, two in OPPOSITES.items()}
# Motions that leave the same state behind: never both among the choices.
SAME_EFFECT: dict[str, str] = {
    "down": "fall",
    "up": "launch",
    "fade in": "appear",
    "fade out": "vanish",
}
SAME_EFFECT |= {two: one for one, two in SAME_EFFECT.items()}

_CHOICES = 4
# Changes larger than this from one moment to the next are an episode's beginning anew.
_CUT = 0.2
_STEP_S = 0.02
_LONGEST_S = 1.1


@dataclass(frozen=True)
class StateChange:
    """`before` and `after` RGB uint8 [H,W,3] of `scene`; `clips` uint8 [4,T,H,W,3], of which
    number `answer` shows the same action, `motions[answer]`."""

    before: Image
    after: Image
    clips: Image
    answer: int
    motions: tuple[str, ...]
    scene: Scene


def unbroken_span(scene: Scene) -> tuple[float, float]:
    """Return the longest stretch of the episode's first second without a beginning anew, in
    seconds: from the state before to the state after."""
    times = np.arange(0.0, _LONGEST_S, _STEP_S)
    motion = MOTIONS[scene.motion]
    pose = motion.pose(times + scene.start_s, scene.drive)
    x, y = scene.centres[0]
    radius = scene.diameter / 2
    tracks = [x + pose.dx, y + pose.dy, pose.scale_x, pose.scale_y, pose.opacity]
    for place, axis in enumerate("xy"):
        if axis in motion.wraps:
            tracks[place] = np.array([wrap(float(v), radius) for v in tracks[place]])
    jumps = np.abs(np.diff(np.stack(tracks), axis=1)).max(0) > _CUT
    edges = [0, *(np.flatnonzero(jumps) + 1).tolist(), len(times)]
    spans = [(edges[i + 1] - edges[i], edges[i], edges[i + 1] - 1) for i in range(len(edges) - 1)]
    _, first, last = max(spans)
    return float(times[first]), float(times[last])


def _action(
    rng: np.random.Generator, config: WorldConfig, scene: Scene, motion: str, split: str
) -> Image:
    """A clip of the same object, beside the same other one, in another place and another way."""
    again = scene_of(rng, config, scene.object, motion, split=split)
    if again.other is not None and scene.other is not None:
        named = dataclasses.replace(again.other, object=scene.other.object)
        again = dataclasses.replace(again, other=named)
    times = window_times(config)
    return render(again, times, config.size)


def has_states(config: WorldConfig) -> bool:
    """Whether some of the world's motions leave another state behind."""
    return any(OPPOSITES.get(motion) in config.motions for motion in config.motions)


def _changing(config: WorldConfig) -> WorldConfig:
    """Scenes of nothing but what changes: motions that leave another state, from their start."""
    offered = tuple(m for m in config.motions if OPPOSITES.get(m) in config.motions)
    return dataclasses.replace(
        config, motions=offered, p_count=0.0, p_relation=0.0, p_occluder=0.0, p_distractor=0.0,
        p_late_start=0.0,
    )  # fmt: skip


def sample_state_clip(
    seed: int, index: int, config: WorldConfig | None = None, split: str = "train"
) -> Clip:
    """Return clip `index` of two pictures, the state before and the one after, half of the window
    each, at the times that they show. ValueError for a world without motions that leave another
    state."""
    config = config or WorldConfig()
    if not has_states(config):
        raise ValueError("none of the world's motions leaves another state behind")
    rng = clip_rng(seed, index, split, 6)
    scene = sample_scene(rng, _changing(config), split=split)
    half = config.frames // 2
    shown = np.array(unbroken_span(scene))
    times = np.repeat(shown, [half, config.frames - half])
    frames = np.repeat(render(scene, shown, config.size), [half, config.frames - half], axis=0)
    return Clip(frames, scene, caption(scene, rng), times)


def sample_state_change(
    seed: int, index: int, config: WorldConfig | None = None, split: str = "test"
) -> StateChange:
    """Return change of state `index` of a split; pure in its arguments like `sample_clip`.

    Wrong actions are the opposite one and two others with as many objects.
    """
    config = config or WorldConfig()
    plain = _changing(config)
    offered = plain.motions
    rng = clip_rng(seed, index, split, 4)
    scene = sample_scene(rng, plain, split=split)
    partner = MOTIONS[scene.motion].partner
    unlike = (scene.motion, SAME_EFFECT.get(scene.motion))
    alike = [m for m in offered if MOTIONS[m].partner == partner and m not in unlike]
    wrong = [OPPOSITES[scene.motion]]
    while len(wrong) < _CHOICES - 1:
        motion = pick(rng, alike)
        if motion not in wrong:
            wrong.append(motion)
    answer = int(rng.integers(_CHOICES))
    motions = (*wrong[:answer], scene.motion, *wrong[answer:])
    before, after = render(scene, np.array(unbroken_span(scene)), config.size)
    clips = np.stack([_action(rng, plain, scene, motion, split) for motion in motions])
    return StateChange(before, after, clips, answer, motions, scene)
