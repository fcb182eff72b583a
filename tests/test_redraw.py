"""Sprites drawn otherwise: the same every time, near the given picture, and only where asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_model import tiny_config
from vljepa_edge.model import encoder_stage
from vljepa_edge.model.config import nano
from vljepa_edge.model.data import WorldBatches
from vljepa_edge.model.encoder_stage import DenseBatches, DenseHeads, train_encoder
from vljepa_edge.model.recipe import EncoderStage, nano_recipe
from vljepa_edge.model.training_log import Log
from vljepa_edge.model.vl_jepa import VLJEPA
from vljepa_edge.world.atlas import mipmaps, sprite
from vljepa_edge.world.redraw import redraw

from vljepa_edge import world


@pytest.mark.parametrize("name", world.OBJECTS[:300:60])
def test_a_redrawn_sprite_is_still_that_sprite(name: str) -> None:
    given = sprite("noto", name)
    drawn = [redraw(given, seed) for seed in range(1, 21)]
    assert all(np.array_equal(drawn[seed - 1], redraw(given, seed)) for seed in (1, 20))
    assert len({one.tobytes() for one in drawn}) == 20
    there = given[:, :, 3] > 128
    overlaps = []
    for one in drawn:
        assert one.shape == given.shape and one.dtype == np.uint8
        now = one[:, :, 3] > 128
        overlaps.append((there & now).sum() / (there | now).sum())
    # Bent and stretched, not elsewhere: what a patch shows is told by the sprite's own place.
    assert min(overlaps) > 0.4 and 0.6 < float(np.mean(overlaps)) < 0.98


def test_colours_stay_what_captions_call_them() -> None:
    """A recoloured sprite is redrawn first and painted then: red stays as red as it was."""
    for colour, rgb in world.COLOURS.items():
        wanted = np.array(rgb, np.float32)
        for seed in (0, 1, 2, 3):
            tile = mipmaps("twemoji", "cup", colour, seed)[0]
            shown = tile[tile[:, :, 3] == 255][:, :3].astype(np.float32)
            assert np.abs(np.median(shown, 0) - wanted).max() < 48, (colour, seed)


def test_only_worlds_that_ask_are_redrawn() -> None:
    config = world.WorldConfig.v2(size=32)
    drawn = world.drawn_world(config, 0.5)
    plain = [world.sample_clip(1, i, config).scene for i in range(60)]
    assert not any(scene.redrawn for scene in plain)
    scenes = [world.sample_clip(1, i, drawn).scene for i in range(60)]
    assert 15 <= sum(scene.redrawn != 0 for scene in scenes) <= 45
    scene = next(scene for scene in scenes if scene.redrawn)
    assert world.Scene.from_dict(scene.to_dict()) == scene
    other = dataclasses.replace(scene, redrawn=0)
    times = np.arange(2) / 8
    assert not np.array_equal(world.render(scene, times, 64), world.render(other, times, 64))
    every = world.drawn_world(config, 1.0, 1.0)
    assert all(world.sample_clip(1, i, every).scene.colour for i in range(10))


def test_training_draws_them_and_benches_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[world.Scene] = []
    for name in ("sample_clip", "sample_image"):
        sample = getattr(world, name)

        def noted(*args, sample=sample):  # type: ignore[no-untyped-def]
            clip = sample(*args)
            seen.append(clip.scene)
            return clip

        monkeypatch.setattr(world, name, noted)
    config = world.WorldConfig.v2(size=32)
    for task in ("image", "query"):
        seen.clear()
        WorldBatches(config, task, 60, 1, 1)[0]  # type: ignore[arg-type]
        assert 6 <= sum(scene.redrawn != 0 for scene in seen) <= 32, task
    seen.clear()
    DenseBatches(_encoder_world(config, monkeypatch), nano(), False, 60, 1, 1)[0]
    assert 30 <= sum(scene.redrawn != 0 for scene in seen) <= 54
    assert world.WorldConfig.v2().p_redrawn == 0


def _encoder_world(config: world.WorldConfig, monkeypatch: pytest.MonkeyPatch) -> world.WorldConfig:
    """The world that the X-Encoder's stage asks for."""
    asked: list[world.WorldConfig] = []

    class Noted(DenseBatches):
        def __init__(self, world_config: world.WorldConfig, *rest: object) -> None:
            asked.append(world_config)
            super().__init__(world_config, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder_stage, "DenseBatches", Noted)
    model, stage = VLJEPA(tiny_config(60, frames=2)), EncoderStage("image", 0, 2, 1e-3)
    heads = DenseHeads(model.config.x_encoder.width, config)
    log = Log(None)
    train_encoder(
        model, heads, config, nano_recipe(), stage, 0, None, lambda *_: None, 1, 0, log, None
    )
    return asked[0]
