"""A motion's label is true of the pixels in any one-second window of its episode."""

import dataclasses

import numpy as np
import pytest
from vljepa_edge.world import MOTIONS_V1, WorldConfig, render, scene_of, window_times
from vljepa_edge.world.background import draw_background
from vljepa_edge.world.scene import Background, Scene, Sensor

SIZE = 128
WINDOW_STARTS_S = (0.0, 0.3, 1.1, 2.45, 4.1)
CLEAN = WorldConfig(
    p_colour=0, p_size=0, p_count=0, p_relation=0, p_distractor=0, p_late_start=0, size=SIZE
)


def clean_scene(motion: str, seed: int) -> Scene:
    """A pencil (long, so that its angle can be seen) over one plain colour, with a still camera."""
    scene = scene_of(np.random.default_rng(seed), CLEAN, "pencil", motion)
    return dataclasses.replace(scene, background=Background("plain", 3), sensor=Sensor(0))


class Seen:
    """What can be measured in a window's pixels, one value per frame (NaN where nothing shows)."""

    def __init__(self, scene: Scene, start_s: float) -> None:
        window = dataclasses.replace(scene, start_s=start_s)
        self.frames = render(window, window_times(CLEAN), SIZE)
        backdrop = draw_background(scene.background, SIZE, SIZE).astype(int)
        difference = np.abs(self.frames.astype(int) - backdrop).max(axis=-1)
        self.contrast = difference.mean(axis=(1, 2))
        self.x, self.y, self.area, self.angle, self.width = (
            np.full(len(difference), np.nan) for _ in range(5)
        )
        self.cut = np.ones(len(difference), bool)
        for i, mask in enumerate(difference > 16):
            self.area[i] = mask.sum()
            ys, xs = np.nonzero(mask)
            if len(xs) < 20:
                continue
            self.x[i], self.y[i] = xs.mean() / SIZE, ys.mean() / SIZE
            self.cut[i] = min(*xs, *ys) == 0 or max(*xs, *ys) == SIZE - 1
            self.width[i] = (xs.max() - xs.min()) / SIZE
            covariance = np.cov(xs, ys)
            main_axis = np.linalg.eigh(covariance)[1][:, 1]
            self.angle[i] = np.degrees(np.arctan2(main_axis[1], main_axis[0]))


def steps(values: np.ndarray, modulo: float | None = None) -> np.ndarray:
    """Differences from frame to frame; with `modulo`, the smallest equivalent ones."""
    difference = np.diff(values)
    if modulo is not None:
        difference = (difference + modulo / 2) % modulo - modulo / 2
    return difference[np.isfinite(difference)]


def mostly(condition: np.ndarray) -> bool:
    """All but two of the steps: an episode may start over within the window."""
    return int(condition.sum()) >= len(condition) - 2 and len(condition) >= 5


def turns(values: np.ndarray) -> int:
    """How often a course changes its direction."""
    signs = np.sign(steps(values))
    signs = signs[signs != 0]
    return int((np.diff(signs) != 0).sum())


def spread(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    return float(np.ptp(seen)) if len(seen) else 0.0


def whole(values: np.ndarray, seen: Seen) -> np.ndarray:
    """The values of the frames in which no edge of the frame cuts the sprite."""
    return values[~seen.cut]


CHECKS = {
    "left": lambda s: mostly(steps(s.x) < -0.01) and spread(whole(s.y, s)) < 0.03,
    "right": lambda s: mostly(steps(s.x) > 0.01) and spread(whole(s.y, s)) < 0.03,
    "up": lambda s: mostly(steps(s.y) < -0.01) and spread(whole(s.x, s)) < 0.03,
    "down": lambda s: mostly(steps(s.y) > 0.01) and spread(whole(s.x, s)) < 0.03,
    "clockwise": lambda s: (steps(s.angle, 180) > 5).all() and spread(s.x) < 0.04,
    "counterclockwise": lambda s: (steps(s.angle, 180) < -5).all() and spread(s.x) < 0.04,
    "grow": lambda s: mostly(steps(s.area) > 0) and np.abs(steps(s.angle, 180)).max() < 4,
    "shrink": lambda s: mostly(steps(s.area) < 0) and np.abs(steps(s.angle, 180)).max() < 4,
    "bounce": lambda s: spread(s.y) > 0.1 and spread(s.x) < 0.02 and turns(s.y) >= 1,
    "sway": lambda s: spread(s.x) > 0.15 and spread(s.y) < 0.02 and turns(s.x) >= 1,
    "rock": lambda s: (
        spread(s.x) < 0.04 and np.ptp(np.cumsum(steps(s.angle, 180))) > 30 and turns(s.angle) >= 1
    ),
    "circle": lambda s: (
        spread(s.x) > 0.12 and spread(s.y) > 0.12 and np.hypot(steps(s.x), steps(s.y)).min() > 0.04
    ),
    "zigzag": lambda s: (
        (mostly(steps(s.x) > 0.01) or mostly(steps(s.x) < -0.01))
        and turns(s.y) >= 2
        and spread(s.y) > 0.1
    ),
    "shake": lambda s: (
        0.01 < spread(s.x) < 0.13
        and np.hypot(steps(s.x), steps(s.y)).mean() > 0.012
        and turns(s.x) + turns(s.y) >= 4
    ),
    "blink": lambda s: (s.area == 0).any() and (s.area > 100).any(),
    "flip": lambda s: spread(s.width) > 0.1 and spread(s.x) < 0.04 and turns(s.width) >= 1,
    "pulse": lambda s: np.nanmax(s.area) > 1.6 * np.nanmin(s.area) and turns(s.area) >= 1,
    "still": lambda s: (s.frames == s.frames[0]).all(),
    "fade in": lambda s: mostly(steps(s.contrast) > 0),
    "fade out": lambda s: mostly(steps(s.contrast) < 0),
}


def test_every_motion_has_a_check() -> None:
    assert set(CHECKS) == set(MOTIONS_V1)


@pytest.mark.parametrize("motion", MOTIONS_V1)
def test_label_is_true_in_any_window(motion: str) -> None:
    for seed in range(6):
        scene = clean_scene(motion, seed)
        for start_s in WINDOW_STARTS_S:
            assert CHECKS[motion](Seen(scene, start_s)), (motion, seed, start_s, scene.drive)


@pytest.mark.parametrize("motion", ["left", "clockwise", "grow", "bounce", "still", "fade in"])
def test_checks_tell_motions_apart(motion: str) -> None:
    """The checks above mean something: other motions fail them."""
    others = [m for m in ("right", "counterclockwise", "shrink", "sway", "fade out") if m != motion]
    for other in others:
        assert not CHECKS[motion](Seen(clean_scene(other, 1), 0.0)), (motion, other)


def test_object_stays_in_view() -> None:
    """Something shows in every frame, but where fading and blinking hide it."""
    for motion in set(MOTIONS_V1) - {"blink", "fade in", "fade out"}:
        for seed in range(6):
            seen = Seen(clean_scene(motion, seed), 1.7)
            assert (seen.area > 15).all(), (motion, seed)
