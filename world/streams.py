"""Long streams of changing scenes with a timeline, and training windows that straddle a change.

A change is a *cut* (everything is new), an *object* change (another object takes the place and the
motion) or a *motion* change (the same object goes on from where it is, in another way).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .captions import canonical_caption, caption
from .clips import Clip, clip_rng, window_times
from .motions import MOTIONS, sample_drive
from .placing import RELATION_MOTIONS, RESIZING_MOTIONS, pick, room
from .render import Image, render
from .routines import next_step
from .sampling import is_held_out_pair, sample_scene
from .sampling_v2 import place_event
from .scene import Point, Scene, WorldConfig

CHANGES: tuple[str, ...] = ("cut", "object", "motion")
_CHANGE_SHARES = (0.6, 0.15, 0.25)


@dataclass(frozen=True)
class Segment:
    """A stretch of a stream that one scene fills: `start_s` <= t < `end_s`; `change` tells how it
    differs from the one before."""

    start_s: float
    end_s: float
    scene: Scene
    change: str


@dataclass(frozen=True)
class Stream:
    """A stream's truth. `size` (pixels) and `fps` are defaults for `frames`."""

    seed: int
    duration_s: float
    size: int
    fps: float
    segments: tuple[Segment, ...]

    def timeline(self) -> list[dict[str, Any]]:
        """Return the annotations in order, without gaps: t_start_s, t_end_s, caption (canonical),
        object, motion, and change ("cut", "object", "motion")."""
        return [
            {
                "t_start_s": segment.start_s,
                "t_end_s": segment.end_s,
                "caption": canonical_caption(segment.scene),
                "object": segment.scene.object,
                "motion": segment.scene.motion,
                "change": segment.change,
            }
            for segment in self.segments
        ]


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if low <= high else (low + high) / 2


def _where_it_is(scene: Scene, at_s: float) -> Point:
    """Return the main object's centre at a time of the scene, wrapping left aside."""
    motion = MOTIONS[scene.motion]
    pose = motion.pose(np.array([at_s + scene.start_s]), scene.drive)
    x, y = scene.centres[0]
    x, y = x + float(pose.dx[0]), y + float(pose.dy[0])
    return (x % 1.0 if "x" in motion.wraps else x), (y % 1.0 if "y" in motion.wraps else y)


def _allowed(config: WorldConfig, split: str, name: str, motion: str) -> bool:
    held_out = is_held_out_pair(name, motion, config.held_out_pair_share)
    return held_out == (split == "pairs")


def _next_motion(
    rng: np.random.Generator, scene: Scene, lasted_s: float, config: WorldConfig, split: str
) -> Scene | None:
    """Let the same object go on in another way, or return None where no motion fits."""
    offered = (next_step(scene.motion, config.motions),) if scene.world == 2 else config.motions
    choices = [
        motion
        for motion in offered
        if motion != scene.motion
        and _allowed(config, split, scene.object, motion)
        and (scene.relation is None or motion in RELATION_MOTIONS[scene.relation])
        and (scene.size is None or motion not in RESIZING_MOTIONS)
    ]
    if not choices or scene.count > 1:
        return None
    motion = pick(rng, choices)
    drive = sample_drive(rng, motion)
    x, y = scene.centres[0]
    if MOTIONS[motion].partner:
        before = scene.other.object if scene.other else None
        scene = place_event(rng, config, dataclasses.replace(scene, motion=motion, drive=drive))
        if MOTIONS[motion].in_front and scene.other and scene.other.object != before:
            return None  # what was beside it is nothing to hide behind
        x, y = scene.centres[0]
    elif scene.relation is None:
        begins = MOTIONS[motion].pose(np.zeros(1), drive)
        at_x, at_y = _where_it_is(scene, lasted_s)
        x0, x1, y0, y1 = room(motion, drive, scene.diameter)
        x, y = at_x - float(begins.dx[0]), at_y - float(begins.dy[0])
        x = x if "x" in MOTIONS[motion].wraps else _clamp(x, x0, x1)
        y = y if "y" in MOTIONS[motion].wraps else _clamp(y, y0, y1)
    return dataclasses.replace(
        scene,
        motion=motion,
        drive=drive,
        centres=((x, y),),
        start_s=0.0,
        camera_s=scene.camera_s + scene.start_s + lasted_s,
    )


def _next_object(
    rng: np.random.Generator, scene: Scene, lasted_s: float, config: WorldConfig, split: str
) -> Scene | None:
    """Let another object take over place and motion, or return None where none may."""
    choices = [
        name
        for name in config.objects
        if name not in scene.names() and _allowed(config, split, name, scene.motion)
    ]
    if not choices:
        return None
    return dataclasses.replace(
        scene,
        object=pick(rng, choices),
        start_s=0.0,
        camera_s=scene.camera_s + scene.start_s + lasted_s,
    )


def _segments(
    rng: np.random.Generator, config: WorldConfig, split: str, ends_s: list[float]
) -> tuple[Segment, ...]:
    """Fill the stretches up to each of `ends_s` with scenes."""
    config = dataclasses.replace(config, p_late_start=0.0)
    segments: list[Segment] = []
    start_s = 0.0
    for end_s in ends_s:
        change = CHANGES[int(np.searchsorted(np.cumsum(_CHANGE_SHARES), rng.random()))]
        scene: Scene | None = None
        if segments and change != "cut":
            before = segments[-1]
            follow = _next_motion if change == "motion" else _next_object
            scene = follow(rng, before.scene, before.end_s - before.start_s, config, split)
        if scene is None:
            change, scene = "cut", sample_scene(rng, config, split=split)
        segments.append(Segment(start_s, end_s, scene, change))
        start_s = end_s
    return tuple(segments)


def make_stream(
    seed: int, duration_s: float, config: WorldConfig | None = None, split: str = "test"
) -> Stream:
    """Draw a stream of segments (times rounded to milliseconds) that last `duration_s`."""
    config = config or WorldConfig()
    shortest, longest = config.segment_s
    if duration_s < shortest:
        raise ValueError(f"a stream lasts at least {shortest} s, not {duration_s}")
    rng = clip_rng(seed, 0, split, 2)
    ends_s: list[float] = []
    at_s = 0.0
    # A rest too short for two segments is one segment, at most as long as the longest.
    while duration_s - at_s > longest:
        at_s = round(at_s + float(rng.uniform(shortest, longest)), 3)
        at_s = min(at_s, round(duration_s - shortest, 3))
        ends_s.append(at_s)
    ends_s.append(duration_s)
    return Stream(seed, duration_s, config.size, config.fps, _segments(rng, config, split, ends_s))


def frame_times(stream: Stream, fps: float | None = None) -> npt.NDArray[np.float64]:
    """Return the times of a stream's frames in seconds, float64 [N]."""
    rate = fps or stream.fps
    return np.arange(int(np.ceil(stream.duration_s * rate - 1e-9)), dtype=np.float64) / rate


def frames(
    stream: Stream, fps: float | None = None, size: int | tuple[int, int] | None = None
) -> Iterator[Image]:
    """Yield a stream's frames in order, RGB uint8 [H, W, 3]; `size` as in `render`."""
    times = frame_times(stream, fps)
    for segment in stream.segments:
        inside = times[(times >= segment.start_s) & (times < segment.end_s)]
        # A few frames at a time: a segment at camera size and rate would fill the memory.
        for first in range(0, len(inside), 16):
            yield from render(
                segment.scene, inside[first : first + 16] - segment.start_s, size or stream.size
            )


def sample_stream_clip(
    seed: int, index: int, config: WorldConfig | None = None, split: str = "train"
) -> Clip:
    """Return a window that straddles a change, told by the scene that fills most of it.

    Of T frames 1 to 3 in 8 belong to the other scene, before or after; pure in its arguments like
    `clips.sample_clip`.
    """
    config = config or WorldConfig()
    rng = clip_rng(seed, index, split, 3)
    change_s = round(float(rng.uniform(*config.segment_s)), 3)
    first, second = _segments(rng, config, split, [change_s, change_s + config.segment_s[1]])
    times = window_times(config)
    strangers = 1 + int(rng.random() * max(1, config.frames * 3 // 8))
    second_wins = rng.random() < 0.5
    before = strangers if second_wins else config.frames - strangers
    # The first frame at or after the change is number `before` of the window.
    offset_s = change_s - before / config.fps + float(rng.random()) / config.fps * 0.999
    at = times + max(offset_s, 0.0)
    shown = [
        render(part.scene, at[mask] - part.start_s, config.size)
        for part, mask in ((first, at < change_s), (second, at >= change_s))
        if mask.any()
    ]
    told = second.scene if int((at >= change_s).sum()) * 2 > config.frames else first.scene
    return Clip(np.concatenate(shown), told, caption(told, rng), times)
