"""From a model or checkpoint to a finished bundle: what `vljepa export` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
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
)
from .onnx_export import OPSET, ExportedComponent, export_component
from .sections import Section, token_embeddings_section, vocabulary_section
from .vocabulary import token_bytes

DEFAULT_QUERY = "What is happening?"
TEMPLATE = "{text}"
# A query embedding table up to this size goes into the bundle, so that new queries can be compiled
# on the device; a larger one (Llama's has 1 GB) stays behind, and queries are compiled where it is.
QUERY_TABLE_BYTES = 64_000_000
# What was done, steps done, steps in all.
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
    Raises ExportError, CheckpointError or the runtime's BundleError.
    """
    bundle.check_replaceable(output, overwrite)
    opened = _open(source, tokenizer, provenance)
    banks = dict(phrase_banks or {})
    names = component_names(opened.model.config)
    steps = _Steps(progress, len(names) + 3 + len(banks))
    with bundle.staged(output, overwrite=overwrite) as folder:
        exported = {}
        for name in names:
            steps.next(f"exporting {name}")
            exported[name] = export_component(name, opened.model, folder)
        steps.next("compiling queries")
        tokenizer_record = _write_tokenizer(opened.tokenizer, folder)
        compiled = _compile_queries(opened, query_texts)
        inner = [query.section() for query in compiled]
        bank_records = []
        for name, texts in banks.items():
            steps.next(f"embedding phrases of {name}")
            section = _compile_bank(opened, folder, name, texts)
            inner.append(section)
            bank_records.append(PhraseBankRecord(name, len(dict.fromkeys(texts))))
        tables = _tables(opened.model, query_table)
        inner += [token_embeddings_section(name, table) for name, table in tables.items()]
        steps.next("writing golden vectors")
        vocabulary = _vocabulary(opened)
        if vocabulary is not None:
            inner.append(vocabulary_section(vocabulary))
        _write_golden(opened, folder, compiled, vocabulary)
        steps.next("checking the bundle")
        manifest = replace(
            describe(opened.model.config, gate or GateSettings(), opened.provenance),
            components={name: _component_record(part) for name, part in exported.items()},
            tokenizers=dict.fromkeys(_roles(opened.model.config), tokenizer_record),
            token_embeddings=tuple(tables),
            queries=tuple(query.record() for query in compiled),
            phrase_banks=tuple(bank_records),
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
class _Source:
    model: VLJEPA
    tokenizer: Tokenizer
    provenance: Provenance


def _open(
    source: VLJEPA | checkpoint.Checkpoint | Path,
    tokenizer: Tokenizer | Path | None,
    provenance: Provenance | None,
) -> _Source:
    told = provenance or Provenance()
    if isinstance(source, Path):
        told = replace(told, checkpoint=source.name) if provenance is None else told
        source = checkpoint.load(source)
    if isinstance(source, checkpoint.Checkpoint):
        told = replace(
            told,
            checkpoint_sha256=told.checkpoint_sha256 or source.sha256,
            card=told.card or source.card,
        )
        tokenizer = source.tokenizer if tokenizer is None else tokenizer
        source = source.model
    if isinstance(tokenizer, Path):
        tokenizer = queries.open_tokenizer(tokenizer)
    if tokenizer is None:
        raise ExportError("a bare model has no tokenizer", "name a tokenizer.json")
    # A copy, so that the caller's keeps its settings.
    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_padding()
    own.no_truncation()
    told = replace(told, tools=told.tools or tool_versions())
    return _Source(source.float().eval(), own, told)


def tool_versions() -> dict[str, str]:
    """Versions of what takes part in an export."""
    versions = {}
    for name in ("vljepa-edge", "torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "source"
    return versions


def _roles(config: VLJEPAConfig) -> tuple[str, ...]:
    return TOKENIZER_ROLES if config.y_decoder is not None else TOKENIZER_ROLES[:2]


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> TokenizerRecord:
    path = folder / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return TokenizerRecord(path.name, path.stat().st_size, sha256_file(path), TEMPLATE)


def _compile_queries(opened: _Source, texts: Sequence[str]) -> list[queries.CompiledQuery]:
    most = opened.model.config.predictor.max_query_tokens
    table = opened.model.predictor.embed_tokens.weight.detach().numpy()
    return [
        queries.compile_query(text, opened.tokenizer, TEMPLATE, most, lambda ids: table[ids])
        for text in dict.fromkeys((DEFAULT_QUERY, *texts))
    ]


def _compile_bank(opened: _Source, folder: Path, name: str, texts: Sequence[str]) -> Section:
    most = opened.model.config.y_encoder.max_tokens
    onnx_path = folder / "y_encoder.onnx"
    embed = phrases.TextEmbedder(onnx_path, opened.tokenizer, TEMPLATE, most)
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


def _vocabulary(opened: _Source) -> list[bytes] | None:
    decoder = opened.model.config.y_decoder
    if decoder is None:
        return None
    return token_bytes(opened.tokenizer, decoder.transformer.vocabulary)


def _write_golden(
    opened: _Source,
    folder: Path,
    compiled: Sequence[queries.CompiledQuery],
    vocabulary: Sequence[bytes] | None,
) -> None:
    most = opened.model.config.y_encoder.max_tokens
    text_ids = queries.tokenize(DEFAULT_QUERY, opened.tokenizer, TEMPLATE, most, "text")
    embeddings = [query.embeddings for query in compiled]
    arrays = golden.golden_vectors(opened.model, embeddings, text_ids, vocabulary)
    golden.write_npz(folder / bundle.GOLDEN, arrays)


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
