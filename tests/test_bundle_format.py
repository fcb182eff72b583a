"""index.vlj and images, byte for byte: an own reader of docs/format.md, and the core's."""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.index_writer import write_image, write_index
from vljepa_edge.export.sections import (
    CoreConfig,
    Kind,
    Section,
    file_section,
    phrase_bank_section,
    query_section,
    shorten,
    token_embeddings_section,
    vocabulary_section,
)
from vljepa_edge.runtime.bundle import Bundle

CONFIG = CoreConfig(
    name="format",
    precision="fp32",
    frames=8,
    height=128,
    width=96,
    tubelet_frames=2,
    patch_pixels=16,
    fps=7.5,
    stride=2,
    resize_short_side=146,
    resize_filter=0,
    visual_tokens=192,
    visual_width=11,
    query_width=12,
    max_query_tokens=512,
    embedding_width=13,
    text_max_tokens=64,
    pooling=1,
    rope_variant=1,
    prefix_tokens=4,
    decoder_width=14,
    kv_planes=6,
    kv_heads=3,
    head_size=64,
    cache_length=37,
    vocabulary=1000,
    begin_token=5,
    end_token=6,
    max_new_tokens=32,
    decode_when=3,
    gate_smoothing=4,
    gate_confirm=2,
    gate_ward_threshold=0.25,
    gate_variance_threshold=-1.0,
    gate_hysteresis=0.5,
    gate_target_rate_hz=0.125,
    gate_min_interval_ns=10**9,
    gate_max_interval_ns=-1,
)


@dataclass
class Entry:
    kind: int
    offset: int
    size: int
    digest: bytes
    name: str
    file: str


def read(path: Path) -> tuple[bytes, int, list[Entry]]:
    """The file, its flags and section table; checks header, digest and padding on the way."""
    raw = path.read_bytes()
    assert raw[:8] == b"VLJEPA\x1a\n"
    version, flags, size, count, entry_bytes, table = struct.unpack_from("<IIQIIQ", raw, 8)
    assert (version, size, entry_bytes, table % 64) == (1, len(raw), 192, 0)
    end = table + count * entry_bytes
    assert raw[40:72] == hashlib.sha256(raw[:40] + raw[table:end]).digest()
    assert not any(raw[72:128])
    entries = []
    for i in range(count):
        at = table + i * entry_bytes
        kind, zero, offset, length, digest = struct.unpack_from("<IIQQ32s", raw, at)
        assert zero == 0 and not any(raw[at + 184 : at + 192])
        texts = [raw[at + start : at + start + 64] for start in (56, 120)]
        name, file = (text.rstrip(b"\0").decode() for text in texts)
        entries.append(Entry(kind, offset, length, digest, name, file))
    return raw, flags, entries


def numbers(section: Section, count: int) -> tuple[int, ...]:
    assert isinstance(section.content, bytes)
    assert not any(section.content[4 * count : 64])
    return struct.unpack_from(f"<{count}I", section.content)


def test_config_fields_lie_where_the_format_says() -> None:
    content = CONFIG.section().content
    assert isinstance(content, bytes) and len(content) == 512
    text = {4: ("name", 64), 68: ("precision", 16)}
    for offset, (field, size) in text.items():
        assert content[offset : offset + size].rstrip(b"\0").decode() == getattr(CONFIG, field)
    u32 = {
        84: "frames", 88: "height", 92: "width", 96: "tubelet_frames", 100: "patch_pixels",
        108: "stride", 112: "resize_short_side", 116: "resize_filter", 120: "visual_tokens",
        124: "visual_width", 128: "query_width", 132: "max_query_tokens",
        136: "embedding_width", 140: "text_max_tokens", 144: "pooling", 148: "rope_variant",
        152: "prefix_tokens", 156: "decoder_width", 160: "kv_planes", 164: "kv_heads",
        168: "head_size", 172: "cache_length", 176: "vocabulary", 180: "begin_token",
        184: "end_token", 188: "max_new_tokens", 192: "decode_when", 196: "gate_smoothing",
        200: "gate_confirm",
    }  # fmt: skip
    f32 = {
        104: "fps", 204: "gate_ward_threshold", 208: "gate_variance_threshold",
        212: "gate_hysteresis", 216: "gate_target_rate_hz",
    }  # fmt: skip
    i64 = {224: "gate_min_interval_ns", 232: "gate_max_interval_ns"}
    for code, fields in (("<I", u32), ("<f", f32), ("<q", i64)):
        for offset, field in fields.items():
            assert struct.unpack_from(code, content, offset)[0] == getattr(CONFIG, field), field
    assert struct.unpack_from("<I", content)[0] == 512
    assert not any(content[220:224]) and not any(content[240:])


@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=1, max_size=90).filter(lambda t: t.strip() and "\0" not in t))
def test_query_section(text: str) -> None:
    rows = np.arange(15, dtype=np.float32).reshape(3, 5) / 7
    section = query_section(text, rows)
    assert isinstance(section.content, bytes)
    tokens, width, dtype, size = numbers(section, 4)
    assert (tokens, width, dtype) == (3, 5, 2)
    assert section.content[64 : 64 + size].decode() == text
    start = (64 + size + 63) // 64 * 64
    assert np.array_equal(np.frombuffer(section.content, "<f4", 15, start).reshape(3, 5), rows)
    assert len(section.content) == start + rows.nbytes
    assert len(section.name.encode()) <= 63 and text.startswith(section.name)


@settings(max_examples=30, deadline=None)
@given(
    phrases=st.lists(
        st.text(min_size=1, max_size=40).filter(lambda t: t.strip() and "\0" not in t),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    half=st.booleans(),
)
def test_phrase_bank_section(phrases: list[str], half: bool) -> None:
    rows = np.random.default_rng(0).random((len(phrases), 7), dtype=np.float32)
    matrix = rows.astype(np.float16) if half else rows
    section = phrase_bank_section("bank", phrases, matrix)
    assert isinstance(section.content, bytes)
    count, width, dtype, size = numbers(section, 4)
    assert (count, width, dtype) == (len(phrases), 7, 3 if half else 2)
    offsets = struct.unpack_from(f"<{count + 1}I", section.content, 64)
    text_start = (64 + 4 * (count + 1) + 63) // 64 * 64
    text = section.content[text_start : text_start + size]
    assert offsets[-1] == size
    for i, phrase in enumerate(phrases):
        assert text[offsets[i] : offsets[i + 1]] == phrase.encode() + b"\0"
    row_start = (text_start + size + 63) // 64 * 64
    found = np.frombuffer(section.content[row_start:], matrix.dtype).reshape(matrix.shape)
    assert np.array_equal(found, matrix)


def test_int8_phrase_bank_section() -> None:
    """Row i is scales[i] * values[i], of unit length, and the scales follow at a multiple of 64."""
    matrix = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float32)
    section = phrase_bank_section("bank", ["a", "b", "c"], matrix, int8=True)
    assert isinstance(section.content, bytes)
    assert numbers(section, 4) == (3, 70, 5, 6)
    values = np.frombuffer(section.content, np.int8, 210, 192).reshape(3, 70)
    scales = np.frombuffer(section.content, "<f4", 3, 192 + 256)
    rows = values * scales[:, None]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    cosines = (rows * matrix).sum(1) / np.linalg.norm(matrix, axis=1)
    assert cosines.min() > 0.9999


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.binary(max_size=9), min_size=1, max_size=40))
def test_vocabulary_section(tokens: list[bytes]) -> None:
    section = vocabulary_section(tokens)
    assert isinstance(section.content, bytes)
    count, size = numbers(section, 2)
    offsets = struct.unpack_from(f"<{count + 1}I", section.content, 64)
    start = (64 + 4 * (count + 1) + 63) // 64 * 64
    text = section.content[start:]
    assert len(text) == size == offsets[-1]
    assert [text[a:b] for a, b in itertools.pairwise(offsets)] == tokens


def test_token_embeddings_section() -> None:
    table = np.arange(12, dtype=np.float16).reshape(4, 3)
    section = token_embeddings_section("query", table)
    assert numbers(section, 3) == (4, 3, 3)
    assert isinstance(section.content, bytes) and section.content[64:] == table.tobytes()


@pytest.fixture
def sections(tmp_path: Path) -> list[Section]:
    """One of each kind, the files in a folder `bundle`."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, size in (("x_encoder.onnx", 5000), ("x_encoder.onnx.data", 3), ("golden.npz", 77)):
        (folder / name).write_bytes(bytes(i % 251 for i in range(size)))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "bundle.json").write_text("{}")
    rng = np.random.default_rng(1)
    rows = rng.random((4, 12), dtype=np.float32)
    return [
        CONFIG.section(),
        file_section(Kind.ENGINE, folder / "x_encoder.onnx", "x_encoder"),
        file_section(Kind.ENGINE_DATA, folder / "x_encoder.onnx.data"),
        query_section("What is happening?", rows),
        query_section("Où est le chat noir ?", rows[:2]),
        phrase_bank_section("words", ["a", "bb"], rng.random((2, 13), dtype=np.float32)),
        vocabulary_section([b"", b"\xc3", b" word"]),
        token_embeddings_section("query", rows),
        file_section(Kind.TOKENIZER, folder / "tokenizer.json"),
        file_section(Kind.GOLDEN, folder / "golden.npz"),
        file_section(Kind.MANIFEST, folder / "bundle.json"),
    ]


def content(section: Section) -> bytes:
    return section.content if isinstance(section.content, bytes) else section.content.read_bytes()


def test_index_keeps_files_outside_and_the_rest_inside(
    sections: list[Section], tmp_path: Path
) -> None:
    path = tmp_path / "bundle" / "index.vlj"
    digest = write_index(path, sections)
    raw, flags, entries = read(path)
    assert flags == 0 and digest == raw[40:72].hex()
    for section, entry in zip(sections, entries, strict=True):
        assert (entry.kind, entry.name, entry.size) == (section.kind, section.name, section.size)
        assert entry.digest == hashlib.sha256(content(section)).digest()
        if isinstance(section.content, Path):
            assert (entry.offset, entry.file) == (0, section.content.name)
        else:
            assert entry.offset % 64 == 0 and entry.file == ""
            assert raw[entry.offset : entry.offset + entry.size] == section.content


def test_image_holds_everything_with_engines_on_pages(
    sections: list[Section], tmp_path: Path
) -> None:
    path = tmp_path / "model.vlj"
    digest = write_image(path, sections)
    raw, flags, entries = read(path)
    assert flags == 1 and digest == raw[40:72].hex()
    for section, entry in zip(sections, entries, strict=True):
        assert entry.file == ""
        assert entry.offset % (4096 if section.kind in (Kind.ENGINE, Kind.ENGINE_DATA) else 64) == 0
        assert raw[entry.offset : entry.offset + entry.size] == content(section)


@pytest.mark.parametrize("image", [False, True])
def test_core_reads_what_was_written(sections: list[Section], tmp_path: Path, image: bool) -> None:
    path = tmp_path / "bundle" / "index.vlj"
    digest = (write_image if image else write_index)(path, sections)
    assert digest
    with Bundle(path, verify_hashes=True) as bundle:
        found = [(s.kind, s.name, s.size) for s in bundle]
        assert found == [(Kind(s.kind).name.lower(), s.name, s.size) for s in sections]
        for section in sections:
            assert bundle.read(Kind(section.kind).name.lower(), section.name) == content(section)


def test_bytes_are_reproducible(sections: list[Section], tmp_path: Path) -> None:
    for write in (write_index, write_image):
        first, second = tmp_path / "a.vlj", tmp_path / "b.vlj"
        assert write(first, sections) == write(second, sections)
        assert first.read_bytes() == second.read_bytes()


def test_long_queries_get_distinct_names(tmp_path: Path) -> None:
    rows = np.ones((1, 12), dtype=np.float32)
    texts = ["é" * 40 + end for end in ("a", "b", "c")] + ["two\nlines"]
    path = tmp_path / "index.vlj"
    write_index(path, [CONFIG.section(), *(query_section(text, rows) for text in texts)])
    _, _, entries = read(path)
    names = [entry.name for entry in entries[1:]]
    assert names == ["é" * 31, "é" * 30 + "~2", "é" * 30 + "~3", "two lines"]
    with Bundle(path, verify_hashes=True) as bundle:
        assert [s.name for s in bundle if s.kind == "query"] == names


@given(text=st.text(), limit=st.integers(0, 80))
def test_shorten_never_cuts_a_character(text: str, limit: int) -> None:
    cut = shorten(text, limit)
    assert text.startswith(cut) and len(cut.encode()) <= limit
    rest = text[len(cut) :]
    assert not rest or len((cut + rest[0]).encode()) > limit


def test_what_cannot_be_written_is_refused(sections: list[Section], tmp_path: Path) -> None:
    rows = np.ones((2, 3), dtype=np.float32)
    broken = rows.copy()
    broken[1, 1] = np.nan
    for call, message in (
        (lambda: query_section("  ", rows), "a query is empty"),
        (lambda: query_section("a\0b", rows), "NUL"),
        (lambda: query_section("a", broken), "NaN"),
        (lambda: query_section("a", rows[:0]), r"found \[0, 3\] of float32"),
        (lambda: phrase_bank_section("b", ["a"], rows), "1 phrases but 2 embeddings"),
        (lambda: phrase_bank_section("b" * 64, ["a", "b"], rows), "1 to 63 bytes"),
        (lambda: token_embeddings_section("t", rows.astype(np.float64)), "float64"),  # type: ignore[arg-type]
        (lambda: write_index(tmp_path / "i.vlj", []), "0 sections, expected 1 to 4096"),
        (lambda: write_index(tmp_path / "i.vlj", sections * 2), "are named 'config'"),
    ):
        with pytest.raises(ExportError, match=message):
            call()
    assert not (tmp_path / "i.vlj").exists()
    assert not list(tmp_path.glob(".*.partial"))


def test_a_failed_write_leaves_the_old_file(sections: list[Section], tmp_path: Path) -> None:
    path = tmp_path / "bundle" / "index.vlj"
    write_index(path, sections)
    before = path.read_bytes()
    (tmp_path / "bundle" / "golden.npz").unlink()
    with pytest.raises(FileNotFoundError):
        write_index(path, sections)
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*.partial"))
