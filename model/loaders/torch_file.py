"""Reads `.pt` files by `torch.load(weights_only=True)`, mapped: no code in them ever runs."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import CheckpointError
from .safetensors_files import SafetensorsFiles
from .tensor_source import TensorSource

SUFFIXES = (".pt", ".pth", ".bin")

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}


class TorchFile(TensorSource):
    """The tensors of one mapping inside a .pt file; whatever else that mapping holds is ignored."""

    def __init__(self, path: Path, tensors: Mapping[str, Any]) -> None:
        self.path = path
        self._tensors = {k: v for k, v in tensors.items() if isinstance(v, Tensor)}

    def __exit__(self, *error: object) -> None:
        self._tensors = {}

    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> str:
        """The stored type in the words of safetensors."""
        dtype = self._tensors[name].dtype
        return _TYPES.get(dtype, str(dtype).removeprefix("torch."))

    def read(self, name: str) -> Tensor:
        """The tensor, mapped from the file."""
        return self._tensors[name]

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A slice along the first axis, mapped from the file."""
        return self._tensors[name][start:stop]


def read_torch(path: Path) -> dict[str, Any]:
    """What a .pt file holds, its tensors mapped. CheckpointError for anything but plain values."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    if magic != b"PK\x03\x04":
        raise CheckpointError(
            f"{path}: not a zip-format PyTorch file; files of torch < 1.6 and bare pickles are not "
            "read: convert it to safetensors"
        )
    try:
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found.group(1)})" if found else ""
        raise CheckpointError(
            f"{path}: refused, it holds Python objects{what} besides tensors and plain values; "
            "convert it to safetensors"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise CheckpointError(f"{path}: truncated or damaged ({reason})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds a {type(values).__name__}, expected a mapping")
    return values


def open_tensors(path: Path, entries: tuple[str, ...] = ()) -> TensorSource:
    """The tensors of a checkpoint, whatever its format.

    A .pt file may hold several mappings of tensors: the first of `entries` that is there is taken,
    or else the file must be such a mapping itself.
    """
    if path.suffix not in SUFFIXES:
        return SafetensorsFiles(path)
    values = read_torch(path)
    for entry in entries:
        if isinstance(values.get(entry), dict):
            return TorchFile(path, values[entry])
    if not any(isinstance(value, Tensor) for value in values.values()):
        wanted = " or ".join(entries) if entries else "tensors"
        raise CheckpointError(f"{path}: holds {', '.join(sorted(values))}, expected {wanted}")
    return TorchFile(path, values)
