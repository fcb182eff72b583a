"""The verbs of each motion, in the forms that a sentence needs."""

from __future__ import annotations

from functools import lru_cache

Forms = tuple[str, str, str]

# "verb|rest", first the canonical one; "{}" is the other object of an event.
VERBS: dict[str, tuple[str, ...]] = {
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
    "appear": ("pop|up", "suddenly appear|", "pop|into view"),
    "vanish": ("suddenly vanish|", "suddenly disappear|", "pop|out of sight"),
    "fall": ("fall|down", "drop|to the ground", "fall|", "plunge|down"),
    "launch": ("take|off", "lift|off", "shoot|up", "launch|upward"),
    "stop": ("come|to a stop", "slow|to a halt", "brake|", "stop|"),
    "start": ("speed|up", "set|off", "accelerate|"),
    "collide": ("collide|with {}", "crash|into {}", "bump|into {}", "knock|into {}"),
    "swap": ("swap|places with {}", "trade|places with {}", "change|places with {}"),
    "follow": ("follow|{}", "chase|{}", "run|after {}"),
    "orbit": ("orbit|{}", "go|around {}", "revolve|around {}"),
    "approach": ("approach|{}", "move|towards {}", "come|closer to {}"),
    "depart": ("move|away from {}", "leave|{}", "back|away from {}"),
    "hide": ("hide|behind {}", "disappear|behind {}", "go|behind {}"),
    "emerge": ("come|out from behind {}", "emerge|from behind {}", "appear|from behind {}"),
}

# Verbs that no caption uses: a model can know them from texts alone.
HELD_OUT_VERBS: dict[str, str] = {
    "left": "glide|to the left",
    "right": "glide|to the right",
    "up": "ascend|",
    "down": "glide|down",
    "clockwise": "whirl|clockwise",
    "counterclockwise": "whirl|counterclockwise",
    "grow": "swell|",
    "shrink": "dwindle|",
    "bounce": "leap|up and down",
    "shake": "quiver|",
    "still": "remain|motionless",
    "fade out": "slowly dissolve|",
    "fall": "tumble|down",
    "launch": "soar|up",
    "stop": "halt|",
    "start": "depart|quickly",
    "collide": "smash|into {}",
    "swap": "exchange|places with {}",
    "follow": "pursue|{}",
    "orbit": "encircle|{}",
    "approach": "near|{}",
    "hide": "slink|behind {}",
}
_DOUBLED = {"get", "travel", "spin", "hop", "zigzag", "throb", "flip"}
_DOUBLED |= {"pop", "drop", "stop", "set", "run", "swap", "propel"}


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


@lru_cache(maxsize=4096)
def _forms(entry: str, other: str) -> Forms:
    words, _, rest = entry.partition("|")
    adverb, _, verb = words.rpartition(" ")
    forms = (verb, _third_person(verb), _participle(verb))
    base, third, ing = (
        " ".join(filter(None, (adverb, form, rest.replace("{}", other)))) for form in forms
    )
    return base, third, ing


def verb_phrases(motion: str, other: str = "something") -> tuple[Forms, ...]:
    """Return a motion's phrasings as (base, third person, participle), canonical first:
    ("move left", "moves left", "moving left"). `other` is named by events of two objects."""
    return tuple(_forms(entry, other) for entry in VERBS[motion])


def held_out_verb_phrase(motion: str, other: str = "something") -> Forms | None:
    """Return a motion's phrasing in a word that no caption uses, or None where it has none."""
    return _forms(HELD_OUT_VERBS[motion], other) if motion in HELD_OUT_VERBS else None
