"""What is exported: a model with its tokenizer and its provenance, from whatever the caller has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tokenizers import Tokenizer

from ..model import checkpoint
from ..model.vl_jepa import VLJEPA
from . import queries
from .errors import ExportError
from .manifest import Provenance

TOOLS = ("vljepa-edge", "torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Source:
    """A float32 model in evaluation mode, its tokenizer without padding, its provenance."""

    model: VLJEPA
    tokenizer: Tokenizer
    provenance: Provenance


def open_source(
    source: VLJEPA | checkpoint.Checkpoint | Path,
    tokenizer: Tokenizer | Path | None,
    provenance: Provenance | None,
) -> Source:
    """Completes what the caller gave. A model is turned to float32 in place.

    What `provenance` leaves empty is filled in: checkpoint name, hash and card, tool versions.
    """
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
    own = Tokenizer.from_str(tokenizer.to_str())  # a copy: the caller's keeps its settings
    own.no_padding()
    own.no_truncation()
    told = replace(told, tools=told.tools or tool_versions())
    return Source(source.float().eval(), own, told)


def tool_versions() -> dict[str, str]:
    """Versions of what takes part in an export."""
    versions = {}
    for name in TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "source"
    return versions
