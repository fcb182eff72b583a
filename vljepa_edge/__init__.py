"""Always-on VL-JEPA: watch video with a small C core, and decode text only when its meaning shifts.

    import vljepa_edge as vlj

    model = vlj.load()  # the packaged nano bundle, or a path
    for event in model.stream("kitchen.mp4", queries=["What is happening?"]):
        print(event)

Importing this package is cheap: the core and its dependencies load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vljepa_edge.runtime.errors import VljepaError
    from vljepa_edge.runtime.events import Event
    from vljepa_edge.runtime.model import Model, load
    from vljepa_edge.runtime.stream import Stream

    __version__: str

__all__ = ["Event", "Model", "Stream", "VljepaError", "__version__", "load"]

_HOMES = {
    "Event": "vljepa_edge.runtime.events",
    "Model": "vljepa_edge.runtime.model",
    "Stream": "vljepa_edge.runtime.stream",
    "VljepaError": "vljepa_edge.runtime.errors",
    "load": "vljepa_edge.runtime.model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vljepa-edge")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
