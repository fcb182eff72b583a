"""What one measuring process is told to do; it travels as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One scenario with one setting. 0 means the bundle's or the scenario's own value."""

    scenario: str
    bundle: str
    backend: str = "ort"
    threads: int = 0
    queries: tuple[str, ...] = ()
    seconds: float = 10.0
    samples: int = 0  # single: windows to measure; 0: as many as fit into `seconds`
    warmup_s: float = 1.0
    camera_fps: float = 0.0  # frames pushed a second; 0: three times the bundle's rate
    stride: int = 0
    cameras: int = 16  # multi: the most that are tried
    width: int = 640
    height: int = 360
    trace: bool = False
    # More of `load`'s options: where threads run, the provider, memory.
    engine: Mapping[str, Any] = field(default_factory=dict)
    spawned_ns: int = 0  # monotonic clock when the process was started

    def to_json(self) -> str:
        """For the process's command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "queries": tuple(values["queries"])})

    def settings(self) -> dict[str, object]:
        """What a table needs to tell this setting from others."""
        values = dataclasses.asdict(self)
        for name in ("scenario", "bundle", "spawned_ns", "trace"):
            del values[name]
        engine = values.pop("engine")
        return {**values, **engine}
