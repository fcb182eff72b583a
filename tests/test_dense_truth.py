"""The truth of every patch, and the X-Encoder's training on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vljepa_edge.model.config import nano
from vljepa_edge.model.encoder_stage import IGNORE, DenseBatches, DenseHeads, head_sizes

from vljepa_edge import world

CONFIG = world.WorldConfig()
PLAIN = world.WorldConfig(
    p_colour=0, p_size=0, p_count=0, p_relation=0, p_distractor=0, p_noise=0, p_gain=0,
    p_camera_shake=0, p_late_start=0,
)  # fmt: skip


def test_owner_is_where_the_pixels_change_with_the_object() -> None:
    """Patches of the main object are those that differ between two objects at the same place."""
    agreed = total = 0
    for index in range(40):
        clip = world.sample_clip(5, index, PLAIN)
        if clip.scene.motion in ("blink", "fade in", "fade out", "shake", "flip"):
            continue
        truth = world.patch_truth(clip.scene, clip.times_s, 8)
        empty = world.render(_without_object(clip.scene), clip.times_s + 0.0, CONFIG.size).astype(
            int
        )
        changed = np.abs(clip.frames.astype(int) - empty).max(-1) > 24
        pairs = changed.reshape(4, 2, 8, 16, 8, 16).mean((1, 3, 5))
        sure = (pairs > 0.6) | (pairs < 0.02)
        agreed += int(((pairs > 0.6) == (truth.owner == 1))[sure].sum())
        total += int(sure.sum())
    assert total > 3000
    assert agreed / total > 0.97


def _without_object(scene: world.Scene) -> world.Scene:
    import dataclasses

    return dataclasses.replace(scene, diameter=1e-6)


@pytest.mark.parametrize(
    ("motion", "rate", "sign"),
    [
        ("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1), ("grow", 2, 1),
        ("shrink", 2, -1), ("clockwise", 3, 1), ("counterclockwise", 3, -1),
        ("fade in", 4, 1), ("fade out", 4, -1),
    ],
)  # fmt: skip
def test_rates_tell_the_motion(motion: str, rate: int, sign: int) -> None:
    rng = np.random.default_rng(1)
    scene = world.scene_of(rng, PLAIN, "cat", motion)
    rates = world.patch_truth(scene, world.window_times(PLAIN), 8).rates
    others = np.delete(rates, rate, 1)
    # A saw-tooth starts over at most once in a window.
    assert (np.sign(rates[:, rate]) == sign).sum() >= 3
    assert np.abs(others).max() < 1e-6


def test_a_ragged_clip_is_refused() -> None:
    scene = world.sample_clip(1, 1, CONFIG).scene
    with pytest.raises(ValueError, match="7 frames are no multiple of the tubelet 2"):
        world.patch_truth(scene, np.arange(7) / 8, 8)


def test_labels_are_those_of_the_scene() -> None:
    batches = DenseBatches(CONFIG, nano(), True, 24, 3, 1)
    batch = batches[0]
    sizes = list(head_sizes(CONFIG).values())
    assert batch.frames.shape == (24, 8, 3, 128, 128) and batch.labels.shape == (24, 256, 6)
    for index in range(24):
        scene = batches.clip(index).scene
        main = batch.labels[index][~batch.rates[index].isnan().any(1)]
        assert len(main) > 0
        assert set(main[:, 0].tolist()) == {1 + CONFIG.objects.index(scene.object)}
        assert set(main[:, 1].tolist()) == {CONFIG.motions.index(scene.motion)}
        assert set(main[:, 3].tolist()) == {scene.count - 1}
    for head, size in enumerate(sizes):
        labels = batch.labels[:, :, head]
        assert int(labels.max()) < size and int(labels[labels != IGNORE].min()) >= 0
    image = DenseBatches(CONFIG, nano(), False, 4, 3, 1)[0]
    assert image.frames.shape[1] == 2 and image.labels.shape == (4, 64, 6)
    assert bool((image.labels[:, :, 1] == IGNORE).all()) and bool(image.rates.isnan().all())


def test_a_second_group_is_counted_too() -> None:
    """Tokens of a group beside the main one tell how many that group has; state clips are in."""
    in_place = ("still", "rock", "grow", "shrink")
    config = world.WorldConfig.v2(
        size=64, p_occluder=0.0, p_count=1.0, p_group=1.0, motions=in_place
    )
    batches = DenseBatches(config, nano(), True, 60, 3, 1)
    labels, groups, states = batches[0].labels, 0, 0
    for index in range(60):
        clip = batches.clip(index)
        scene = clip.scene
        states += len(set(clip.times_s.tolist())) == 2
        group = {thing.object for thing in scene.distractors} - {scene.object}
        if len(scene.distractors) < 2 or len(group) != 1:
            continue
        rows = labels[index][labels[index][:, 0] == 1 + config.objects.index(group.pop())]
        if len(rows):
            groups += 1
            assert set(rows[:, 3].tolist()) == {len(scene.distractors) - 1}, index
    assert groups >= 5 and 2 <= states <= 15


def test_heads_learn_from_their_truth() -> None:
    """Tokens that hold the labels as one-hot values: the linear layer must come to read them."""
    torch.manual_seed(0)
    batch = DenseBatches(CONFIG, nano(), True, 8, 3, 1)[0]
    tokens = torch.zeros(8, 256, 192)
    objects = batch.labels[:, :, 0].long().clamp(min=0)
    tokens.scatter_(2, objects[..., None], 4.0)
    heads = DenseHeads(192, CONFIG)
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.05)
    accuracy = 0.0
    for step in range(40):
        loss, right = heads(tokens, batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = right[0]
    assert accuracy > 0.95
