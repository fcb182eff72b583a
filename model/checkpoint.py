"""Checkpoints: a folder with config.json, model.safetensors and tokenizer.json.

The training state (optimiser, step) lies apart in `training_state.pt` and is not part of a release.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

from .config import VLJEPAConfig
from .tokenizer import load_tokenizer
from .vl_jepa import VLJEPA


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says which file and what to do."""


class Configured(Protocol):
    """What a checkpoint holds: a module that knows its sizes."""

    config: VLJEPAConfig

    def state_dict(self) -> dict[str, Any]:
        """Its tensors by name."""


@dataclass
class Checkpoint:
    """A model with its tokenizer and what is known of its making."""

    model: VLJEPA
    tokenizer: Tokenizer
    card: dict[str, Any]
    sha256: str

    @property
    def world(self) -> int:
        """Version of sprite world that it was trained on; 1 where the card tells none."""
        return int(self.card.get("world", 1))


def save(
    folder: Path,
    model: Configured,
    tokenizer: Tokenizer,
    card: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a checkpoint; every file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    state = {name: value.detach().to(dtype).contiguous() for name, value in state.items()}
    _replace(folder / "model.safetensors", lambda path: save_file(state, path))
    _write(folder / "config.json", model.config.to_json() + "\n")
    _write(folder / "tokenizer.json", tokenizer.to_str())
    _write(folder / "card.json", json.dumps(card, indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Checkpoint:
    """Reads a checkpoint in float32; CheckpointError lists what is missing or misshapen."""
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: no {name}; expected a checkpoint folder")
    try:
        config = VLJEPAConfig.read(folder / "config.json")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: not a model configuration: {error}"
        ) from error
    model = VLJEPA(config)
    load_weights(model, folder / "model.safetensors")
    card = told_by(folder)
    digest = weights_sha256(folder)
    return Checkpoint(model.eval(), load_tokenizer(folder / "tokenizer.json"), card, digest)


def weights_sha256(folder: Path) -> str:
    """Hex digest of a checkpoint's weights file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def told_by(folder: Path) -> dict[str, Any]:
    """A checkpoint's card; empty where it has none."""
    path = folder / "card.json"
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return card


def load_weights(model: nn.Module, path: Path) -> None:
    """Copies a safetensors file into the model, one tensor at a time."""
    own = _state(model)
    try:
        with safe_open(path, framework="pt") as file:
            found = set(file.keys())
            problems = [f"missing {k}" for k in sorted(own.keys() - found)]
            problems += [f"unexpected {k}" for k in sorted(found - own.keys())]
            for name in sorted(own.keys() & found):
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(own[name].shape):
                    problems.append(f"{name} is {shape}, expected {tuple(own[name].shape)}")
            if problems:
                more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
                raise CheckpointError(f"{path}: " + "; ".join(problems[:8]) + more)
            with torch.no_grad():
                for name in sorted(found):
                    own[name].copy_(file.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def save_training_state(folder: Path, state: dict[str, Any]) -> None:
    """Optimiser and progress, to resume from."""
    _replace(folder / "training_state.pt", lambda path: torch.save(state, path))


def load_training_state(folder: Path) -> dict[str, Any] | None:
    """What `save_training_state` wrote, or None."""
    path = folder / "training_state.pt"
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.state_dict())


def _write(path: Path, text: str) -> None:
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    temporary.replace(path)
