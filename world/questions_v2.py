"""Version 2's questions: of absent things, of two groups, of roles, of what comes next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .captions import other_phrase
from .placing import pick
from .routines import next_step
from .scene import Scene, WorldConfig
from .verbs import verb_phrases
from .vocabulary import COLOURS, COUNT_WORDS, POPULAR, RELATIONS, SIZES, kin, plural, with_article

NEGATIVES: tuple[str, ...] = ("random", "popular", "adversarial")
_WRONG = 3


def mixed(
    rng: np.random.Generator, answer: str, wrong: Sequence[str], count: int = _WRONG
) -> tuple[str, ...]:
    """Mix the answer with `count` of what is wrong, in random order."""
    others = [text for text in dict.fromkeys(wrong) if text != answer]
    texts = [answer, *(others[int(i)] for i in rng.permutation(len(others))[:count])]
    return tuple(texts[int(i)] for i in rng.permutation(len(texts)))


def count_of(scene: Scene, name: str, colour: str | None = None) -> int:
    """How many of an object can be seen; of one colour, where it is given."""

    def fits(kind: str, painted: str | None) -> bool:
        return kind == name and (colour is None or painted == colour)

    placed = (*scene.distractors, *((scene.other,) if scene.other else ()))
    shown = sum(fits(item.object, item.colour) for item in placed)
    return shown + scene.count * fits(scene.object, scene.colour)


def absent(rng: np.random.Generator, scene: Scene, config: WorldConfig, negatives: str) -> str:
    """Draw an object that cannot be seen: any ("random"), one that is often seen elsewhere
    ("popular"), or one that is like the main one ("adversarial"), as POPE does."""
    offered: Sequence[str] = config.objects
    if negatives == "popular":
        offered = config.objects[:POPULAR]
    elif negatives == "adversarial":
        offered = kin(scene.object, config.objects)
    elif negatives != "random":
        raise ValueError(f"unknown negatives {negatives!r}; one of {', '.join(NEGATIVES)}")
    seen = scene.names()
    free = [name for name in offered if name not in seen]
    return pick(rng, free or [name for name in config.objects if name not in seen])


def presence_query(rng: np.random.Generator, name: str) -> str:
    """Ask whether an object can be seen."""
    thing = with_article(name)
    return pick(
        rng, (f"is there {thing}?", f"do you see {thing}?", f"can {thing} be seen?")
    )  # fmt: skip


def count_query(scene: Scene, rng: np.random.Generator, config: WorldConfig) -> tuple[str, str]:
    """A simple counting question and its answer, a number word; one in eight asks for what is
    not there."""
    name = absent(rng, scene, config, "random") if rng.random() < 0.125 else scene.object
    form = pick(rng, ("how many {} are there?", "how many {} do you see?", "count the {}"))
    return form.format(plural(name)), COUNT_WORDS[min(count_of(scene, name), 6)]


def complex_count_query(scene: Scene, rng: np.random.Generator) -> tuple[str, str] | None:
    """Ask for the number of one of two groups, or of things of one colour among others."""
    group = scene.distractors[0] if scene.distractors else None
    if group is None or group.front:
        return None
    name, colour = scene.object, scene.colour
    if group.object == scene.object and rng.random() < 0.5:
        colour = group.colour
    elif group.object != scene.object:
        colour = None
        name = pick(rng, (scene.object, group.object))
    asked = " ".join(filter(None, (colour, plural(name))))
    return f"how many {asked} are there?", COUNT_WORDS[min(count_of(scene, name, colour), 6)]


def motion_answer_v2(scene: Scene, motion: str) -> str:
    """Return the answer to "how does it move?": "it moves left", "it collides with a dog"."""
    base, third, _ = verb_phrases(motion, other_phrase(scene))[0]
    return f"it {third}" if scene.count == 1 else f"they {base}"


def same_arity(scene: Scene, motions: Sequence[str]) -> list[str]:
    """The motions with as many objects as the scene's, so that no wrong answer gives itself away
    by naming another object, or none."""
    needs = "{" in verb_phrases(scene.motion, "{")[0][0]
    return [m for m in motions if ("{" in verb_phrases(m, "{")[0][0]) == needs]


def questions_v2(
    scene: Scene, rng: np.random.Generator, config: WorldConfig
) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Return (query, answer, candidates, kind) of each kind that the scene can answer, but
    captions; kinds are those of `questions.KINDS_V2`."""
    one = scene.count == 1
    noun, be, do = (
        (scene.object, "is", "does") if one else (plural(scene.object), "are", "do")
    )  # fmt: skip
    result: list[tuple[str, str, tuple[str, ...], str]] = []

    def ask(forms: Sequence[str], answer: str, candidates: tuple[str, ...], kind: str) -> None:
        result.append((pick(rng, forms), answer, candidates, kind))

    motions = [m for m in same_arity(scene, config.motions) if m != scene.motion]
    answer = motion_answer_v2(scene, scene.motion)
    forms: tuple[str, ...] = ("how does it move?", "what does it do?", "which motion is it?",
             f"how {do} the {noun} move?", f"what {do} the {noun} do?")  # fmt: skip
    ask(forms, answer, mixed(rng, answer, [motion_answer_v2(scene, m) for m in motions]), "motion")
    coming = motion_answer_v2(scene, next_step(scene.motion, config.motions))
    forms = ("what happens next?", "what comes next?", f"what will the {noun} do next?")
    ask(forms, coming, mixed(rng, coming, [motion_answer_v2(scene, m) for m in motions]), "next")

    numbers = COUNT_WORDS[: config.max_count + 1]
    query, answer = count_query(scene, rng, config)
    ask((query,), answer, numbers, "count")
    complex_one = complex_count_query(scene, rng)
    if complex_one is not None:
        ask((complex_one[0],), complex_one[1], numbers, "complex count")

    if rng.random() < 0.5:
        seen = [scene.object, scene.object, *sorted(scene.names())]
        ask((presence_query(rng, pick(rng, seen)),), "yes", ("yes", "no"), "presence")
    else:
        name = absent(rng, scene, config, pick(rng, NEGATIVES))
        ask((presence_query(rng, name),), "no", ("yes", "no"), "presence")

    answer = with_article(noun) if one else noun
    wrong = [absent(rng, scene, config, pick(rng, NEGATIVES)) for _ in range(2 * _WRONG)]
    texts = [with_article(name) if one else plural(name) for name in wrong]
    forms = ("which object is it?", "what is it?", "name the object")
    if scene.other is None and not scene.distractors:
        forms = (*forms, "what is shown?")
    ask(forms, answer, mixed(rng, answer, texts), "object")
    if scene.colour is not None and not any(d.object == scene.object for d in scene.distractors):
        forms = (f"what colour {be} the {noun}?", f"which colour {be} the {noun}?")
        ask(forms, scene.colour, tuple(COLOURS), "colour")
    if scene.size is not None:
        forms = (f"how big {be} the {noun}?", f"which size {be} the {noun}?")
        ask(forms, scene.size, SIZES, "size")
    if scene.other is not None:
        beside = other_phrase(scene)
        if scene.relation is not None:
            places = tuple(f"{relation} {beside}" for relation in RELATIONS)
            ask((f"where is the {noun}?",), f"{scene.relation} {beside}", places, "relation")
        else:
            doing = verb_phrases(scene.motion, "")[0][0].strip()
            wrong = [absent(rng, scene, config, pick(rng, NEGATIVES)) for _ in range(2 * _WRONG)]
            texts = [with_article(name) for name in (scene.object, *wrong)]
            ask((f"what does the {noun} {doing}?",), beside, mixed(rng, beside, texts), "role")
        if scene.other.colour is not None:
            query = f"what colour is the {scene.other.object}?"
            ask((query,), scene.other.colour, tuple(COLOURS), "colour")
    return result
