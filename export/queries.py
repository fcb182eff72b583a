"""Compiles queries into a bundle: as token embeddings, so that the device needs no tokenizer."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import Bundle
from .bundle import check_folder, finish, staged, stored_sections
from .errors import ExportError
from .manifest import Manifest, QueryRecord
from .query_tables import Embed, Floats, check_same_table, checkpoint_embedder
from .sections import INSIDE, Kind, Section, align, query_section

# Every bundle has it, as its first.
DEFAULT_QUERY = "What is happening?"


def tokenize(
    text: str, tokenizer: Tokenizer, template: str, most: int, what: str
) -> NDArray[np.int64]:
    """Token ids of a text as the model was trained to see it; refuses empty and overlong texts."""
    if not text.strip():
        raise ExportError(f"{what} is empty", "give it a text")
    ids = tokenizer.encode(template.replace("{text}", text)).ids
    if not 1 <= len(ids) <= most:
        raise ExportError(f"{what} {text[:40]!r} has {len(ids)} tokens, expected 1 to {most}")
    return np.array(ids, dtype=np.int64)


def open_tokenizer(path: Path) -> Tokenizer:
    """Reads a `tokenizer.json`, without any padding or truncation that it may be set to."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers package raises plain Exception
        raise ExportError(f"{path}: not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@dataclass(frozen=True)
class CompiledQuery:
    """A query as the Predictor takes it: token embeddings [tokens, width]."""

    text: str
    embeddings: Floats

    def section(self) -> Section:
        """What goes into the index."""
        return query_section(self.text, self.embeddings)

    def record(self) -> QueryRecord:
        """What goes into the manifest."""
        return QueryRecord(self.text, len(self.embeddings))


def compile_query(
    text: str, tokenizer: Tokenizer, template: str, most: int, embed: Embed
) -> CompiledQuery:
    """Tokenizes and embeds a text of at most `most` tokens."""
    ids = tokenize(text, tokenizer, template, most, "query")
    return CompiledQuery(text, embed(ids).astype(np.float32))


def add_queries(folder: Path, texts: Sequence[str], *, checkpoint: Path | None = None) -> list[str]:
    """Compiles `texts` into the bundle `folder`; returns those that it didn't have yet.

    The embeddings come from the bundle's own table, or from `checkpoint` where the bundle carries
    none (at paper scale): a checkpoint folder of ours, the Predictor's Llama, or a best.pt, whose
    table must give the bundle's first query as it is. The bundle is replaced whole, or stays as it
    was.
    """
    manifest = check_folder(folder)
    record = manifest.tokenizers.get("query")
    if record is None:
        raise ExportError(f"{folder} carries no tokenizer for queries", "export it with one")
    known = {query.text for query in manifest.queries}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    with Bundle(folder) as bundle:
        embed = _embedder(folder, bundle, manifest, checkpoint)
        inner = stored_sections(folder, bundle, INSIDE - {Kind.CONFIG})
        first = _first_query(bundle, manifest)
    tokenizer = open_tokenizer(folder / record.file)
    most = manifest.model.max_query_tokens
    if checkpoint is not None and new and first is not None:
        again = compile_query(first.text, tokenizer, record.template, most, embed)
        check_same_table(checkpoint, first.text, first.embeddings, again.embeddings)
    compiled = [compile_query(text, tokenizer, record.template, most, embed) for text in new]
    if not compiled:
        return []
    last = max((i for i, s in enumerate(inner) if s.kind == Kind.QUERY), default=-1) + 1
    inner[last:last] = [query.section() for query in compiled]
    records = manifest.queries + tuple(query.record() for query in compiled)
    rewrite(folder, dataclasses.replace(manifest, queries=records), inner)
    return new


def rewrite(folder: Path, manifest: Manifest, inner: Sequence[Section]) -> None:
    """Replaces a bundle's manifest and index; engines and other files are linked, not copied."""
    with staged(folder, overwrite=True) as staging:
        for name in manifest.files():
            _link(folder / name, staging / name)
        finish(staging, manifest, inner)


def _embedder(folder: Path, bundle: Bundle, manifest: Manifest, checkpoint: Path | None) -> Embed:
    width = manifest.model.query_width
    if checkpoint is not None:
        return checkpoint_embedder(checkpoint, width)
    if not bundle.has("token_embeddings", "query"):
        raise ExportError(
            f"{folder} carries no query embedding table",
            "name the checkpoint that it was made from",
        )
    payload = bundle.read("token_embeddings", "query")
    rows, columns, dtype = np.frombuffer(payload, "<u4", 3)
    table = np.frombuffer(payload, "<f4" if dtype == 2 else "<f2", rows * columns, 64)
    table = table.reshape(rows, columns)
    return lambda ids: table[ids].astype(np.float32)


def _first_query(bundle: Bundle, manifest: Manifest) -> CompiledQuery | None:
    """The bundle's default query as it is stored (docs/format.md); None where it has none."""
    if not manifest.queries:
        return None
    payload = bundle.read("query")
    tokens, width, dtype, encoded = (int(n) for n in np.frombuffer(payload, "<u4", 4))
    start = align(align(16) + encoded)
    rows = np.frombuffer(payload, "<f4" if dtype == 2 else "<f2", tokens * width, start)
    return CompiledQuery(manifest.queries[0].text, rows.reshape(tokens, width).astype(np.float32))


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
