"""Discriminative VQA: of the candidate answers the nearest to what is predicted for the question.

Presence as POPE asks it (random, popular and adversarial absentees, half of the answers yes),
counting as TallyQA (simple, complex), attributes and relations as GQA, and what comes next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ... import world
from ...world.placing import IN_PLACE, RESIZING_MOTIONS
from ...world.questions_v2 import (
    NEGATIVES,
    absent,
    complex_count_query,
    count_query,
    motion_answer_v2,
    same_arity,
)
from ...world.vocabulary import COUNT_WORDS, with_article
from .context import BATCH, Context
from .score import Score, missing, score

TASK = "vqa"
Asked = tuple[str, str, Sequence[str], str]  # query, answer, candidates, name of the row
Asker = Callable[[world.Scene, np.random.Generator, world.WorldConfig], list[Asked]]


def _presence(
    scene: world.Scene, rng: np.random.Generator, config: world.WorldConfig
) -> list[Asked]:
    asked: list[Asked] = []
    for negatives in NEGATIVES:
        here = world.pick(rng, sorted(scene.names()))
        gone = absent(rng, scene, config, negatives)
        for name, answer in ((here, "yes"), (gone, "no")):
            query = f"is there {with_article(name)}?"
            asked.append((query, answer, ("yes", "no"), f"presence, {negatives}"))
    return asked


def _count(scene: world.Scene, rng: np.random.Generator, config: world.WorldConfig) -> list[Asked]:
    if any(d.object == scene.object for d in scene.distractors):
        return []
    if config.version == 1:
        query, answer = f"how many {world.plural(scene.object)} are there?", scene.count
        return [(query, COUNT_WORDS[answer], COUNT_WORDS[1 : config.max_count + 1], "counting")]
    query, word = count_query(scene, rng, config)
    return [(query, word, COUNT_WORDS[: config.max_count + 1], "counting")]


def _complex(
    scene: world.Scene, rng: np.random.Generator, config: world.WorldConfig
) -> list[Asked]:
    found = complex_count_query(scene, rng)
    numbers = COUNT_WORDS[: config.max_count + 1]
    return [] if found is None else [(*found, numbers, "counting, complex")]


def _of_kinds(*kinds: str) -> Asker:
    """The scene's own questions of some kinds."""

    def ask(scene: world.Scene, rng: np.random.Generator, config: world.WorldConfig) -> list[Asked]:
        return [
            (q.query, q.answer, q.candidates, _ROW[q.kind])
            for q in world.questions(scene, rng, config)
            if q.kind in kinds
        ]

    return ask


def _next(scene: world.Scene, rng: np.random.Generator, config: world.WorldConfig) -> list[Asked]:
    """What comes next, among all that things do as many together."""
    coming = motion_answer_v2(scene, world.next_step(scene.motion, config.motions))
    motions = [m for m in same_arity(scene, config.motions) if m != scene.motion]
    texts = [motion_answer_v2(scene, motion) for motion in motions]
    return [("what happens next?", coming, texts, "next step")]


_ROW = {
    "colour": "attributes, colour",
    "size": "attributes, size",
    "relation": "relations, where",
    "role": "relations, with whom",
    "object": "which object (4 choices)",
    "motion": "which motion (4 choices)",
}


def _variants(config: world.WorldConfig) -> dict[str, tuple[world.WorldConfig, Asker]]:
    """Worlds in which nearly every scene can answer a question of the kind."""
    events = tuple(m for m in config.motions if world.is_event_of_two(m))
    single = tuple(m for m in config.motions if m not in events)
    in_place = tuple(m for m in config.motions if m in IN_PLACE - RESIZING_MOTIONS)
    change = dataclasses.replace
    variants: dict[str, tuple[world.WorldConfig, Asker]] = {
        "presence": (config, _presence),
        "counting": (change(config, motions=single, p_count=0.7, p_group=0.0), _count),
        "counting, complex": (
            change(config, motions=in_place, p_count=1.0, p_group=1.0), _complex),
        "attributes, colour": (change(config, p_colour=1.0), _of_kinds("colour")),
        "attributes, size": (
            change(config, motions=single, p_size=1.0, p_count=0.0, p_relation=0.0),
            _of_kinds("size")),
        "relations, where": (
            world.placed_world(config), _of_kinds("relation")),
        "relations, with whom": (change(config, motions=events), _of_kinds("role")),
        "which object (4 choices)": (change(config, motions=single), _of_kinds("object")),
        "which motion (4 choices)": (config, _of_kinds("motion")),
    }  # fmt: skip
    if config.version == 1:
        del variants["counting, complex"], variants["relations, with whom"]
    return variants


def ask(
    context: Context, config: world.WorldConfig, asker: Asker, purpose: int
) -> dict[str, list[bool]]:
    """Whether each answer was right, by row, over `clips` clips that can answer."""
    found: dict[str, list[bool]] = {}
    frames: list[npt.NDArray[np.uint8]] = []
    asked: list[list[Asked]] = []

    def mark() -> None:
        queries = [[query for query, *_ in questions] for questions in asked]
        rows = context.judged.embedder.embed_queries(np.stack(frames), queries)
        for predicted, questions in zip(rows, asked, strict=True):
            for row, (_, answer, candidates, name) in zip(predicted, questions, strict=True):
                best = candidates[int((context.texts(candidates) @ row).argmax())]
                found.setdefault(name, []).append(best == answer)
        frames.clear()
        asked.clear()

    clips = 0
    # Where a world hardly ever has what is asked for, fewer cases must do.
    for index in range(20 * context.clips):
        if clips == context.clips:
            break
        rng = np.random.default_rng((context.seed, purpose, index))
        scene = world.sample_scene(rng, config, split="test")
        questions = asker(scene, rng, config)
        if questions:
            frames.append(world.render(scene, world.window_times(config), config.size))
            asked.append(questions)
            clips += 1
        if len(frames) == BATCH:
            mark()
            context.progress(f"vqa: {', '.join(found)}: {clips} of {context.clips} clips")
    if frames:
        mark()
    return found


def answer(context: Context) -> list[Score]:
    """All kinds of questions; the average of the three kinds of presence has a row of its own."""
    rows: list[Score] = []
    for purpose, (name, (config, asker)) in enumerate(_variants(context.config).items()):
        if not config.motions:
            rows.append(missing(TASK, name, "this world has no motion that can show it"))
            continue
        found = ask(context, config, asker, 1000 + purpose)
        if not found:
            rows.append(missing(TASK, name, "no scene of this world can answer it"))
        for row, right in found.items():
            rows.append(score(TASK, row, right, chance=_chance(row, context.config)))
        if name == "presence":
            every = [right for kinds in found.values() for right in kinds]
            rows.append(score(TASK, "presence, average", every, chance=0.5))
    return rows


def _chance(row: str, config: world.WorldConfig) -> float:
    if row.startswith("presence"):
        return 0.5
    if row.startswith("counting"):
        return 1 / (config.max_count + (config.version == 2))
    return {"attributes, colour": 1 / len(world.COLOURS), "attributes, size": 0.5}.get(row, 0.25)


def anticipate(context: Context) -> list[Score]:
    """Next-step anticipation: what the object does after what it is seen doing."""
    if context.config.version == 1:
        return [missing("anticipation", "next step", "version 1's objects have no routines")]
    found = ask(context, context.config, _next, 2000)
    return [score("anticipation", "next step, among all motions", found["next step"])]
