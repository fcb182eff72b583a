"""The Y-Decoder's own stage: which embeddings it reads, what it is to write, what it moves."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import tiny_training
import torch
from torch import Tensor
from vljepa_edge.model import decoder_stage
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.recipe import DecoderStage, Recipe
from vljepa_edge.model.reference import Reference
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.training_log import Log
from vljepa_edge.model.vl_jepa import VLJEPA

from vljepa_edge import world

STEPS, TEXTS, CLIPS = 2, 5, 3


def recipe(clips: int) -> Recipe:
    return Recipe(
        text=tiny_training.tiny_recipe().text,
        encoder=(),
        stages=(),
        decoder=DecoderStage(STEPS, TEXTS, 1e-3, 0.5, clips),
        seed=4,
    )


@pytest.mark.parametrize("clips", [0, CLIPS])
def test_it_reads_noisy_texts_and_predicted_clips(
    clips: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    model = VLJEPA(tiny_training.tiny_config())
    tokenizer = train_tokenizer(corpus(tiny_training.tiny_world(), 1, 50), 400)
    before = copy.deepcopy(model.state_dict())
    seen: list[tuple[Tensor, list[str]]] = []
    loss_of = decoder_stage._decoder_loss

    def noted(model: VLJEPA, tokenizer: object, embedding: Tensor, targets: list[str]) -> Tensor:
        seen.append((embedding, targets))
        return loss_of(model, tokenizer, embedding, targets)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder_stage, "_decoder_loss", noted)
    given, config = recipe(clips), tiny_training.tiny_world()
    log = tmp_path / "log.csv"
    decoder_stage.train_decoder(
        model.train(), tokenizer, config, given, 0, None, lambda *_: None, 100, 0, Log(log), None
    )
    moved = {
        k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])
    }
    assert moved == {"y_decoder"}
    assert log.read_text(encoding="utf-8").splitlines()[-1].startswith("decoder,2,")
    reference = Reference(model, tokenizer)
    for step, (embedding, targets) in enumerate(seen):
        rng = np.random.default_rng((given.seed, 991, step))
        sources, written = decoder_stage.decoder_texts(config, rng, TEXTS)
        assert targets[:TEXTS] == written
        cosines = (reference.embed_text(sources) * embedding[:TEXTS].numpy()).sum(1)
        assert (cosines > 0.8).all() and (cosines < 0.9999).any()
        if not clips:
            assert len(targets) == len(embedding) == TEXTS
            continue
        batch = WorldBatches(config, "query", clips, given.seed + 1, STEPS, 1)[step]
        assert targets[TEXTS:] == batch.written and len(embedding) == len(targets)
        frames = batch.frames.permute(0, 1, 3, 4, 2).numpy()[batch.clips.numpy()]
        asked = [[query] for query in batch.queries]
        expected = np.concatenate(reference.embed_queries(frames, asked))
        np.testing.assert_allclose(embedding[TEXTS:].numpy(), expected, atol=0.03)


def test_what_is_to_be_written_tells_a_meaning_in_one_way() -> None:
    config = tiny_training.tiny_world()
    batch = WorldBatches(config, "query", 30, 1, 1, 2)[0]
    canonical = set()
    for text, written, clip, query in zip(
        batch.texts, batch.written, batch.clips.tolist(), batch.queries, strict=True
    ):
        assert 0 <= clip < 30
        if query in (*world.CAPTION_QUERIES, "what is happening?"):
            canonical.add(written)
            told = world.read_caption(written, config.objects, config.motions)
            assert told == world.read_caption(text, config.objects, config.motions)
        else:
            assert written == text
    assert len(canonical) > 15
