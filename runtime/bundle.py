"""A bundle or image as a list of sections, for whatever needs no engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import BundleError, check

KINDS: dict[int, str] = {
    number: name.removeprefix("VLJ_SECTION_").lower()
    for number, name in ffi.typeof("vlj_section_kind").elements.items()
}
COMPONENTS = ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")


def default_bundle() -> Path:
    """Folder of the nano bundle that comes with the package."""
    return Path(str(files("vljepa_edge"))) / "bundles" / "nano"


@dataclass(frozen=True)
class Section:
    """One section: what it is, where it lies, and what its bytes hash to."""

    kind: str
    name: str
    file: str  # "" when it lies inside the opened file
    size: int
    sha256: str


class Bundle:
    """The index of a bundle folder or image, opened and checked without any backend."""

    def __init__(self, path: str | os.PathLike[str], verify_hashes: bool = False) -> None:
        self.path = Path(path)
        out = ffi.new("vlj_index **")
        check(lib.vlj_index_open(os.fsencode(self.path), int(verify_hashes), out))
        self._index = ffi.gc(out[0], lib.vlj_index_close)
        self._entries = [self._entry(i) for i in range(lib.vlj_index_section_count(self._index))]
        self.sections = [
            Section(
                KINDS.get(entry.kind, f"kind {entry.kind}"),
                ffi.string(entry.name).decode("utf-8", "replace"),
                ffi.string(entry.file).decode("utf-8", "replace"),
                int(entry.size),
                bytes(entry.sha256).hex(),
            )
            for entry in self._entries
        ]

    def _entry(self, i: int) -> Any:
        section = ffi.new("vlj_section *")
        section.struct_size = ffi.sizeof("vlj_section")
        check(lib.vlj_index_section(self._index, i, section))
        return section

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Section]:
        return iter(self.sections)

    def close(self) -> None:
        """Unmaps everything; bytes that `read` gave stay valid, they are copies."""
        if self._index is not None:
            ffi.release(self._index)
            self._index = None

    def read(self, kind: str, name: str | None = None) -> bytes:
        """A copy of one section's bytes. BundleError when there is none such."""
        for section, entry in zip(self.sections, self._entries, strict=True):
            if section.kind == kind and name in (None, section.name):
                return bytes(ffi.buffer(entry.bytes, entry.size))
        wanted = f"{kind} {name!r}" if name else kind
        raise BundleError(f"{self.path}: has no section {wanted}; export the bundle again")

    def has(self, kind: str, name: str | None = None) -> bool:
        """Whether `read` would find it."""
        return any(s.kind == kind and name in (None, s.name) for s in self.sections)

    @property
    def components(self) -> list[str]:
        """Names of the components that it has an engine for."""
        return [name for name in COMPONENTS if self.has("engine", name)]

    def manifest(self) -> dict[str, Any]:
        """bundle.json; empty where the bundle carries none."""
        if not self.has("manifest"):
            return {}
        try:
            manifest = json.loads(self.read("manifest"))
        except ValueError as error:
            raise BundleError(f"{self.path}: bundle.json is not JSON ({error})") from error
        if not isinstance(manifest, dict):
            raise BundleError(f"{self.path}: bundle.json must hold an object")
        return manifest

    def world(self) -> int:
        """Version of sprite world that the model was trained on, by its card; 1 where none is told.

        BundleError where that is no version number.
        """
        found: Any = self.manifest()
        for name in ("provenance", "card", "world"):
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            return 1
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise BundleError(
                f"{self.path}: provenance.card.world is {found!r}, expected 1 or more"
            )
        return found
