"""The one writer of `index.vlj` and of images (.vlj), byte for byte as docs/format.md says.

The same sections give the same bytes: order, padding and digests depend on nothing else.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import ExportError
from .sections import ALIGNMENT, INSIDE, NAME_BYTES, Kind, Section, align, shorten

MAGIC = b"VLJEPA\x1a\n"
FORMAT_VERSION = 1
IMAGE_FLAG = 1
HEADER_BYTES = 128
ENTRY_BYTES = 192
PAGE = 4096
MAX_SECTIONS = 4096
_CHUNK = 1 << 20


def write_index(path: Path, sections: Sequence[Section]) -> str:
    """Writes `index.vlj`: inner sections inside, the rest named as files beside it.

    Returns the digest that identifies the bundle. `path` holds all of it, or what it held before.
    """
    return _write(path, sections, image=False)


def write_image(path: Path, sections: Sequence[Section]) -> str:
    """Writes an image: every section inside, engines on pages. Returns the image's digest."""
    return _write(path, sections, image=True)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes renames and new files in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, sections: Sequence[Section], *, image: bool) -> str:
    if not 0 < len(sections) <= MAX_SECTIONS:
        raise ExportError(f"{path}: {len(sections)} sections, expected 1 to {MAX_SECTIONS}")
    names = _unique_names(sections)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w+b") as file:
            digest = _write_file(file, sections, names, image=image)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return digest


def _write_file(
    file: BinaryIO, sections: Sequence[Section], names: Sequence[str], *, image: bool
) -> str:
    table_offset = align(HEADER_BYTES)
    file.write(bytes(table_offset + len(sections) * ENTRY_BYTES))
    table = bytearray()
    for section, name in zip(sections, names, strict=True):
        inside = image or section.kind in INSIDE
        offset, file_name = 0, ""
        if inside:
            on_page = image and section.kind in (Kind.ENGINE, Kind.ENGINE_DATA)
            offset = _pad(file, PAGE if on_page else ALIGNMENT)
        else:
            if not isinstance(section.content, Path):
                raise ExportError(
                    f"section {section.name!r} is a file in an index, but has no path"
                )
            file_name = _plain_name(section.content.name)
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(section.content):
            digest.update(piece)
            size += len(piece)
            if inside:
                file.write(piece)
        table += struct.pack(
            "<IIQQ32s64s64s8x",
            section.kind,
            0,
            offset,
            size,
            digest.digest(),
            name.encode(),
            file_name.encode(),
        )
    flags = IMAGE_FLAG if image else 0
    header = MAGIC + struct.pack(
        "<IIQIIQ", FORMAT_VERSION, flags, file.tell(), len(sections), ENTRY_BYTES, table_offset
    )
    total = hashlib.sha256(header + table)
    file.seek(0)
    file.write((header + total.digest()).ljust(HEADER_BYTES, b"\0"))
    file.seek(table_offset)
    file.write(table)
    return total.hexdigest()


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _pad(file: BinaryIO, alignment: int) -> int:
    """Fills up to a multiple of `alignment`; returns where the file stands then."""
    at = file.tell()
    file.write(bytes(align(at, alignment) - at))
    return file.tell()


def _plain_name(name: str) -> str:
    if not 0 < len(name.encode()) <= NAME_BYTES or "/" in name or ".." in name:
        raise ExportError(f"file name {name!r} is not a plain name of 1 to {NAME_BYTES} bytes")
    return name


def _unique_names(sections: Sequence[Section]) -> list[str]:
    """Names as the table holds them: printable, and unique within a kind.

    Two long queries may be cut to the same name: the later ones get `~2`, `~3`, ... at their end.
    """
    taken: set[tuple[int, str]] = set()
    names = []
    for section in sections:
        base = shorten("".join(c if c.isprintable() else " " for c in section.name))
        name, number = base, 1
        while (section.kind, name) in taken:
            if section.kind != Kind.QUERY:
                raise ExportError(f"two sections of kind {section.kind} are named {name!r}")
            number += 1
            suffix = f"~{number}"
            name = shorten(base, NAME_BYTES - len(suffix)) + suffix
        taken.add((section.kind, name))
        names.append(name)
    return names
