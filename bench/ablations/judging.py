"""Figures of a trained variant, on clips of the test split that all variants see alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ... import world
from ...model import checkpoint
from ...model.data import CAPTION_QUERY
from ...model.reference import Reference
from ...model.token_prediction import load_token_predictor
from ...model.token_predictor import token_ids
from ..tasks.answering import answer
from ..tasks.captioning import score_captions
from ..tasks.classification import classify
from ..tasks.context import Context
from ..tasks.judge import Judged
from ..tasks.retrieval import retrieve
from ..tasks.score import Score, score
from .plan import Variant

_CANDIDATES = 100
_BATCH = 32
_SIGMA = 1.96


def judge(
    variant: Variant, folder: Path, config: world.WorldConfig, clips: int, seed: int
) -> dict[str, Score]:
    """The variant's metrics, by name."""
    if variant.objective == "tokens":
        return _generative(*_by_tokens(folder, config, clips, seed), config, seed)
    opened = checkpoint.load(folder)
    reference = Reference(opened.model, opened.tokenizer)
    if "CIDEr" in variant.metrics:
        return _generative(*_by_embedding(reference, config, clips, seed), config, seed)
    c = opened.model.config
    judged = Judged(
        reference, c.name, "PyTorch reference", "fp32", c.image_size, c.frames, c.fps, c.stride
    )
    context = Context(judged, config, clips, seed)
    objects, motions, both, _ = classify(context, ("test",))
    kinds = [row for row in answer(context) if not row.name.startswith("presence, average")]
    return {
        "objects": objects,
        "motions": motions,
        "both": both,
        "retrieval": retrieve(context)[0],
        "vqa": mean_of(kinds),
    }


def mean_of(rows: Sequence[Score]) -> Score:
    """The mean of several figures of independent cases; missing ones don't count."""
    known = [row for row in rows if row.value is not None]
    value = float(np.mean([row.value for row in known]))
    error = float(np.sqrt(sum(standard_error(row) ** 2 for row in known))) / len(known)
    return dataclasses.replace(
        known[0],
        name=f"mean of {len(known)} kinds of question",
        value=value,
        low=value - _SIGMA * error,
        high=value + _SIGMA * error,
        count=sum(row.count for row in known),
        chance=float(np.mean([row.chance or 0.0 for row in known])),
    )


def standard_error(row: Score) -> float:
    """From the width of the 95 % interval."""
    assert row.low is not None and row.high is not None
    return (row.high - row.low) / 2 / _SIGMA


# ---- captions and classification among 100, for both objectives ----

Pictures = npt.NDArray[np.uint8]
Found = tuple[list[world.Scene], list[str], list[bool]]  # scenes, captions, right among 100


def _shown(
    config: world.WorldConfig, clips: int, seed: int
) -> Iterator[tuple[Pictures, list[world.Scene]]]:
    """Test clips in batches: frames uint8 [B,T,H,W,3] and what they show."""
    for begin in range(0, clips, _BATCH):
        batch = [
            world.sample_clip(seed, i, config, split="test")
            for i in range(begin, min(clips, begin + _BATCH))
        ]
        yield np.stack([clip.frames for clip in batch]), [clip.scene for clip in batch]


def candidates(scene: world.Scene, config: world.WorldConfig, number: int) -> list[str]:
    """The right object-motion caption, then 99 others, drawn by the clip's number."""
    right = world.motion_object_caption(scene.object, scene.motion)
    every = [(o, m) for o in config.objects for m in config.motions]
    rng = np.random.default_rng((71, number))
    drawn = (every[int(i)] for i in rng.permutation(len(every))[: 2 * _CANDIDATES])
    texts = dict.fromkeys([right, *(world.motion_object_caption(*pair) for pair in drawn)])
    return list(texts)[:_CANDIDATES]


def _by_embedding(reference: Reference, config: world.WorldConfig, clips: int, seed: int) -> Found:
    scenes: list[world.Scene] = []
    written: list[str] = []
    right: list[bool] = []
    for frames, shown in _shown(config, clips, seed):
        rows = reference.embed_video(frames, CAPTION_QUERY)
        written += reference.decode(rows)
        for row, scene in zip(rows, shown, strict=True):
            texts = reference.embed_text(candidates(scene, config, len(scenes)))
            right.append(int((texts @ row).argmax()) == 0)
            scenes.append(scene)
    return scenes, written, right


def _by_tokens(folder: Path, config: world.WorldConfig, clips: int, seed: int) -> Found:
    model, tokenizer = load_token_predictor(folder)
    limit = model.config.y_encoder.max_tokens
    (query,) = token_ids(tokenizer, [CAPTION_QUERY], model.config.predictor.max_query_tokens)
    scenes: list[world.Scene] = []
    written: list[str] = []
    right: list[bool] = []
    for frames, shown in _shown(config, clips, seed):
        with torch.no_grad():
            visual = model.encode(torch.from_numpy(frames).permute(0, 1, 4, 2, 3))
        written += [tokenizer.decode(ids).strip() for ids in model.generate(visual, query, limit)]
        for clip, scene in zip(visual, shown, strict=True):
            texts = token_ids(tokenizer, candidates(scene, config, len(scenes)), limit)
            right.append(int(model.score(clip[None], query, texts).argmax()) == 0)
            scenes.append(scene)
    return scenes, written, right


def _generative(
    scenes: list[world.Scene],
    written: list[str],
    right: list[bool],
    config: world.WorldConfig,
    seed: int,
) -> dict[str, Score]:
    cider, *_, named = score_captions(written, scenes, config, seed)
    among = score("classification", f"both, among {_CANDIDATES}", right, chance=1 / _CANDIDATES)
    return {"of 100": among, "CIDEr": cider, "captions": named}
