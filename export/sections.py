"""Sections of a bundle's index as bytes: the payloads of docs/format.md."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.search import quantise_rows
from .errors import ExportError

ALIGNMENT = 64
NAME_BYTES = 63  # and a NUL
Matrix = NDArray[np.float32] | NDArray[np.float16]


class Kind(IntEnum):
    """`vlj_section_kind`."""

    CONFIG = 1
    ENGINE = 2
    ENGINE_DATA = 3
    QUERY = 4
    PHRASE_BANK = 5
    VOCABULARY = 6
    TOKEN_EMBEDDINGS = 7
    GOLDEN = 8
    TOKENIZER = 9
    MANIFEST = 10


# Kinds whose bytes lie in index.vlj; the others are files beside it.
INSIDE = frozenset(
    (Kind.CONFIG, Kind.QUERY, Kind.PHRASE_BANK, Kind.VOCABULARY, Kind.TOKEN_EMBEDDINGS)
)


@dataclass(frozen=True)
class Section:
    """One entry of the section table. `content`: its bytes, or the file that holds them."""

    kind: int
    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True)
class CoreConfig:
    """CONFIG: what the C core knows of the model. Names and order follow docs/format.md."""

    name: str
    precision: str
    frames: int
    height: int
    width: int
    tubelet_frames: int
    patch_pixels: int
    fps: float
    stride: int
    resize_short_side: int
    resize_filter: int
    visual_tokens: int
    visual_width: int
    query_width: int
    max_query_tokens: int
    embedding_width: int
    text_max_tokens: int
    pooling: int
    rope_variant: int
    prefix_tokens: int
    decoder_width: int
    kv_planes: int
    kv_heads: int
    head_size: int
    cache_length: int
    vocabulary: int
    begin_token: int
    end_token: int
    max_new_tokens: int
    decode_when: int
    gate_smoothing: int
    gate_confirm: int
    gate_ward_threshold: float
    gate_variance_threshold: float
    gate_hysteresis: float
    gate_target_rate_hz: float
    gate_min_interval_ns: int
    gate_max_interval_ns: int

    SIZE: ClassVar[int] = 512
    # struct size, name, precision, then the other fields in order; "4x" is the zero at 220.
    _LAYOUT: ClassVar[str] = "<I64s16s 5I f 24I 4f 4x 2q"

    def section(self) -> Section:
        """The 512 bytes. ExportError where a field doesn't fit."""
        values = dataclasses.astuple(self)
        name, precision = _fixed(self.name, 63, "name"), _fixed(self.precision, 15, "precision")
        try:
            packed = struct.pack(self._LAYOUT, self.SIZE, name, precision, *values[2:])
        except struct.error as error:
            raise ExportError(f"CONFIG: a field is out of range: {error}") from error
        return Section(Kind.CONFIG, "config", packed.ljust(self.SIZE, b"\0"))


def query_section(text: str, embeddings: Matrix) -> Section:
    """QUERY: a compiled query, token embeddings [tokens, width]."""
    encoded = text.encode()
    if not text.strip():
        raise ExportError("a query is empty", "give it a text")
    if b"\0" in encoded:
        raise ExportError(f"query {text!r} holds a NUL character")
    rows, tokens, width, dtype = _matrix(embeddings, f"query {text!r}")
    head = struct.pack("<4I", tokens, width, dtype, len(encoded))
    return Section(Kind.QUERY, shorten(text), _blocks(head, encoded, rows))


def phrase_bank_section(
    name: str, phrases: Sequence[str], embeddings: Matrix, *, int8: bool = False
) -> Section:
    """PHRASE_BANK: texts and their unit embeddings [count, width], stored as INT8 if so told.

    INT8 takes a quarter of the bytes, and of a search's time; each row has a scale of its own.
    """
    rows, count, width, dtype = _matrix(embeddings, f"phrase bank {name!r}")
    blocks = [rows]
    if int8:
        quantised = quantise_rows(embeddings)
        dtype = 5
        blocks = [quantised.values.tobytes(), quantised.scales.astype("<f4").tobytes()]
    if count != len(phrases):
        raise ExportError(f"phrase bank {name!r}: {len(phrases)} phrases but {count} embeddings")
    for phrase in phrases:
        if not phrase.strip() or "\0" in phrase:
            raise ExportError(f"phrase bank {name!r}: phrase {phrase!r} is empty or holds a NUL")
    offsets, text = _strings([phrase.encode() + b"\0" for phrase in phrases])
    head = struct.pack("<4I", count, width, dtype, len(text))
    return Section(Kind.PHRASE_BANK, _checked_name(name), _blocks(head, offsets, text, *blocks))


def vocabulary_section(tokens: Sequence[bytes], name: str = "y_decoder") -> Section:
    """VOCABULARY: the bytes of each token; decoding is concatenation."""
    offsets, text = _strings(tokens)
    head = struct.pack("<2I", len(tokens), len(text))
    return Section(Kind.VOCABULARY, name, _blocks(head, offsets, text))


def token_embeddings_section(name: str, table: Matrix) -> Section:
    """TOKEN_EMBEDDINGS: one row per token id."""
    rows, count, width, dtype = _matrix(table, f"token embeddings {name!r}")
    head = struct.pack("<3I", count, width, dtype)
    return Section(Kind.TOKEN_EMBEDDINGS, name, _blocks(head, rows))


def file_section(kind: Kind, path: Path, name: str | None = None) -> Section:
    """A section that is a file of the bundle; its name is the file's unless told."""
    return Section(kind, path.name if name is None else name, path)


def shorten(text: str, limit: int = NAME_BYTES) -> str:
    """`text` cut to `limit` bytes of UTF-8, never inside a character."""
    return text.encode()[:limit].decode(errors="ignore")


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return (size + alignment - 1) // alignment * alignment


def _fixed(text: str, limit: int, field: str) -> bytes:
    encoded = text.encode("ascii", errors="replace")
    if not 0 < len(encoded) <= limit or encoded.decode() != text:
        raise ExportError(f"CONFIG: {field} {text!r} is not 1 to {limit} ASCII characters")
    return encoded


def _checked_name(name: str) -> str:
    if not 0 < len(name.encode()) <= NAME_BYTES or "\0" in name:
        raise ExportError(f"section name {name!r} is not 1 to {NAME_BYTES} bytes")
    return name


def _matrix(array: Matrix, what: str) -> tuple[bytes, int, int, int]:
    """Bytes, rows, columns and `vlj_dtype` of a float32 or float16 matrix."""
    if array.ndim != 2 or 0 in array.shape or array.dtype not in (np.float32, np.float16):
        raise ExportError(
            f"{what}: expected a filled [rows, width] matrix of float32 or float16, "
            f"found {list(array.shape)} of {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ExportError(f"{what}: it holds NaN or infinity")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.tobytes(), *array.shape, 2 if array.dtype == np.float32 else 3


def _strings(items: Sequence[bytes]) -> tuple[bytes, bytes]:
    """u32 offsets[count + 1] and the joined bytes."""
    ends = np.cumsum([0, *(len(item) for item in items)], dtype=np.uint64)
    if ends[-1] > 0xFFFFFFFF:
        raise ExportError("a text block is longer than 4 GiB")
    return ends.astype("<u4").tobytes(), b"".join(items)


def _blocks(head: bytes, *blocks: bytes) -> bytes:
    """A 64-byte header, then each block on a multiple of 64."""
    out = bytearray(head.ljust(ALIGNMENT, b"\0"))
    for block in blocks:
        out += bytes(align(len(out)) - len(out))
        out += block
    return bytes(out)
