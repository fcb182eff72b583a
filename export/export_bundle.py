"""From a model or checkpoint to a finished bundle: what `vljepa export` calls."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..model import checkpoint
from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from . import bundle, golden, phrases, queries, strict_json
from .describe import describe
from .errors import ExportError
from .manifest import (
    TOKENIZER_ROLES,
    GateSettings,
    Manifest,
    PhraseBankRecord,
    Provenance,
    QueryRecord,
    gate_problems,
)
from .origin import Origin, only
from .part import PartRecord, Task, export_part, finished_part, part_steps, read_arrays
from .queries import DEFAULT_QUERY
from .role_tokenizers import Given, RoleTokenizers, write_tokenizers
from .sections import Section, query_section, token_embeddings_section, vocabulary_section
from .source import Source, open_source
from .vocabulary import token_bytes
from .weight_storage import BYTES, STORAGES, Storage
from .worker import Job, run_in_process

__all__ = ["DEFAULT_QUERY", "ExportedBundle", "export_bundle"]

# A query embedding table up to this size goes into the bundle, so that new queries can be compiled
# on the device; a larger one (Llama's has 1 GB) stays behind, and queries are compiled where it is.
QUERY_TABLE_BYTES = 64_000_000
# What is being done, steps done, steps in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExportedBundle:
    """What was written: its folder, the digest that identifies it, and how each part was made."""

    folder: Path
    sha256: str
    parts: dict[str, PartRecord] = field(default_factory=dict)

    @property
    def components(self) -> list[str]:
        """Names of the engines."""
        return [name for part in self.parts.values() for name in part.components]


def export_bundle(
    source: VLJEPA | checkpoint.Checkpoint | Path | Origin,
    output: Path,
    *,
    tokenizer: Given | None = None,
    templates: Mapping[str, str] | None = None,
    query_texts: Sequence[str] = (),
    phrase_banks: Mapping[str, Sequence[str]] | None = None,
    gate: GateSettings | None = None,
    provenance: Provenance | None = None,
    query_table: bool | None = None,
    storage: Storage = "fp32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportedBundle:
    """Exports all components and writes a bundle that is checked before it appears.

    `source`: a model, an opened checkpoint, a checkpoint's folder, or an `Origin`; a model needs
    `tokenizer` (one, or one per role). An Origin's components are exported one by one, each in its
    own process, and an interrupted export goes on where it stopped.
    `query_texts` are compiled after the default query. `query_table`: whether the query embedding
    table goes along; by default where it is small. `storage`: in how many bits weights are kept.
    `output` appears whole, or not at all.
    Raises ExportError, CheckpointError or the runtime's BundleError; for what the caller gave,
    before anything is exported.
    """
    bundle.check_replaceable(output, overwrite)
    if problems := gate_problems(gate or GateSettings()):
        raise ExportError("; ".join(problems))
    if storage not in STORAGES:
        raise ExportError(f"storage {storage!r} is unknown", f"choose of {', '.join(STORAGES)}")
    opened = open_source(source, tokenizer, templates, provenance)
    texts = _prepare_texts(opened, query_texts, phrase_banks or {})
    task = _task(opened, texts, query_table, storage)
    parts = opened.parts()
    steps = _Steps(progress, _step_count(opened, texts))
    with _staging(opened, task, output, overwrite) as folder:
        records = {part: _part(opened, part, task, folder, steps) for part in parts}
        work = folder / bundle.WORK
        inner = _queries_and_tables(work, texts, parts)
        banks = []
        for name, bank in texts.banks.items():
            steps.next(f"embedding phrases of {name}")
            banks.append(_compile_bank(opened, folder, name, bank))
        inner[len(texts.queries) : len(texts.queries)] = banks
        if texts.vocabulary is not None:
            inner.append(vocabulary_section(texts.vocabulary))
        steps.next("writing golden vectors")
        _write_golden(folder, work, parts, texts)
        steps.next("checking the bundle")
        manifest = _manifest(opened, folder, gate or GateSettings(), task, texts, records)
        shutil.rmtree(work)
        digest = bundle.finish(folder, manifest, inner)
    return ExportedBundle(output, digest, records)


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

    queries: dict[str, tuple[int, ...]]  # text -> token ids
    text_ids: tuple[int, ...]
    banks: dict[str, list[str]]
    vocabulary: list[bytes] | None


def _prepare_texts(
    opened: Source, query_texts: Sequence[str], phrase_banks: Mapping[str, Sequence[str]]
) -> _Texts:
    config, tokenizers = opened.config, opened.tokenizers

    def ids(text: str, role: str, most: int, rows: int, what: str) -> tuple[int, ...]:
        one = tokenizers[role]
        found = queries.tokenize(text, one.tokenizer, one.template, most, what)
        if found.max() >= rows:
            raise ExportError(
                f"{what} {text[:40]!r}: token {found.max()} of the tokenizer for {role} lies "
                f"outside the model's {rows}",
                "name the tokenizer that the model was trained with",
            )
        return tuple(found.tolist())

    predictor, y_encoder = config.predictor, config.y_encoder
    most, rows = predictor.max_query_tokens, predictor.transformer.vocabulary
    compiled = {
        text: ids(text, "query", most, rows, "query")
        for text in dict.fromkeys((DEFAULT_QUERY, *query_texts))
    }
    most, rows = y_encoder.max_tokens, y_encoder.transformer.vocabulary
    banks = {name: phrases.distinct(name, texts) for name, texts in phrase_banks.items()}
    for texts in banks.values():
        for text in texts:
            ids(text, "y_encoder", most, rows, "phrase")
    vocabulary = None
    if config.y_decoder is not None:
        decoder = tokenizers["y_decoder"].tokenizer
        vocabulary = token_bytes(decoder, config.y_decoder.transformer.vocabulary)
    text_ids = ids(DEFAULT_QUERY, "y_encoder", most, rows, "text")
    return _Texts(compiled, text_ids, banks, vocabulary)


def _task(opened: Source, texts: _Texts, query_table: bool | None, storage: Storage) -> Task:
    stack = opened.config.predictor.transformer
    small = 4 * stack.vocabulary * stack.width <= QUERY_TABLE_BYTES
    return Task(
        storage=storage,
        queries=tuple(texts.queries.values()),
        text_ids=texts.text_ids,
        query_table=small if query_table is None else query_table,
    )


def _step_count(opened: Source, texts: _Texts) -> int:
    loading = 0 if opened.model is not None else 1
    return sum(loading + len(part_steps(p)) for p in opened.parts()) + len(texts.banks) + 2


@contextmanager
def _staging(opened: Source, task: Task, output: Path, overwrite: bool) -> Iterator[Path]:
    """Where the bundle grows: kept after an interruption where components can be loaded again."""
    if opened.origin is None:
        with bundle.staged(output, overwrite=overwrite) as folder:
            (folder / bundle.WORK).mkdir()
            yield folder
        return
    opened.origin.check()
    _check_space(opened.config, task, output)
    job = strict_json.dump(Job(opened.origin, task, opened.identity()))
    with bundle.resumable(output, job, overwrite=overwrite) as folder:
        yield folder


def _check_space(config: VLJEPAConfig, task: Task, output: Path) -> None:
    """Hours of work end better before they begin."""
    origin_parts = BYTES[task.storage] * sum(_parameters(config).values())
    nearest = next(p for p in (output.absolute(), *output.absolute().parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if free < origin_parts:
        raise ExportError(
            f"{nearest}: {free / 1e9:.2f} GB are free, the bundle needs {origin_parts / 1e9:.2f}",
            "free some space, choose another -o, or export with --weights fp16",
        )


def _parameters(config: VLJEPAConfig) -> dict[str, int]:
    """Parameters that are written, by part: the Predictor's token table stays behind."""
    from ..model.loaders.fill import on_meta

    counts = on_meta(lambda: VLJEPA(config)).parameter_count()
    stack = config.predictor.transformer
    counts["predictor"] -= stack.vocabulary * stack.width
    return counts


def _part(opened: Source, part: str, task: Task, folder: Path, steps: _Steps) -> PartRecord:
    work = folder / bundle.WORK
    if opened.origin is None:
        assert opened.model is not None
        return export_part(part, opened.model, task, folder, work, steps.next)
    ready = finished_part(part, folder, work)
    if ready is not None:
        for step in ("loading", *part_steps(part)):
            steps.next(f"{part} is ready" if step == "loading" else step)
        return ready
    if opened.in_process:
        steps.next(f"loading {part}")
        model = only(part, opened.origin.load(part), opened.config)
        record = export_part(part, model, task, folder, work, steps.next, release=True)
        del model
        gc.collect()
        return record
    return run_in_process(folder, part, steps.next)


def _queries_and_tables(work: Path, texts: _Texts, parts: Sequence[str]) -> list[Section]:
    embeddings = read_arrays(work / "queries.npz")
    sections = [
        query_section(text, embeddings[f"{i}"].astype(np.float32))
        for i, text in enumerate(texts.queries)
    ]
    for name in ("query", "y_decoder"):
        path = work / f"{name}.table.npy"
        if path.is_file():
            sections.append(token_embeddings_section(name, np.load(path)))
    return sections


def _compile_bank(opened: Source, folder: Path, name: str, texts: Sequence[str]) -> Section:
    most = opened.config.y_encoder.max_tokens
    one = opened.tokenizers["y_encoder"]
    path = folder / "y_encoder.onnx"
    embed = phrases.TextEmbedder(path, one.tokenizer, one.template, most)
    return phrases.compile_phrases(name, texts, embed)


def _write_golden(folder: Path, work: Path, parts: Sequence[str], texts: _Texts) -> None:
    arrays: golden.Arrays = {}
    for part in parts:
        arrays |= read_arrays(work / f"{part}.golden.npz")
    if texts.vocabulary is not None:
        golden.put_text(arrays, texts.vocabulary)
    golden.write_npz(folder / bundle.GOLDEN, arrays)


def _manifest(
    opened: Source,
    folder: Path,
    gate: GateSettings,
    task: Task,
    texts: _Texts,
    records: Mapping[str, PartRecord],
) -> Manifest:
    components = {n: c for record in records.values() for n, c in record.components.items()}
    tables = [
        n for n in ("query", "y_decoder") if (folder / bundle.WORK / f"{n}.table.npy").exists()
    ]
    roles = _roles(opened.config)
    tokenizers: RoleTokenizers = {role: opened.tokenizers[role] for role in roles}
    return replace(
        describe(opened.config, gate, opened.provenance),
        precision=task.storage,
        components=components,
        tokenizers=write_tokenizers(tokenizers, folder),
        token_embeddings=tuple(tables),
        queries=tuple(QueryRecord(text, len(ids)) for text, ids in texts.queries.items()),
        phrase_banks=tuple(PhraseBankRecord(n, len(bank)) for n, bank in texts.banks.items()),
        golden=bundle.record(folder / bundle.GOLDEN),
    )


def _roles(config: VLJEPAConfig) -> tuple[str, ...]:
    return TOKENIZER_ROLES if config.y_decoder is not None else TOKENIZER_ROLES[:2]
