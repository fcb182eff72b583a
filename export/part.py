"""Exports one component: its ONNX files, golden vectors, tables and compiled queries.

This is what each exporting process does. All results are files in a folder, so that an interrupted
export goes on with the components that are still missing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.vl_jepa import VLJEPA
from ..runtime.resident import peak_resident_bytes
from . import bundle, golden, strict_json
from .components import TensorSpec, component_graph
from .manifest import ComponentRecord, FileRecord, TensorRecord
from .onnx_export import EXTERNAL_BYTES, OPSET, ExportedComponent, export_graph
from .weight_storage import Storage

GRAPHS = {
    "x_encoder": ("x_encoder",),
    "predictor": ("predictor",),
    "y_encoder": ("y_encoder",),
    "y_decoder": ("y_decoder_prefix", "y_decoder"),
}
# Says what is done now.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What is wanted of every component; `queries` as token ids."""

    storage: Storage
    queries: tuple[tuple[int, ...], ...]
    text_ids: tuple[int, ...]
    query_table: bool
    external_bytes: int = EXTERNAL_BYTES


@dataclass(frozen=True)
class PartRecord:
    """What was made of one component, with the process's time and largest memory."""

    part: str
    components: dict[str, ComponentRecord]
    nodes: dict[str, int]
    operators: dict[str, dict[str, int]]
    seconds: float
    peak_bytes: int
    files: tuple[FileRecord, ...] = field(default=())


def part_steps(part: str) -> list[str]:
    """What `export_part` says, in order."""
    return [f"reference of {part}", *(f"exporting {name}" for name in GRAPHS[part])]


def export_part(
    part: str,
    model: VLJEPA,
    task: Task,
    folder: Path,
    work: Path,
    say: Say,
    *,
    release: bool = False,
) -> PartRecord:
    """Writes the ONNX files of `part` into `folder`, all else into `work`, its record last.

    `model` needs to hold that component alone. `release`: take it apart on the way, so that its
    weights are in memory twice at most while the graph is built.
    """
    started = time.perf_counter()
    extra = []
    say(f"reference of {part}")
    if part == "predictor":
        extra += _tables_of_queries(model, task, work)
        if release:
            del model.predictor.embed_tokens
            gc.collect()
    arrays = golden.part_vectors(
        part,
        model,
        _vectors_before(part, work),
        read_queries(work) if part == "predictor" else [],
        np.array(task.text_ids, dtype=np.int64),
    )
    extra.append(_save(work / f"{part}.golden.npz", arrays))
    if part == "y_decoder" and model.y_decoder is not None:
        table = model.y_decoder.embed_tokens.weight.detach().numpy()
        extra.append(_save_table(work / "y_decoder.table.npy", table, task.storage))
    exported = {}
    for name in GRAPHS[part]:
        say(f"exporting {name}")
        graph = component_graph(name, model)
        if release and name == GRAPHS[part][-1]:
            setattr(model, part, None)
            gc.collect()
        exported[name] = export_graph(
            name,
            graph,
            model.config,
            folder,
            external_bytes=task.external_bytes,
            storage=task.storage,
        )
        del graph
    record = PartRecord(
        part,
        {name: component_record(one, task.storage) for name, one in exported.items()},
        {name: one.nodes for name, one in exported.items()},
        {name: one.operators for name, one in exported.items()},
        round(time.perf_counter() - started, 2),
        peak_resident_bytes(),
        tuple(extra),
    )
    write_record(work, record)
    return record


def _tables_of_queries(model: VLJEPA, task: Task, work: Path) -> list[FileRecord]:
    """Embeddings of the queries, and the whole table where it is wanted."""
    table = model.predictor.embed_tokens.weight.detach().numpy()
    arrays = {f"{i}": table[list(ids)] for i, ids in enumerate(task.queries)}
    written = [_save(work / "queries.npz", arrays)]
    if task.query_table:
        written.append(_save_table(work / "query.table.npy", table, task.storage))
    return written


def _save_table(path: Path, table: NDArray[np.float32], storage: Storage) -> FileRecord:
    """An embedding table as sections hold it: float16 where weights are, else float32."""
    np.save(path, table.astype(np.float16) if storage == "fp16" else table)
    return bundle.record(path)


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> FileRecord:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return bundle.record(path)


def _vectors_before(part: str, work: Path) -> golden.Arrays:
    needed = {"predictor": "x_encoder", "y_decoder": "predictor"}.get(part)
    return read_arrays(work / f"{needed}.golden.npz") if needed is not None else {}


def read_arrays(path: Path) -> golden.Arrays:
    """The arrays of an npz file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_queries(work: Path) -> list[NDArray[np.float32]]:
    """Embeddings of the task's queries, in its order."""
    arrays = read_arrays(work / "queries.npz")
    return [arrays[f"{i}"] for i in range(len(arrays))]


def write_record(work: Path, record: PartRecord) -> None:
    """Appears whole or not at all: it says that the component is finished."""
    partial = work / f"{record.part}.json.partial"
    partial.write_text(strict_json.dump(record), encoding="utf-8")
    partial.replace(work / f"{record.part}.json")


def finished_part(part: str, folder: Path, work: Path) -> PartRecord | None:
    """What an earlier export has left of this component, where all of it is there."""
    path = work / f"{part}.json"
    if not path.is_file():
        return None
    record = strict_json.load(
        PartRecord, strict_json.parse(path.read_text(encoding="utf-8"), str(path)), str(path)
    )
    files = [(work, one) for one in record.files]
    for component in record.components.values():
        own = FileRecord(component.file, component.bytes, component.sha256)
        files += [(folder, one) for one in (own, *component.external_data)]
    for where, one in files:
        at = where / one.file
        if not at.is_file() or at.stat().st_size != one.bytes:
            return None
    return record


def component_record(part: ExportedComponent, storage: str = "fp32") -> ComponentRecord:
    """The manifest's words for an exported component."""

    def tensors(specs: Sequence[TensorSpec]) -> tuple[TensorRecord, ...]:
        return tuple(TensorRecord(s.name, s.dtype, s.shape) for s in specs)  # type: ignore[arg-type]

    own = bundle.record(part.path)
    external = () if part.external is None else (bundle.record(part.external),)
    return ComponentRecord(
        file=own.file,
        bytes=own.bytes,
        sha256=own.sha256,
        external_data=external,
        precision=storage,
        opset=OPSET,
        inputs=tensors(part.spec.inputs),
        outputs=tensors(part.spec.outputs),
    )
