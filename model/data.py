"""Training batches from sprite world, each a pure function of (seed, stage, step)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .. import world
from .drawing_ahead import drawn_ahead
from .losses import NO_LABEL

Pixels = npt.NDArray[np.uint8]
Task = Literal["image", "video", "query"]
CAPTION_QUERY = "what is happening?"
WRONG_MOTIONS = 2
WRONG_ANSWERS = 3
# How often a kind of question is drawn; objects and what is easily confused come up more often.
_KIND_WEIGHT = {
    "object": 3.0,
    "motion": 2.5,
    "presence": 2.0,
    "count": 2.5,
    "complex count": 5.0,
    "colour": 1.0,
    "size": 0.7,
    "relation": 4.0,
    "role": 2.0,
    "next": 1.0,
}
# Shares of the query stage's clips: at a half or a quarter of the frame rate; of two pictures, the
# state before and the one after; of scenes that are made to be counted, and to be told where things
# are. Of all stages' clips and pictures: those that are drawn otherwise.
_SLOW_SHARE = 0.12
_STATES_SHARE = 0.2
_COUNTED_SHARE = 0.18
_PLACED_SHARE = 0.12
_REDRAWN_SHARE = 0.3
# Kinds of questions whose answer is a label text, or says the same.
_LABELLED = frozenset({"object", "motion"})
_OF_MOTION = frozenset({"motion", "next", "role"})


@dataclass
class Batch:
    """`frames` uint8 [B,T,3,H,W] and R rows: a query, its target text, and which clip it asks.

    `written` [R] is each row's text as the Y-Decoder should write it, which tells a meaning in one
    way alone. `clips` int64 [R]; `keys` int64 [R] tell which rows mean the same; `negatives` are
    wrong texts [X] with their keys. `labels` int64 [R,kinds] tell a row's label text of each kind
    among the whole vocabularies `label_texts`, or `NO_LABEL`.
    """

    frames: Tensor
    clips: Tensor
    queries: list[str]
    texts: list[str]
    written: list[str]
    keys: Tensor
    negatives: list[str]
    negative_keys: Tensor
    labels: Tensor
    label_texts: tuple[tuple[str, ...], ...]


def meaning(query_kind: str, canonical: str) -> int:
    """A 63-bit key of a meaning: two texts with one key are no negatives of each other."""
    digest = hashlib.blake2b(f"{query_kind}|{canonical}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def label_row(
    scene: world.Scene, config: world.WorldConfig, kinds: Sequence[str] = world.LABEL_KINDS
) -> list[int]:
    """The scene's labels of some kinds, `NO_LABEL` for the others."""
    known = world.labels_of(scene, config)
    told = (known[kind] if kind in kinds else None for kind in world.LABEL_KINDS)
    return [NO_LABEL if label is None else label for label in told]


def variants(
    scene: world.Scene, config: world.WorldConfig, rng: np.random.Generator, motions: int
) -> Iterator[world.Scene]:
    """Scenes that differ in one thing: the object, what triplets replace and swap, and `motions`
    other motions. They are for texts: nothing is laid out anew."""
    yield dataclasses.replace(scene, object=world.pick(rng, config.objects))
    for kind in world.TRIPLET_KINDS:
        changed = world.change_one(rng, scene, kind, config)
        if changed is not None:
            yield changed
    for i in rng.permutation(len(config.motions))[:motions]:
        motion = config.motions[int(i)]
        if scene.other is not None or not world.is_event_of_two(motion):
            yield dataclasses.replace(scene, motion=motion)


def held(frames: Pixels, times: int) -> Pixels:
    """uint8 [T,H,W,3] as a camera of a lower rate shows it: each frame `times` times."""
    return frames[np.arange(len(frames)) // times * times]


class WorldBatches(Dataset[Batch]):
    """Batch `step` of a stage: each of `batch` clips has its caption and `questions` questions."""

    def __init__(
        self,
        config: world.WorldConfig,
        task: Task,
        batch: int,
        seed: int,
        steps: int,
        questions: int = 0,
        stream_share: float = 0.2,
    ) -> None:
        self.config, self.task, self.batch, self.seed, self.steps = config, task, batch, seed, steps
        self.questions, self.stream_share = questions, stream_share
        self.drawn = world.drawn_world(config, _REDRAWN_SHARE)
        emphases = (world.counted_world(self.drawn), world.placed_world(self.drawn))
        self.counted, self.placed = (one if one.motions else self.drawn for one in emphases)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, len(self.task), step))
        frames = []
        clips: list[int] = []
        queries: list[str] = []
        texts: list[str] = []
        written: list[str] = []
        keys: list[int] = []
        labels: list[list[int]] = []
        wrong: dict[str, int] = {}
        told = [k for k in world.LABEL_KINDS if self.task != "image" or k != "motion"]
        for i in range(self.batch):
            clip = self._clip(step * self.batch + i, rng)
            frames.append(self._shown(clip.frames, rng))
            queries.append(self._caption_query(rng))
            texts.append(self._caption(clip.scene, rng))
            written.append(self._canonical(clip.scene))
            keys.append(meaning("caption", written[-1]))
            labels.append(label_row(clip.scene, self.config, told))
            for scene in variants(clip.scene, self.config, rng, self._wrong_motions()):
                wrong[self._caption(scene, rng)] = meaning("caption", self._canonical(scene))
            for question in self._questions(clip.scene, rng):
                queries.append(question.query)
                texts.append(question.answer)
                written.append(question.answer)
                keys.append(meaning("answer", question.answer))
                kinds = [question.kind] if question.kind in _LABELLED else []
                labels.append(label_row(clip.scene, self.config, kinds))
                others = [text for text in question.candidates if text != question.answer]
                for j in rng.permutation(len(others))[:WRONG_ANSWERS]:
                    wrong[others[int(j)]] = meaning("answer", others[int(j)])
            clips += [i] * (len(texts) - len(clips))
        for text in texts:
            wrong.pop(text, None)
        video = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).contiguous()
        if self.task == "image":  # an image is one frame repeated to a whole tubelet
            video = video.repeat_interleave(2, 1)
        return Batch(
            video,
            torch.tensor(clips),
            queries,
            texts,
            written,
            torch.tensor(keys),
            list(wrong),
            torch.tensor(list(wrong.values()), dtype=torch.int64),
            torch.tensor(labels),
            tuple(world.label_texts(self.config).values()),
        )

    def _clip(self, index: int, rng: np.random.Generator) -> world.Clip:
        if self.task == "image":
            return world.sample_image(self.seed, index, self.drawn)
        if rng.random() < self.stream_share:
            return world.sample_stream_clip(self.seed, index, self.drawn)
        if self.task != "query":
            return world.sample_clip(self.seed, index, self.drawn)
        draw = rng.random()
        if draw < _STATES_SHARE and world.has_states(self.config):
            return world.sample_state_clip(self.seed, index, self.drawn)
        draw -= _STATES_SHARE
        config = self.drawn
        if 0 <= draw < _COUNTED_SHARE:
            config = self.counted
        elif 0 <= draw < _COUNTED_SHARE + _PLACED_SHARE:
            config = self.placed
        return world.sample_clip(self.seed, index, config)

    def _shown(self, frames: Pixels, rng: np.random.Generator) -> Pixels:
        """Frames as the query stage shows them: mostly all, some held as slow cameras do."""
        draw = rng.random() if self.task == "query" else 1.0
        if draw < _SLOW_SHARE:
            return held(frames, 2 ** int(rng.integers(1, 3)))
        return frames

    def _caption_query(self, rng: np.random.Generator) -> str:
        if self.questions and rng.random() < 0.3:
            return str(rng.choice(world.CAPTION_QUERIES))
        return CAPTION_QUERY

    def _questions(self, scene: world.Scene, rng: np.random.Generator) -> list[world.Question]:
        """Some of a scene's questions, of different kinds; a picture isn't asked for motion."""
        if not self.questions:
            return []
        left = [q for q in world.questions(scene, rng, self.config) if q.kind in _KIND_WEIGHT]
        if self.task == "image":
            left = [q for q in left if q.kind not in _OF_MOTION]
        weights = np.array([_KIND_WEIGHT[q.kind] for q in left])
        count = min(self.questions, len(left))
        drawn = rng.choice(len(left), count, replace=False, p=weights / weights.sum())
        return [left[int(i)] for i in drawn]

    def _wrong_motions(self) -> int:
        # In a batch nearly every negative shows another object; motions need their own.
        return 0 if self.task == "image" else WRONG_MOTIONS

    def _caption(self, scene: world.Scene, rng: np.random.Generator) -> str:
        make = world.image_caption if self.task == "image" else world.caption
        return make(scene, rng)

    def _canonical(self, scene: world.Scene) -> str:
        if self.task == "image":
            return world.canonical_image_caption(scene)
        return world.canonical_caption(scene)


def batches(dataset: WorldBatches, start: int, workers: int) -> Iterator[Batch]:
    """Batches `start`, `start + 1`, ... rendered ahead by worker processes."""
    return drawn_ahead(dataset, range(start, len(dataset)), workers)


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
    """`count` sentences of each kind (captions, image captions, answers, question words, words
    held out from captions), without pixels."""
    rng = np.random.default_rng((seed, 77))
    for i in range(count):
        scene = world.sample_scene(rng, config, split="train")
        yield world.caption(scene, rng)
        yield world.image_caption(scene, rng)
        yield world.canonical_caption(scene)
        yield QUESTION_WORDS[i % len(QUESTION_WORDS)]
        for question in world.questions(scene, rng, config)[:4]:
            yield question.query
        if config.version > 1:
            yield world.held_out_caption(scene) or ""
