"""Writes a quantised bundle beside the one that it was made from."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ..export import bundle
from ..export.manifest import ComponentRecord, FileRecord
from ..export.sections import INSIDE, Kind, Section, token_embeddings_section
from ..runtime.bundle import Bundle
from .calibrator import Calibrator
from .engines import uses_fp8
from .insert import LayerPlan, Scheme

# Weights of more than this lie beside the graph, as the exporter has it (export/onnx_export.py,
# which would load torch).
EXTERNAL_BYTES = 100_000_000


@dataclass(frozen=True)
class Written:
    """A finished bundle."""

    folder: Path
    sha256: str
    bytes: int
    source_bytes: int


def write(
    calibrator: Calibrator,
    plan: Mapping[str, LayerPlan],
    output: Path,
    *,
    overwrite: bool = False,
) -> Written:
    """Quantises as planned and writes the bundle whole, or not at all.

    Golden vectors stay those of full precision, so `vljepa doctor` tells what quantising cost.
    """
    source, manifest = calibrator.folder, calibrator.manifest
    with bundle.staged(output, overwrite=overwrite) as folder:
        components = {}
        for name in manifest.components:
            # One at a time: at paper scale two are too many for the memory.
            (graph,) = calibrator.graphs(plan, [name]).values()
            components[name] = _save(graph, folder, name, manifest.components[name], plan)
        kept = [t.file for t in manifest.tokenizers.values()]
        if manifest.golden is not None:
            kept.append(manifest.golden.file)
        for file in dict.fromkeys(kept):
            shutil.copyfile(source / file, folder / file)
        told = dataclasses.replace(
            manifest,
            precision=calibrator.settings.precision,
            components=components,
            provenance=dataclasses.replace(
                manifest.provenance,
                card={**manifest.provenance.card, "calibration": calibrator.record()},
            ),
        )
        digest = bundle.finish(folder, told, _inner(source))
    return Written(output, digest, size(output), size(source))


def size(folder: Path) -> int:
    """Bytes of a bundle's files, but golden vectors, which are for checks and no device needs."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "golden.npz")


def _save(
    graph: ir.Model,
    folder: Path,
    name: str,
    record: ComponentRecord,
    plan: Mapping[str, LayerPlan],
) -> ComponentRecord:
    path = folder / f"{name}.onnx"
    tensors = [value.const_value for value in graph.graph.initializers.values()]
    external: tuple[FileRecord, ...] = ()
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > EXTERNAL_BYTES:
        data = path.with_name(f"{path.name}.data")
        ir.save(graph, path, external_data=data.name, size_threshold_bytes=1024)
        external = (bundle.record(data),)
    else:
        proto = ir.serde.serialize_model(graph)
        del proto.graph.value_info[:]  # shapes of inner values: a third of a small file, never read
        path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)
    own = bundle.record(path)
    return dataclasses.replace(
        record,
        file=own.file,
        bytes=own.bytes,
        sha256=own.sha256,
        external_data=external,
        precision=component_precision(
            [p.scheme for layer, p in plan.items() if layer.startswith(f"{name}/")],
            "fp8" if uses_fp8(graph) else "int8",
        ),
    )


def component_precision(schemes: list[Scheme], target: str) -> str:
    """`fp32`, the quantised format, or `mixed` where some layers stay float."""
    kept = schemes.count("float")
    if kept == len(schemes):
        return "fp32"
    return "mixed" if kept else target


def _inner(source: Path) -> list[Section]:
    """The sections inside the index, embedding tables as float16."""
    sections = []
    with Bundle(source) as opened:
        for section in bundle.stored_sections(source, opened, INSIDE - {Kind.CONFIG}):
            if section.kind == Kind.TOKEN_EMBEDDINGS:
                assert isinstance(section.content, bytes)
                rows, columns, dtype = np.frombuffer(section.content, "<u4", 3)
                stored = "<f4" if dtype == 2 else "<f2"
                table = np.frombuffer(section.content, stored, int(rows) * int(columns), 64)
                half = table.reshape(int(rows), int(columns)).astype(np.float16)
                section = token_embeddings_section(section.name, half)
            sections.append(section)
    return sections
