"""Asks about a scene: questions with the true answer and the candidates to choose it from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .captions import caption, motion_object_caption
from .placing import pick
from .questions_v2 import questions_v2, same_arity
from .scene import Scene, WorldConfig
from .verbs import verb_phrases
from .vocabulary import COLOURS, COUNT_WORDS, RELATIONS, SIZES, plural, with_article

CAPTION_QUERIES: tuple[str, ...] = (
    "what is happening?",
    "what happens here?",
    "describe the video",
    "what do you see?",
    "what is going on?",
)
KINDS: tuple[str, ...] = (
    "caption",
    "object",
    "motion",
    "count",
    "presence",
    "colour",
    "size",
    "relation",
)

KINDS_V2: tuple[str, ...] = (*KINDS, "complex count", "role", "next")

_OBJECT_QUERIES = ("which object is it?", "what is it?", "what is moving?", "name the object")
_MOTION_QUERIES = ("how does it move?", "what does it do?", "which motion is it?")
_WRONG_CANDIDATES = 3


@dataclass(frozen=True)
class Question:
    """A question about one clip. `answer` is among `candidates`; `kind` is one of `KINDS`, in
    version 2 of `KINDS_V2`."""

    query: str
    answer: str
    candidates: tuple[str, ...]
    kind: str


def _candidates(rng: np.random.Generator, answer: str, wrong: Sequence[str]) -> tuple[str, ...]:
    """Mix the answer with what is wrong, in random order."""
    texts = list(dict.fromkeys([answer, *wrong]))
    rng.shuffle(texts)
    return tuple(texts)


def _others(rng: np.random.Generator, items: Sequence[str], known: frozenset[str]) -> list[str]:
    """Draw up to three different items that are not known to be true of the scene."""
    free = [item for item in items if item not in known]
    return [free[int(i)] for i in rng.permutation(len(free))[:_WRONG_CANDIDATES]]


def motion_answer(scene: Scene, motion: str) -> str:
    """Return the answer to "how does it move?": "it moves left", "they move left"."""
    base, third, _ = verb_phrases(motion)[0]
    return f"it {third}" if scene.count == 1 else f"they {base}"


def _object(rng: np.random.Generator, scene: Scene, config: WorldConfig) -> Question:
    def answer(name: str) -> str:
        return with_article(name) if scene.count == 1 else plural(name)

    query = pick(rng, _OBJECT_QUERIES if scene.motion != "still" else _OBJECT_QUERIES[:2])
    wrong = [answer(name) for name in _others(rng, config.objects, scene.names())]
    truth = answer(scene.object)
    return Question(query, truth, _candidates(rng, truth, wrong), "object")


def _motion(rng: np.random.Generator, scene: Scene, config: WorldConfig) -> Question:
    name = scene.object if scene.count == 1 else plural(scene.object)
    do = "does" if scene.count == 1 else "do"
    query = pick(rng, (*_MOTION_QUERIES, f"how {do} the {name} move?", f"what {do} the {name} do?"))
    wrong = [
        motion_answer(scene, motion)
        for motion in _others(rng, config.motions, frozenset({scene.motion}))
    ]
    truth = motion_answer(scene, scene.motion)
    return Question(query, truth, _candidates(rng, truth, wrong), "motion")


def _count(scene: Scene, config: WorldConfig) -> Question:
    truth = COUNT_WORDS[scene.count]
    candidates = COUNT_WORDS[1 : max(config.max_count, scene.count) + 1]
    return Question(f"how many {plural(scene.object)} are there?", truth, candidates, "count")


def _presence(rng: np.random.Generator, scene: Scene, config: WorldConfig) -> Question:
    present = rng.random() < 0.5
    name = scene.object
    if not present:
        name = _others(rng, config.objects, scene.names())[0]
    elif scene.other is not None and rng.random() < 0.5:
        name = scene.other.object
    truth = "yes" if present else "no"
    query = pick(rng, (f"is there {with_article(name)}?", f"do you see {with_article(name)}?"))
    return Question(query, truth, ("yes", "no"), "presence")


def _questions_v2(
    scene: Scene, rng: np.random.Generator, config: WorldConfig
) -> list[Question]:  # fmt: skip
    """Captions among captions of scenes that differ in one thing, then all other kinds."""
    said = caption(scene, rng)
    wrong = [
        caption(dataclasses.replace(scene, object=name), rng)
        for name in _others(rng, config.objects, scene.names())[:2]
    ]
    wrong += [
        caption(dataclasses.replace(scene, motion=motion), rng)
        for motion in _others(
            rng, same_arity(scene, config.motions), frozenset({scene.motion})
        )[:2]
    ]  # fmt: skip
    asked = Question(pick(rng, CAPTION_QUERIES), said, _candidates(rng, said, wrong), "caption")
    return [asked, *(Question(*fields) for fields in questions_v2(scene, rng, config))]


def questions(
    scene: Scene, rng: np.random.Generator, config: WorldConfig | None = None
) -> list[Question]:
    """Return one question of every kind that the scene can answer without doubt.

    The object is asked for only where no other object can be seen; colour, size and relation only
    where the scene has them. Wrong candidates come from the vocabulary of `config`.
    """
    if scene.world == 2:
        return _questions_v2(scene, rng, config or WorldConfig.v2())
    config = config or WorldConfig()
    wrong = [
        motion_object_caption(name, motion)
        for name, motion in zip(
            _others(rng, config.objects, scene.names()),
            _others(rng, config.motions, frozenset({scene.motion})),
            strict=True,
        )
    ]
    said = caption(scene, rng)
    result = [
        Question(pick(rng, CAPTION_QUERIES), said, _candidates(rng, said, wrong), "caption"),
        _motion(rng, scene, config),
        _count(scene, config),
        _presence(rng, scene, config),
    ]
    if scene.other is None and not scene.distractors:
        result.append(_object(rng, scene, config))
    noun = scene.object if scene.count == 1 else plural(scene.object)
    be = "is" if scene.count == 1 else "are"
    if scene.colour is not None:
        query = pick(rng, (f"what colour {be} the {noun}?", f"which colour {be} the {noun}?"))
        result.append(Question(query, scene.colour, tuple(COLOURS), "colour"))
    if scene.size is not None:
        query = pick(rng, (f"how big {be} the {noun}?", f"which size {be} the {noun}?"))
        result.append(Question(query, scene.size, SIZES, "size"))
    if scene.relation is not None and scene.other is not None:
        beside = with_article(scene.other.object)
        places = tuple(f"{relation} {beside}" for relation in RELATIONS)
        answer = f"{scene.relation} {beside}"
        result.append(Question(f"where {be} the {noun}?", answer, places, "relation"))
    return result
