"""Says what a scene shows, in one canonical and several other phrasings.

All captions are lower-case, without a final full stop. Every attribute that a scene has (colour,
size, count, relation) is named in every phrasing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .sampling import pick
from .scene import Scene
from .vocabulary import COUNT_WORDS, plural, with_article

# "verb|rest", first the canonical one.
_VERBS: dict[str, tuple[str, ...]] = {
    "left": ("move|left", "move|to the left", "slide|to the left", "drift|leftward", "travel|left"),
    "right": (
        "move|right",
        "move|to the right",
        "slide|to the right",
        "drift|rightward",
        "travel|right",
    ),
    "up": ("move|up", "go|up", "rise|", "climb|upward", "float|up"),
    "down": ("move|down", "go|down", "sink|", "descend|", "float|down"),
    "clockwise": ("rotate|clockwise", "spin|clockwise", "turn|clockwise"),
    "counterclockwise": (
        "rotate|counterclockwise",
        "spin|counterclockwise",
        "turn|counterclockwise",
    ),
    "grow": ("grow|", "get|bigger", "become|larger", "expand|"),
    "shrink": ("shrink|", "get|smaller", "become|smaller", "contract|"),
    "bounce": ("bounce|up and down", "bounce|", "hop|up and down", "jump|up and down"),
    "sway": (
        "sway|from side to side",
        "move|from side to side",
        "slide|from side to side",
        "sway|left and right",
    ),
    "rock": ("rock|back and forth", "tilt|back and forth", "rock|in place"),
    "circle": ("move|in a circle", "circle|around", "loop|around", "go|round in circles"),
    "zigzag": ("zigzag|", "move|in a zigzag", "zigzag|across"),
    "shake": ("shake|", "tremble|", "jitter|", "shiver|"),
    "blink": ("blink|on and off", "flash|on and off", "blink|", "flicker|"),
    "flip": ("flip|over and over", "flip|like a coin", "turn|over and over"),
    "pulse": ("pulse|", "throb|", "pulse|in size", "beat|like a heart"),
    "still": ("stay|still", "stand|still", "keep|still", "rest|in place"),
    "fade in": ("fade|in", "slowly appear|", "gradually appear|"),
    "fade out": ("fade|out", "slowly vanish|", "gradually disappear|"),
}
_DOUBLED = {"get", "travel", "spin", "hop", "zigzag", "throb", "flip"}

_SIZE_WORDS = {"small": ("small", "tiny", "little"), "big": ("big", "large", "huge")}
_RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z")) or verb == "go":
        return verb + "es"
    return verb + "s"


def _participle(verb: str) -> str:
    if verb in _DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e"):
        return verb[:-1] + "ing"
    return verb + "ing"


def verb_phrases(motion: str) -> tuple[tuple[str, str, str], ...]:
    """Return a motion's phrasings as (base, third person, participle), canonical first:
    ("move left", "moves left", "moving left")."""
    result = []
    for entry in _VERBS[motion]:
        words, _, rest = entry.partition("|")
        adverb, _, verb = words.rpartition(" ")
        forms = (verb, _third_person(verb), _participle(verb))
        result.append(tuple(" ".join(filter(None, (adverb, form, rest))) for form in forms))
    return tuple((base, third, ing) for base, third, ing in result)


def noun_phrases(scene: Scene) -> tuple[str, ...]:
    """Return the ways to name the main object with its attributes, without an article, canonical
    first: ("small red apple left of a tree", "tiny red apple left of a tree", ...)."""
    noun = scene.object if scene.count == 1 else plural(scene.object)
    sizes = _SIZE_WORDS[scene.size] if scene.size else ("",)
    relations = _RELATION_WORDS[scene.relation] if scene.relation else ("",)
    other = with_article(scene.other.object) if scene.other else ""
    return tuple(
        " ".join(filter(None, (size, scene.colour, noun, relation, other)))
        for size in sizes
        for relation in relations
    )


def subject_phrases(scene: Scene) -> tuple[str, ...]:
    """Return the noun phrases with article or count word: "an apple", "three red cars"."""
    if scene.count == 1:
        return tuple(with_article(noun) for noun in noun_phrases(scene))
    return tuple(f"{COUNT_WORDS[scene.count]} {noun}" for noun in noun_phrases(scene))


def _definite(scene: Scene) -> tuple[str, ...]:
    if scene.count == 1:
        return tuple(f"the {noun}" for noun in noun_phrases(scene))
    return tuple(f"the {subject}" for subject in subject_phrases(scene))


def canonical_caption(scene: Scene) -> str:
    """Return the one caption that evaluation compares with: "a small red apple moves left"."""
    base, third, _ = verb_phrases(scene.motion)[0]
    return f"{subject_phrases(scene)[0]} {third if scene.count == 1 else base}"


def _clauses(scene: Scene, subject: str, definite: str, verbs: tuple[str, str, str]) -> list[str]:
    """Return the sentence forms for one choice of words."""
    base, third, participle = verbs
    finite, be = (third, "is") if scene.count == 1 else (base, "are")
    return [
        f"{subject} {finite}",
        f"{subject} {be} {participle}",
        f"{definite} {finite}",
        f"{definite} {be} {participle}",
        f"there {be} {subject} {participle}",
        f"we see {subject} {participle}",
    ]


def all_phrasings(scene: Scene) -> tuple[str, ...]:
    """Return every caption that is true of the scene, canonical first, without repetition."""
    sentences = [
        clause
        for verbs in verb_phrases(scene.motion)
        for subject, definite in zip(subject_phrases(scene), _definite(scene), strict=True)
        for clause in _clauses(scene, subject, definite, verbs)
    ]
    return tuple(dict.fromkeys(sentences))


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a random phrasing; every second one keeps the plain "an apple ..." form."""
    verbs = pick(rng, verb_phrases(scene.motion))
    choice = int(rng.random() * len(noun_phrases(scene)))
    clauses = _clauses(scene, subject_phrases(scene)[choice], _definite(scene)[choice], verbs)
    return clauses[0] if rng.random() < 0.5 else pick(rng, clauses)


def canonical_image_caption(scene: Scene) -> str:
    """Return the caption of a single frame, without motion: "a red apple"."""
    return subject_phrases(scene)[0]


def image_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a random phrasing of a single frame's caption."""
    subject = pick(rng, subject_phrases(scene))
    be = "is" if scene.count == 1 else "are"
    if rng.random() < 0.7:
        return subject
    return pick(rng, (f"there {be} {subject}", f"we see {subject}", f"a picture of {subject}"))


@lru_cache(maxsize=65536)
def motion_object_caption(name: str, motion: str) -> str:
    """Return the bare caption of an object-motion pair, for classification among candidates:
    "an apple moves left"."""
    return f"{with_article(name)} {verb_phrases(motion)[0][1]}"
