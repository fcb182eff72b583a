"""Reads a caption back: which object it names first, which motion it tells, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .synonyms import SYNONYMS
from .verbs import verb_phrases
from .vocabulary import plural


@dataclass(frozen=True)
class Told:
    """What a text says; None for what it does not."""

    object: str | None
    motion: str | None
    other: str | None


@lru_cache(maxsize=8)
def _nouns(objects: tuple[str, ...]) -> dict[str, str]:
    """Every word for an object, one or several of it, to the object."""
    words: dict[str, str] = {}
    for name in objects:
        for noun in (name, *SYNONYMS.get(name, ())):
            words.setdefault(noun, name)
            words.setdefault(plural(noun), name)
    return words


@lru_cache(maxsize=8)
def _phrases(motions: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Every way to tell a motion, the longest first: (phrase, motion)."""
    found = {
        form.strip(): motion
        for motion in motions
        for forms in verb_phrases(motion, "")
        for form in forms
    }
    return tuple(sorted(found.items(), key=lambda item: -len(item[0])))


def _first_noun(words: Sequence[str], nouns: dict[str, str]) -> str | None:
    """The object that is named first; of words that begin together the longer one counts."""
    for begin in range(len(words)):
        for length in (3, 2, 1):
            name = nouns.get(" ".join(words[begin : begin + length]))
            if name is not None and begin + length <= len(words):
                return name
    return None


def read_caption(text: str, objects: Sequence[str], motions: Sequence[str]) -> Told:
    """Return what a caption of any phrasing says, told in the words of the vocabulary."""
    padded = f" {text} "
    nouns = _nouns(tuple(objects))
    for phrase, motion in _phrases(tuple(motions)):
        if f" {phrase} " in padded:
            before, _, after = padded.partition(f" {phrase} ")
            return Told(
                _first_noun(before.split(), nouns), motion, _first_noun(after.split(), nouns)
            )
    return Told(_first_noun(text.split(), nouns), None, None)
