"""Where a loader gets its tensors from: named, with shapes known before anything is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor


class TensorSource(AbstractContextManager["TensorSource"], ABC):
    """Tensors of a checkpoint by name, read one at a time; `path` is what messages name."""

    path: Path

    @abstractmethod
    def names(self) -> set[str]:
        """The names of all tensors."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header."""

    @abstractmethod
    def dtype(self, name: str) -> str:
        """The stored type in the words of safetensors: F32, BF16, I8, ..."""

    @abstractmethod
    def read(self, name: str) -> Tensor:
        """The whole tensor as it is stored."""

    @abstractmethod
    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A slice along the first axis."""


class Renamed(TensorSource):
    """Another source under other names; a tensor that `rename` maps to None is left out."""

    def __init__(self, source: TensorSource, rename: Callable[[str], str | None]) -> None:
        self.source, self.path = source, source.path
        pairs = ((rename(name), name) for name in source.names())
        self.original = {new: old for new, old in pairs if new is not None}

    def __exit__(self, *error: object) -> None:
        self.source.__exit__(*error)  # type: ignore[arg-type]

    def names(self) -> set[str]:
        """The new names."""
        return set(self.original)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self.source.shape(self.original[name])

    def dtype(self, name: str) -> str:
        """The stored type."""
        return self.source.dtype(self.original[name])

    def read(self, name: str) -> Tensor:
        """The whole tensor."""
        return self.source.read(self.original[name])

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A slice along the first axis."""
        return self.source.rows(self.original[name], start, stop)


def below(prefix: str) -> Callable[[str], str | None]:
    """A `rename` that keeps the names that start with `prefix`, without it."""

    def rename(name: str) -> str | None:
        return name[len(prefix) :] if name.startswith(prefix) else None

    return rename
