"""Does what a page asked for, off the server's loop, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from vljepa_edge.assistant.assistant import Assistant
from vljepa_edge.assistant.server import wire
from vljepa_edge.assistant.server.messages import RefusedMessage
from vljepa_edge.runtime.errors import VljepaError

_AT_ONCE = 2
_MOST_WAITING = 8
_AROUND_S = 60.0


class Requests:
    """Answers a page's messages from the assistant. The model's part runs on other threads."""

    def __init__(self, assistant: Assistant) -> None:
        self.assistant = assistant
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a checked message. RefusedMessage with a sentence where it can't be done."""
        if self._waiting >= _MOST_WAITING:
            raise RefusedMessage("too many questions at once; ask again in a moment", message["id"])
        self._waiting += 1
        try:
            async with self._slots:
                found = await asyncio.to_thread(self._do, message)
        except VljepaError as error:
            raise RefusedMessage(str(error), message["id"]) from error
        finally:
            self._waiting -= 1
        return {"type": "reply", "to": message["type"], "id": message["id"], **found}

    def _do(self, message: dict[str, Any]) -> dict[str, Any]:
        return _ACTIONS[message["type"]](self.assistant, message)


def _ask(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    return wire.answer(assistant.ask(message["question"], message.get("choices")))


def _recall(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    found = assistant.recall(message["text"], k=message.get("k", 8), since=message.get("since_s"))
    return {"found": [wire.recollection(one) for one in found]}


def _around(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    if assistant.memory is None:
        raise RefusedMessage("nothing is remembered", message["id"])
    at_ns, around_ns = int(message["at_s"] * 1e9), int(_AROUND_S * 1e9)
    rows = assistant.memory.segments(at_ns - around_ns, at_ns + around_ns)
    return {"at_s": message["at_s"], "found": [wire.recollection(one) for one in rows][:100]}


def _add_alert(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    options = {k: message[k] for k in ("threshold", "per_hour", "cool_down_s") if k in message}
    return {"alert": assistant.when(message["text"], **options).number}


def _remove_alert(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    assistant.remove_alert(message["alert"])
    return {}


def _alert_threshold(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    assistant.set_alert_threshold(message["alert"], message.get("threshold"))
    return {}


def _add_query(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    assistant.add_query(message["text"])
    return {}


def _remove_query(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    assistant.remove_query(message["text"])
    return {}


def _gate(assistant: Assistant, message: dict[str, Any]) -> dict[str, Any]:
    assistant.set_gate_threshold(message["threshold"])
    return {}


_ACTIONS: dict[str, Callable[[Assistant, dict[str, Any]], dict[str, Any]]] = {
    "ask": _ask,
    "recall": _recall,
    "around": _around,
    "alert.add": _add_alert,
    "alert.remove": _remove_alert,
    "alert.threshold": _alert_threshold,
    "query.add": _add_query,
    "query.remove": _remove_query,
    "gate": _gate,
}
