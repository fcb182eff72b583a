"""Label texts: their truth, their loss, and what rows of training batches tell by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import tiny_config, tiny_world
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.losses import NO_LABEL, of_labels
from vljepa_edge.model.predictor import Predictor
from vljepa_edge.model.recipe import TextStage
from vljepa_edge.model.reference import Reference
from vljepa_edge.model.text_stage import train_text
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.vl_jepa import VLJEPA

from vljepa_edge import world


def test_labels_are_what_captions_say() -> None:
    for config in (world.WorldConfig(), world.WorldConfig.v2()):
        texts = world.label_texts(config)
        assert tuple(texts) == world.LABEL_KINDS
        assert all(len(set(kind)) == len(kind) for kind in texts.values())
        rng = np.random.default_rng(3)
        for _ in range(300):
            scene = world.sample_scene(rng, config, split="train")
            told = {
                kind: None if label is None else texts[kind][label]
                for kind, label in world.labels_of(scene, config).items()
            }
            caption = world.canonical_caption(scene)
            noun = str(told["object"]).split(" ", 1)[1]
            assert (world.plural(noun) if scene.count > 1 else noun) in caption
            if scene.count > 1:
                assert str(told["count"]) in caption
            elif not world.is_event_of_two(scene.motion):
                assert caption.endswith(str(told["motion"]).removeprefix("it "))
            for kind in ("colour", "size"):
                assert told[kind] is None or str(told[kind]) in caption


@given(st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_label_loss_against_float64(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def unit(rows: int) -> np.ndarray:
        values = rng.standard_normal((rows, 6))
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))

    rows, kinds, weights = unit(count), [unit(5), unit(3)], [1.0, 0.25]
    labels = np.stack([rng.integers(-1, len(kind), count) for kind in kinds], 1)
    expected = 0.0
    for kind, vocabulary in enumerate(kinds):
        known = labels[:, kind] >= 0
        if known.any():
            logits = np.exp(1.5) * rows[known] @ vocabulary.T
            right = logits[np.arange(known.sum()), labels[known, kind]]
            expected += weights[kind] * float((np.log(np.exp(logits).sum(1)) - right).mean())
    found = of_labels(
        torch.tensor(rows).float(),
        torch.tensor(np.where(labels < 0, NO_LABEL, labels)),
        [torch.tensor(kind).float() for kind in kinds],
        weights,
        torch.tensor(1.5),
    )
    assert abs(float(found) - expected) < 1e-4


def test_rows_are_labelled_by_what_they_ask() -> None:
    """Captions by all that is known, questions by what they ask; pictures tell no motion."""
    config = tiny_world()
    singular = {noun: i for i, noun in enumerate(config.objects)}
    plural = {world.plural(noun): i for i, noun in enumerate(config.objects)}
    objects, motions = (world.LABEL_KINDS.index(kind) for kind in ("object", "motion"))
    batch = WorldBatches(config, "query", 40, 1, 1, 3)[0]
    asked = 0
    for query, text, row in zip(batch.queries, batch.texts, batch.labels.tolist(), strict=True):
        if query in world.CAPTION_QUERIES:
            assert row[objects] >= 0 and row[motions] >= 0
        elif query in ("which object is it?", "what is it?", "name the object"):
            asked += 1
            noun = text.split(" ", 1)[-1] if text.startswith(("a ", "an ")) else text
            assert row[objects] == {**plural, **singular}[noun]
            assert row[motions] == NO_LABEL
        elif query.startswith(("is there", "how many", "what colour")):
            assert set(row) == {NO_LABEL}
    assert asked > 3
    picture = WorldBatches(config, "image", 8, 1, 1, 1)[0]
    assert set(picture.labels[:, motions].tolist()) == {NO_LABEL}


def test_the_text_stage_puts_captions_near_their_labels() -> None:
    torch.manual_seed(3)
    config = tiny_world()
    tokenizer = train_tokenizer(corpus(config, 1, 500), 400)
    rng = np.random.default_rng(9)
    scenes = [world.sample_scene(rng, config, split="train") for _ in range(200)]
    right = [world.labels_of(scene, config)["motion"] for scene in scenes]

    def found(weight: float) -> float:
        torch.manual_seed(3)
        model = VLJEPA(tiny_config())
        train_text(model.train(), tokenizer, config, TextStage(60, 64, 3e-3, weight), 1)
        reference = Reference(model, tokenizer)
        captions = reference.embed_text([world.canonical_caption(scene) for scene in scenes])
        labels = reference.embed_text(world.label_texts(config)["motion"])
        return float(((captions @ labels.T).argmax(1) == right).mean())

    assert found(1.0) > found(0.0) + 0.1


def test_a_predictor_that_sees_some_tokens_leaves_them_in_their_places() -> None:
    torch.manual_seed(4)
    config = tiny_config()
    predictor = Predictor(config).eval()
    with torch.no_grad():  # new weights hardly look at where a token stands
        for weight in predictor.layers.parameters():
            weight.mul_(6 if weight.ndim == 2 else 1)
    tokens = config.visual_tokens
    visual = torch.randn(2, tokens, config.x_encoder.width)
    query = torch.randn(2, 5, config.predictor.transformer.width)
    mask = torch.ones(2, 5)
    whole = predictor(visual, query, mask)
    torch.testing.assert_close(predictor(visual, query, mask, torch.arange(tokens)), whole)
    # Rotary positions are relative: what is left of a prefix alone stands as near to the query.
    late = torch.arange(tokens // 2, tokens)
    alone = predictor(visual[:, late], query, mask)
    torch.testing.assert_close(predictor(visual, query, mask, late), alone, atol=1e-5, rtol=1e-4)
    first = predictor(visual, query, mask, torch.arange(tokens // 2))
    cosine = F.cosine_similarity(first, predictor(visual[:, : tokens // 2], query, mask))
    assert bool((cosine < 1 - 1e-4).all())  # further from the query than if nothing were between


def test_the_query_stage_shows_more_of_what_is_rare() -> None:
    """Scenes to count and to place, slow cameras, and clips of two pictures; other stages: none."""
    config = world.WorldConfig.v2()
    rng = np.random.default_rng(5)

    def share(of: world.WorldConfig, wanted: Callable[[world.Scene], bool]) -> float:
        return float(
            np.mean([wanted(world.sample_scene(rng, of, split="train")) for _ in range(200)])
        )

    assert share(world.counted_world(config), lambda s: s.count + len(s.distractors) > 1) > 0.8
    assert share(world.placed_world(config), lambda s: s.relation is not None) > 0.95
    assert not world.placed_world(world.WorldConfig.v2(motions=("orbit",))).motions
    eight = world.WorldConfig.v2(size=32)
    for task, least, most in (("query", 0.08, 0.34), ("video", 0.0, 0.03)):
        # Frames of a camera with noise are equal only where they are held.
        noisy = dataclasses.replace(eight, p_noise=1.0)
        frames = WorldBatches(noisy, task, 100, 1, 1)[0].frames.flatten(2)  # type: ignore[arg-type]
        twice = (frames[:, 0] == frames[:, 1]).all(1)
        halves = (
            twice & (frames[:, 0] == frames[:, 3]).all(1) & (frames[:, 4] == frames[:, 7]).all(1)
        )
        assert least <= float(twice.float().mean()) <= most
        assert bool(halves.any()) == (task == "query")
