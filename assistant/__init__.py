"""The wearable assistant: what the camera means, live, remembered, and on a page.

    from vljepa_edge.assistant import Assistant

    with Assistant(None, 0, memory="today.vljm") as assistant:
        assistant.when("a person opens a door", print)
        for caption in assistant.captions():
            print(caption)

The server (`vljepa_edge.assistant.server`) needs the extra `assistant`; nothing else does.
"""

from vljepa_edge.assistant.alerts import Alert, Firing
from vljepa_edge.assistant.assistant import Assistant, recall
from vljepa_edge.assistant.errors import AssistantError, MemoryFileError
from vljepa_edge.assistant.memory import Memory, Recollection, erase
from vljepa_edge.assistant.told import Answer, Caption

__all__ = [
    "Alert",
    "Answer",
    "Assistant",
    "AssistantError",
    "Caption",
    "Firing",
    "Memory",
    "MemoryFileError",
    "Recollection",
    "erase",
    "recall",
]
