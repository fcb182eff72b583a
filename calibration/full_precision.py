"""The full-precision bundle of a checkpoint, exported once and kept for as long as it is the same.

Packaged bundles are INT8; whoever needs what they were made from gets it here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..export.manifest import GateSettings

# What the packaged bundle can be asked without a tokenizer, beside the exporter's default query.
QUERIES = ("Which object is it?", "How does it move?", "How many are there?")
# Texts are of whole segments: at an onset the window still shows half of what was before.
GATE = GateSettings(decode_when="close")
_TOOLS = ("torch", "onnx", "onnxscript", "onnx-ir")
_SOURCES = ("export", "model")

Progress = Callable[[str, int, int], None]


def full_precision(
    checkpoint: Path,
    folder: Path,
    *,
    queries: Sequence[str] = QUERIES,
    progress: Progress | None = None,
) -> Path:
    """Exports `checkpoint` to `folder`, or leaves what lies there where it is of the same key.

    Its gate has not been fitted. ExportError or CheckpointError as the exporter raises them.
    """
    key = export_key(checkpoint, queries)
    told = folder.with_name(f"{folder.name}.key")
    if (folder / "index.vlj").is_file() and told.is_file() and told.read_text() == key:
        return folder
    from ..export.export_bundle import export_bundle  # loads torch

    told.unlink(missing_ok=True)
    export_bundle(
        checkpoint, folder, query_texts=queries, gate=GATE, overwrite=True, progress=progress
    )
    told.write_text(key)
    return folder


def export_key(checkpoint: Path, queries: Sequence[str] = QUERIES) -> str:
    """Digest of all that an exported bundle follows from: weights, queries, code and tools."""
    digest = hashlib.sha256(repr((tuple(queries), GATE)).encode())
    package = Path(__file__).parent.parent
    code = [file for name in _SOURCES for file in sorted((package / name).rglob("*.py"))]
    for file in [*sorted(checkpoint.glob("*")), *code]:
        if file.is_file():
            digest.update(file.name.encode() + file.read_bytes())
    for tool in _TOOLS:
        try:
            digest.update(f"{tool} {version(tool)}".encode())
        except PackageNotFoundError:
            digest.update(tool.encode())
    return digest.hexdigest()
