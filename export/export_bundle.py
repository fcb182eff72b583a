"""From a model or checkpoint to a finished bundle: what `vljepa export` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..model import checkpoint
from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from . import bundle, golden, phrases, queries
from .components import TensorSpec, component_names
from .describe import describe
from .errors import ExportError
from .index_writer import sha256_file
from .manifest import (
    TOKENIZER_ROLES,
    ComponentRecord,
    FileRecord,
    GateSettings,
    PhraseBankRecord,
    Provenance,
    TensorRecord,
    TokenizerRecord,
    gate_problems,
)
from .onnx_export import OPSET, ExportedComponent, export_component
from .sections import Section, token_embeddings_section, vocabulary_section
from .source import Source, open_source
from .vocabulary import token_bytes

DEFAULT_QUERY = "What is happening?"
TEMPLATE = "{text}"
# A query embedding table up to this size goes into the bundle, so that new queries can be compiled
# on the device; a larger one (Llama's has 1 GB) stays behind, and queries are compiled where it is.
QUERY_TABLE_BYTES = 64_000_000
# What is being done, steps done, steps in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExportedBundle:
    """What was written: its folder, the digest that identifies it, and each component's graph."""

    folder: Path
    sha256: str
    components: dict[str, ExportedComponent] = field(default_factory=dict)


def export_bundle(
    source: VLJEPA | checkpoint.Checkpoint | Path,
    output: Path,
    *,
    tokenizer: Tokenizer | Path | None = None,
    query_texts: Sequence[str] = (),
    phrase_banks: Mapping[str, Sequence[str]] | None = None,
    gate: GateSettings | None = None,
    provenance: Provenance | None = None,
    query_table: bool | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportedBundle:
    """Exports all components in float32 and writes a bundle that is checked before it appears.

    `source`: a model, an opened checkpoint, or a checkpoint's folder; a model needs `tokenizer`.
    `query_texts` are compiled after the default query. `query_table`: whether the query embedding
    table goes along; by default where it is small. `output` appears whole, or not at all.
    Raises ExportError, CheckpointError or the runtime's BundleError; for what the caller gave,
    before anything is exported.
    """
    bundle.check_replaceable(output, overwrite)
    if problems := gate_problems(gate or GateSettings()):
        raise ExportError("; ".join(problems))
    opened = open_source(source, tokenizer, provenance)
    config = opened.model.config
    texts = _prepare_texts(opened, query_texts, phrase_banks or {})
    names = component_names(config)
    steps = _Steps(progress, len(names) + len(texts.banks) + 2)
    with bundle.staged(output, overwrite=overwrite) as folder:
        exported = {}
        for name in names:
            steps.next(f"exporting {name}")
            exported[name] = export_component(name, opened.model, folder)
        tables = _tables(opened.model, query_table)
        inner = [query.section() for query in texts.queries]
        for name, bank in texts.banks.items():
            steps.next(f"embedding phrases of {name}")
            inner.append(_compile_bank(opened, folder, name, bank))
        inner += [token_embeddings_section(name, table) for name, table in tables.items()]
        if texts.vocabulary is not None:
            inner.append(vocabulary_section(texts.vocabulary))
        steps.next("writing golden vectors")
        _write_golden(opened, folder, texts)
        steps.next("checking the bundle")
        manifest = replace(
            describe(config, gate or GateSettings(), opened.provenance),
            components={name: _component_record(part) for name, part in exported.items()},
            tokenizers=dict.fromkeys(_roles(config), _write_tokenizer(opened.tokenizer, folder)),
            token_embeddings=tuple(tables),
            queries=tuple(query.record() for query in texts.queries),
            phrase_banks=tuple(PhraseBankRecord(n, len(bank)) for n, bank in texts.banks.items()),
            golden=bundle.record(folder / bundle.GOLDEN),
        )
        digest = bundle.finish(folder, manifest, inner)
    final = {name: replace(part, path=output / part.path.name) for name, part in exported.items()}
    return ExportedBundle(output, digest, final)


class _Steps:
    """Counts steps for `progress`."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def next(self, what: str) -> None:
        if self.progress is not None:
            self.progress(what, self.done, self.total)
        self.done += 1


@dataclass(frozen=True)
class _Texts:
    """All text that goes along, checked."""

    queries: list[queries.CompiledQuery]
    banks: dict[str, list[str]]
    vocabulary: list[bytes] | None


def _prepare_texts(
    opened: Source, query_texts: Sequence[str], phrase_banks: Mapping[str, Sequence[str]]
) -> _Texts:
    config = opened.model.config
    table = opened.model.predictor.embed_tokens.weight.detach().numpy()
    most = config.predictor.max_query_tokens
    compiled = [
        queries.compile_query(text, opened.tokenizer, TEMPLATE, most, lambda ids: table[ids])
        for text in dict.fromkeys((DEFAULT_QUERY, *query_texts))
    ]
    banks = {name: phrases.distinct(name, texts) for name, texts in phrase_banks.items()}
    for texts in banks.values():
        for text in texts:
            queries.tokenize(
                text, opened.tokenizer, TEMPLATE, config.y_encoder.max_tokens, "phrase"
            )
    vocabulary = None
    if config.y_decoder is not None:
        vocabulary = token_bytes(opened.tokenizer, config.y_decoder.transformer.vocabulary)
    return _Texts(compiled, banks, vocabulary)


def _compile_bank(opened: Source, folder: Path, name: str, texts: Sequence[str]) -> Section:
    most = opened.model.config.y_encoder.max_tokens
    path = folder / "y_encoder.onnx"
    embed = phrases.TextEmbedder(path, opened.tokenizer, TEMPLATE, most)
    return phrases.compile_phrases(name, texts, embed)


def _tables(model: VLJEPA, query_table: bool | None) -> dict[str, NDArray[np.float32]]:
    """Embedding tables that go along: the Y-Decoder's always, the query table where it is small."""
    tables = {}
    query = model.predictor.embed_tokens.weight.detach().numpy()
    if query_table if query_table is not None else query.nbytes <= QUERY_TABLE_BYTES:
        tables["query"] = query
    if model.y_decoder is not None:
        tables["y_decoder"] = model.y_decoder.embed_tokens.weight.detach().numpy()
    return tables


def _write_golden(opened: Source, folder: Path, texts: _Texts) -> None:
    most = opened.model.config.y_encoder.max_tokens
    text_ids = queries.tokenize(DEFAULT_QUERY, opened.tokenizer, TEMPLATE, most, "text")
    embeddings = [query.embeddings for query in texts.queries]
    arrays = golden.golden_vectors(opened.model, embeddings, text_ids, texts.vocabulary)
    golden.write_npz(folder / bundle.GOLDEN, arrays)


def _roles(config: VLJEPAConfig) -> tuple[str, ...]:
    return TOKENIZER_ROLES if config.y_decoder is not None else TOKENIZER_ROLES[:2]


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> TokenizerRecord:
    path = folder / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return TokenizerRecord(path.name, path.stat().st_size, sha256_file(path), TEMPLATE)


def _component_record(part: ExportedComponent) -> ComponentRecord:
    def tensors(specs: tuple[TensorSpec, ...]) -> tuple[TensorRecord, ...]:
        return tuple(TensorRecord(s.name, s.dtype, s.shape) for s in specs)  # type: ignore[arg-type]

    own = bundle.record(part.path)
    external: tuple[FileRecord, ...] = ()
    if part.external is not None:
        external = (bundle.record(part.external),)
    return ComponentRecord(
        file=own.file,
        bytes=own.bytes,
        sha256=own.sha256,
        external_data=external,
        precision="fp32",
        opset=OPSET,
        inputs=tensors(part.spec.inputs),
        outputs=tensors(part.spec.outputs),
    )
