"""Samples for training and evaluation: pure functions of (seed, index, config, split)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .captions import caption, image_caption
from .placing import pick
from .render import Image, render
from .sampling import SPLITS, sample_scene
from .scene import Scene, WorldConfig

# What a single frame is taken from: motions that keep the object whole and in view.
_IMAGE_MOTIONS = ("still", "still", "still", "clockwise", "grow", "rock")


@dataclass(frozen=True)
class Clip:
    """A short clip: `frames` RGB uint8 [T, H, W, 3] at `times_s` float64 [T], with its truth."""

    frames: Image
    scene: Scene
    caption: str
    times_s: npt.NDArray[np.float64]


def clip_rng(seed: int, index: int, split: str, purpose: int) -> np.random.Generator:
    """Return one sample's generator; splits and purposes (clip, image, ...) never share one."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    return np.random.default_rng((purpose, SPLITS.index(split), seed, index))


def window_times(config: WorldConfig) -> npt.NDArray[np.float64]:
    """Return the times of one window's frames in seconds, float64 [frames], from 0."""
    return np.arange(config.frames, dtype=np.float64) / config.fps


def sample_clip(
    seed: int, index: int, config: WorldConfig | None = None, split: str = "train"
) -> Clip:
    """Return clip `index` of a split: one scene over one window, with a random phrasing."""
    config = config or WorldConfig()
    rng = clip_rng(seed, index, split, 0)
    scene = sample_scene(rng, config, split=split)
    times = window_times(config)
    return Clip(render(scene, times, config.size), scene, caption(scene, rng), times)


def sample_image(
    seed: int, index: int, config: WorldConfig | None = None, split: str = "train"
) -> Clip:
    """Return a single frame (T = 1) and a caption that tells no motion: "a red apple"."""
    config = config or WorldConfig()
    rng = clip_rng(seed, index, split, 1)
    # A picture shows no motion, so held-out pairs mean nothing here.
    motion = pick(rng, _IMAGE_MOTIONS)
    still = dataclasses.replace(
        config, motions=(motion,), held_out_pair_share=0.0, p_late_start=1.0
    )
    scene = sample_scene(rng, still, split="train" if split == "pairs" else split)
    times = np.zeros(1)
    return Clip(render(scene, times, config.size), scene, image_caption(scene, rng), times)
