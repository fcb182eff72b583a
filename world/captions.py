"""Says what a scene shows, in one canonical and several other phrasings.

All captions are lower-case, without a final full stop. Every attribute that a scene has (colour,
size, count, relation) is named in every phrasing. Version 2 has more words for things and more
forms of sentences, and words that only `held_out_caption` uses.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .placing import pick
from .scene import Scene
from .synonyms import HELD_OUT_SYNONYMS, SYNONYMS
from .verbs import Forms, held_out_verb_phrase, verb_phrases
from .vocabulary import COUNT_WORDS, plural, with_article

_SIZE_WORDS = {"small": ("small", "tiny", "little"), "big": ("big", "large", "huge")}
_RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_RELATION_WORDS_V2 = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath"),
}


def _names(name: str, world: int) -> tuple[str, ...]:
    """The words for an object, the canonical one first."""
    return (name, *SYNONYMS.get(name, ())) if world == 2 else (name,)


def other_phrase(scene: Scene) -> str:
    """Return the other object with its colour and an article: "a blue dog"; "something" where
    there is none."""
    if scene.other is None:
        return "something"
    return with_article(" ".join(filter(None, (scene.other.colour, scene.other.object))))


def scene_verbs(scene: Scene) -> tuple[Forms, ...]:
    """Return the phrasings of what the main object does, with the other one's name in them."""
    return verb_phrases(scene.motion, other_phrase(scene))


def noun_phrases(scene: Scene) -> tuple[str, ...]:
    """Return the ways to name the main object with its attributes, without an article, canonical
    first: ("small red apple left of a tree", "tiny red apple left of a tree", ...)."""
    nouns = _names(scene.object, scene.world)
    if scene.count != 1:
        nouns = tuple(plural(noun) for noun in nouns)
    words = _RELATION_WORDS_V2 if scene.world == 2 else _RELATION_WORDS
    sizes = _SIZE_WORDS[scene.size] if scene.size else ("",)
    relations = words[scene.relation] if scene.relation else ("",)
    other = other_phrase(scene) if scene.relation and scene.other else ""
    return tuple(
        " ".join(filter(None, (size, scene.colour, noun, relation, other)))
        for noun in nouns
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
    base, third, _ = scene_verbs(scene)[0]
    return f"{subject_phrases(scene)[0]} {third if scene.count == 1 else base}"


def _clauses(scene: Scene, subject: str, definite: str, verbs: tuple[str, str, str]) -> list[str]:
    """Return the sentence forms for one choice of words."""
    base, third, participle = verbs
    finite, be = (third, "is") if scene.count == 1 else (base, "are")
    clauses = [
        f"{subject} {finite}",
        f"{subject} {be} {participle}",
        f"{definite} {finite}",
        f"{definite} {be} {participle}",
        f"there {be} {subject} {participle}",
        f"we see {subject} {participle}",
    ]
    if scene.world == 2:
        clauses += [
            f"here {subject} {finite}",
            f"a video of {subject} {participle}",
            f"{subject} can be seen {participle}",
        ]
    return clauses


def all_phrasings(scene: Scene) -> tuple[str, ...]:
    """Return every caption that is true of the scene, canonical first, without repetition."""
    sentences = [
        clause
        for verbs in scene_verbs(scene)
        for subject, definite in zip(subject_phrases(scene), _definite(scene), strict=True)
        for clause in _clauses(scene, subject, definite, verbs)
    ]
    return tuple(dict.fromkeys(sentences))


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a random phrasing; every second one keeps the plain "an apple ..." form."""
    verbs = pick(rng, scene_verbs(scene))
    choice = int(rng.random() * len(noun_phrases(scene)))
    clauses = _clauses(scene, subject_phrases(scene)[choice], _definite(scene)[choice], verbs)
    return clauses[0] if rng.random() < 0.5 else pick(rng, clauses)


def held_out_caption(scene: Scene) -> str | None:
    """Return a caption of a single copy in words that no other caption has, a verb or a noun or
    both; None where there is no such word, or several copies."""
    verbs = held_out_verb_phrase(scene.motion, other_phrase(scene))
    noun = HELD_OUT_SYNONYMS.get(scene.object)
    if scene.count != 1 or (verbs is None and noun is None):
        return None
    third = verbs[1] if verbs else scene_verbs(scene)[0][1]
    words = noun_phrases(scene)[0].split()
    if noun:
        words[words.index(scene.object)] = noun
    return f"{with_article(' '.join(words))} {third}"


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
