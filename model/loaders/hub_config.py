"""Reads the `config.json` of a hub folder, refusing what our layers don't compute."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..checkpoint import CheckpointError
from ..config import TransformerConfig


class HubConfig:
    """The values of a JSON file; every refusal names the file and the field."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path, self.values = path, values

    @classmethod
    def read(cls, path: Path) -> HubConfig:
        """Reads a JSON object; CheckpointError where there is none."""
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; expected the folder of a hub checkpoint")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{path}: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: not a JSON object")
        return cls(path, values)

    def get(self, name: str, default: Any = None) -> Any:
        """A value; a null counts as absent."""
        value = self.values.get(name)
        return default if value is None else value

    def integer(self, name: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self.refusal(name, "a positive whole number")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise self.refusal(name, "a positive number")
        return float(value)

    def group(self, name: str) -> HubConfig:
        """A nested object; empty where it is absent."""
        value = self.get(name, {})
        if not isinstance(value, dict):
            raise self.refusal(name, "an object")
        return HubConfig(self.path, value)

    def require(self, name: str, *allowed: Any) -> None:
        """Refuses any value but these; None among them allows an absent one."""
        if self.get(name) not in allowed:
            names = [json.dumps(value) for value in allowed if value is not None]
            raise self.refusal(name, " or ".join(names) or "null")

    def refusal(self, name: str, expected: str) -> CheckpointError:
        """The error for a field that is not as expected."""
        found = json.dumps(self.values.get(name))
        return CheckpointError(f"{self.path}: {name} is {found}, expected {expected}")


def check_sizes(path: Path, found: TransformerConfig, model: TransformerConfig, part: str) -> None:
    """Refuses a checkpoint whose stack is not the one that the model's configuration asks for."""
    differences = [
        f"{field.name} is {getattr(found, field.name)}, expected {getattr(model, field.name)}"
        for field in dataclasses.fields(TransformerConfig)
        if getattr(found, field.name) != getattr(model, field.name)
    ]
    if differences:
        raise CheckpointError(f"{path}: not the {part}'s stack: " + "; ".join(differences))
