"""What a page may ask for: a table of messages, and the check that every one of them passes."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

LARGEST_BYTES = 4096
LONGEST_TEXT = 400
MOST_CHOICES = 32


class RefusedMessage(ValueError):
    """A message that is not taken; `number` is its own, where it could be read."""

    def __init__(self, sentence: str, number: int | None = None) -> None:
        super().__init__(sentence)
        self.number = number


@dataclass(frozen=True)
class Field:
    """One value of a message: `kind` is text, texts, number or whole; bounds are inclusive."""

    kind: str
    required: bool = True
    least: float = -math.inf
    most: float = math.inf


_TEXT = Field("text")
_THRESHOLD = Field("number", False, -1, 1)
_COUNT = Field("whole", True, 0, 2**53)
_OPTIONAL_TIME = Field("number", False, 0, 1e11)

MESSAGES: dict[str, dict[str, Field]] = {
    "ask": {"question": _TEXT, "choices": Field("texts", False)},
    "recall": {"text": _TEXT, "k": Field("whole", False, 1, 50), "since_s": _OPTIONAL_TIME},
    "around": {"at_s": Field("number", True, 0, 1e11)},
    "alert.add": {
        "text": _TEXT,
        "threshold": _THRESHOLD,
        "per_hour": Field("number", False, 1e-3, 3600),
        "cool_down_s": Field("number", False, 0, 86400),
    },
    "alert.remove": {"alert": _COUNT},
    "alert.threshold": {"alert": _COUNT, "threshold": _THRESHOLD},
    "query.add": {"text": _TEXT},
    "query.remove": {"text": _TEXT},
    "gate": {"threshold": Field("number", True, 1e-4, 1e4)},
    "catch_up": {"after": _COUNT},
    "pictures": {"on": Field("whole", True, 0, 1)},
    "camera": {"on": Field("whole", True, 0, 1)},
}


def parse(text: str) -> dict[str, Any]:
    """One message as a dict with `type`, `id` and its own fields. RefusedMessage."""
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        raise RefusedMessage(f"a message has at most {LARGEST_BYTES} bytes")
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedMessage("a message is one JSON object") from error
    if not isinstance(message, dict):
        raise RefusedMessage("a message is one JSON object")
    number = message.pop("id", None)
    if not _is(number, Field("whole", True, 0, 2**53)):
        raise RefusedMessage("a message has an `id`, a whole number from 0")
    kind = message.pop("type", None)
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise RefusedMessage(f"a message's `type` is one of {', '.join(MESSAGES)}", number)
    fields = MESSAGES[kind]
    for name in message:
        if name not in fields:
            raise RefusedMessage(f"{kind} has no field {name[:40]!r}", number)
    for name, field in fields.items():
        if message.get(name) is None:
            message.pop(name, None)
            if field.required:
                raise RefusedMessage(f"{kind} needs `{name}`", number)
        elif not _is(message[name], field):
            raise RefusedMessage(f"{kind}: `{name}` is not {_wanted(field)}", number)
    return {"type": kind, "id": number, **message}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _is(value: Any, field: Field) -> bool:
    if field.kind == "text":
        return isinstance(value, str) and len(value) <= LONGEST_TEXT and _is_written(value)
    if field.kind == "texts":
        texts = isinstance(value, list) and 0 < len(value) <= MOST_CHOICES
        return texts and all(_is(text, _TEXT) for text in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if field.kind == "whole" and not isinstance(value, int):
        return False
    return bool(field.least <= value <= field.most)


def _is_written(text: str) -> bool:
    """Something that people write: no control signs, no halves of characters."""
    return bool(text.strip()) and not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def _wanted(field: Field) -> str:
    if field.kind == "text":
        return f"a text of 1 to {LONGEST_TEXT} characters"
    if field.kind == "texts":
        return f"a list of 1 to {MOST_CHOICES} texts"
    number = "a whole number" if field.kind == "whole" else "a number"
    return f"{number} from {field.least:g} to {field.most:g}"


class Bucket:
    """A bounded rate: `burst` at once, `per_s` in the long run."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._read_s = time.monotonic()

    def take(self) -> bool:
        """False: too many."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._read_s) * self._per_s)
        self._read_s = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
