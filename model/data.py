"""Training batches from sprite world, each a pure function of (seed, stage, step)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .. import world

Task = Literal["image", "video", "query"]
CAPTION_QUERY = "what is happening?"
WRONG_MOTIONS = 3
# Questions about the motion are asked more often: nothing else is as hard to see.
MOTION_SHARE = 0.35


@dataclass
class Batch:
    """`frames` uint8 [B,T,3,H,W]; one query and one target text per row.

    `keys` int64 [B] tell which rows mean the same; `negatives` are wrong texts [X] with their keys.
    """

    frames: Tensor
    queries: list[str]
    texts: list[str]
    keys: Tensor
    negatives: list[str]
    negative_keys: Tensor


def meaning(query_kind: str, canonical: str) -> int:
    """A 63-bit key of a meaning: two texts with one key are no negatives of each other."""
    digest = hashlib.blake2b(f"{query_kind}|{canonical}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class WorldBatches(Dataset[Batch]):
    """Batch `step` of a stage; in "query" batches `caption_share` of the rows are captions."""

    def __init__(
        self,
        config: world.WorldConfig,
        task: Task,
        batch: int,
        seed: int,
        steps: int,
        caption_share: float = 0.4,
        stream_share: float = 0.2,
    ) -> None:
        self.config, self.task, self.batch, self.seed, self.steps = config, task, batch, seed, steps
        self.caption_share, self.stream_share = caption_share, stream_share

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, len(self.task), step))
        frames, queries, texts, keys = [], [], [], []
        negatives, negative_keys = [], []
        for i in range(self.batch):
            clip = self._clip(step * self.batch + i, rng)
            query, text, kind, canonical = self._target(clip, rng)
            frames.append(clip.frames)
            queries.append(query)
            texts.append(text)
            keys.append(meaning(kind, canonical))
            if kind == "caption":
                for scene in self._wrong(clip.scene, rng):
                    negatives.append(self._caption(scene, rng))
                    negative_keys.append(meaning(kind, self._canonical(scene)))
        video = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).contiguous()
        if self.task == "image":  # an image is one frame repeated to a whole tubelet
            video = video.repeat_interleave(2, 1)
        return Batch(
            video, queries, texts, torch.tensor(keys), negatives, torch.tensor(negative_keys)
        )

    def _clip(self, index: int, rng: np.random.Generator) -> world.Clip:
        if self.task == "image":
            return world.sample_image(self.seed, index, self.config)
        if rng.random() < self.stream_share:
            return world.sample_stream_clip(self.seed, index, self.config)
        return world.sample_clip(self.seed, index, self.config)

    def _target(self, clip: world.Clip, rng: np.random.Generator) -> tuple[str, str, str, str]:
        """(query, target text, kind, canonical text)."""
        if self.task != "query" or rng.random() < self.caption_share:
            query = CAPTION_QUERY
            if self.task == "query" and rng.random() < 0.3:
                query = str(rng.choice(world.CAPTION_QUERIES))
            return query, self._caption(clip.scene, rng), "caption", self._canonical(clip.scene)
        questions = [q for q in world.questions(clip.scene, rng) if q.kind != "caption"]
        if rng.random() < MOTION_SHARE:
            questions = [q for q in questions if q.kind == "motion"]
        question = questions[int(rng.integers(len(questions)))]
        return question.query, question.answer, question.kind, question.answer

    def _caption(self, scene: world.Scene, rng: np.random.Generator) -> str:
        make = world.image_caption if self.task == "image" else world.caption
        return make(scene, rng)

    def _canonical(self, scene: world.Scene) -> str:
        if self.task == "image":
            return world.canonical_image_caption(scene)
        return world.canonical_caption(scene)

    def _wrong(self, scene: world.Scene, rng: np.random.Generator) -> Iterator[world.Scene]:
        """Scenes that differ in one thing: another object, another motion, another colour."""
        other = self.config.objects[int(rng.integers(len(self.config.objects)))]
        yield dataclasses.replace(scene, object=other)
        if self.task != "image":
            # In a batch nearly every negative shows another object; motions need their own.
            for i in rng.permutation(len(self.config.motions))[:WRONG_MOTIONS]:
                yield dataclasses.replace(scene, motion=self.config.motions[int(i)])
        if scene.colour is not None:
            colours = list(world.COLOURS)
            yield dataclasses.replace(scene, colour=colours[int(rng.integers(len(colours)))])


def batches(dataset: WorldBatches, start: int, workers: int) -> Iterator[Batch]:
    """Batches `start`, `start + 1`, ... rendered ahead by worker processes."""
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, len(dataset)),
        num_workers=workers,
        prefetch_factor=3 if workers else None,
    )
    return iter(loader)


# What people ask, for the tokenizer's corpus: captions alone have no question words.
QUESTION_WORDS = (
    "what is happening?",
    "describe the video",
    "which object is it? it is a",
    "how does it move? it moves",
    "what colour is it? what color is the",
    "what size is it? how big is the",
    "how many are there? there are",
    "where is the, is there a, yes, no, none",
    "what does the do? what happens next, before, after, then",
)


def corpus(config: world.WorldConfig, seed: int, count: int) -> Iterator[str]:
    """`count` sentences of each kind (captions, image captions, question words), without pixels."""
    rng = np.random.default_rng((seed, 77))
    for i in range(count):
        scene = world.sample_scene(rng, config, split="train")
        yield world.caption(scene, rng)
        yield world.image_caption(scene, rng)
        yield world.canonical_caption(scene)
        yield QUESTION_WORDS[i % len(QUESTION_WORDS)]
