"""Reads safetensors: one file, or a folder with `model.safetensors` or its shards and their index.

The files are mapped, never read whole: only the tensor that is asked for is brought in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checkpoint import CheckpointError
from .tensor_source import TensorSource

INDEX = "model.safetensors.index.json"


class SafetensorsFiles(TensorSource):
    """The tensors of a .safetensors file or of a folder of them.

    CheckpointError for a damaged file, an index that names what is not there, a Git LFS pointer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._holder: dict[str, Any] = {}
        try:
            for file, names in _files(path).items():
                opened = self._open(file)
                held = set(opened.keys())
                lacking = sorted(names - held) if names is not None else []
                if lacking:
                    raise CheckpointError(
                        f"{file}: {INDEX} says that it holds {lacking[0]}, but it does not; "
                        "download the folder again"
                    )
                self._holder.update(dict.fromkeys(held if names is None else names, opened))
        except BaseException:
            self._stack.close()
            raise

    def _open(self, file: Path) -> Any:
        try:
            with file.open("rb") as start:
                pointer = start.read(40).startswith(b"version https://git-lfs")
            if pointer:
                raise CheckpointError(
                    f"{file}: a Git LFS pointer, not the weights; run git lfs pull"
                )
            return self._stack.enter_context(safe_open(file, framework="pt"))
        except (SafetensorError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{file}: not a readable safetensors file ({reason}); download it again"
            ) from error

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._holder)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header."""
        return tuple(self._holder[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """The stored type: F32, BF16, I8, ..."""
        return str(self._holder[name].get_slice(name).get_dtype())

    def read(self, name: str) -> Tensor:
        """The whole tensor as it is stored."""
        with self._reading(name):
            tensor: Tensor = self._holder[name].get_tensor(name)
        return tensor

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A slice along the first axis."""
        with self._reading(name):
            tensor: Tensor = self._holder[name].get_slice(name)[start:stop]
        return tensor

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path}: cannot read {name}: {error}") from error


def _files(path: Path) -> dict[Path, set[str] | None]:
    """Each file with the names it must hold, or None where it alone says what it holds."""
    if path.is_file():
        return {path: None}
    if (path / INDEX).is_file():
        return _indexed(path)
    if (path / "model.safetensors").is_file():
        return {path / "model.safetensors": None}
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    raise CheckpointError(f"{path}: no model.safetensors and no {INDEX} in this folder")


def _indexed(folder: Path) -> dict[Path, set[str] | None]:
    index = folder / INDEX
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files: dict[Path, set[str] | None] = {}
        for name, file in weight_map.items():
            if Path(file).name != file:
                raise ValueError(f"{file!r} is not a plain file name")
            names = files.setdefault(folder / file, set())
            assert names is not None
            names.add(name)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{index}: not a safetensors index: {error}") from error
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise CheckpointError(f"{index}: names {absent[0]}{more}, not in this folder; download it")
    return files
