"""What is exported: a model, its tokenizers, its provenance, from whatever the caller has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..model import checkpoint
from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from .errors import ExportError
from .manifest import TOKENIZER_ROLES, Provenance
from .origin import PARTS, Origin, own_checkpoint
from .role_tokenizers import Given, RoleTokenizers, folder_tokenizers, open_roles

TOOLS = ("vljepa-edge", "torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy")
# A checkpoint with weights of less than this is loaded whole.
WHOLE_BYTES = 500_000_000


@dataclass(frozen=True)
class Source:
    """A float32 model in evaluation mode, or the origin of its parts; tokenizers; provenance."""

    config: VLJEPAConfig
    tokenizers: RoleTokenizers
    provenance: Provenance
    model: VLJEPA | None = None
    origin: Origin | None = None
    in_process: bool = False

    def parts(self) -> tuple[str, ...]:
        """The components to export, in order."""
        return PARTS if self.config.y_decoder is not None else PARTS[:3]

    def identity(self) -> str:
        """Tells two exports apart that would be of different weights or by different tools."""
        tools = sorted(self.provenance.tools.items())
        return f"{self.provenance.checkpoint_sha256} {tools}"


def open_source(
    source: VLJEPA | checkpoint.Checkpoint | Path | Origin,
    tokenizer: Given | None,
    templates: Mapping[str, str] | None,
    provenance: Provenance | None,
) -> Source:
    """Completes what the caller gave. A model is turned to float32 in place.

    What `provenance` leaves empty is filled in: checkpoint name, hash and card, tool versions.
    """
    told = provenance or Provenance()
    if isinstance(source, Path):
        told = replace(told, checkpoint=source.name) if provenance is None else told
        tokenizer = folder_tokenizers(source) if tokenizer is None else tokenizer
        source = _open_folder(source)
    origin, model = None, None
    if isinstance(source, Origin):
        origin, config = source, source.config
        tokenizer = source.tokenizers() if tokenizer is None else tokenizer
        own = source.provenance()
        told = replace(
            told,
            checkpoint=own.checkpoint if provenance is None else told.checkpoint,
            checkpoint_sha256=told.checkpoint_sha256 or own.checkpoint_sha256,
            licences=told.licences or own.licences,
        )
    else:
        if isinstance(source, checkpoint.Checkpoint):
            told = replace(
                told,
                checkpoint_sha256=told.checkpoint_sha256 or source.sha256,
                card=told.card or source.card,
            )
            tokenizer = source.tokenizer if tokenizer is None else tokenizer
            source = source.model
        model, config = source.float().eval(), source.config
    if config.predictor.causal:
        raise ExportError(
            f"{config.name}: its Predictor is causal, which no engine is",
            "train it without `causal`, which is there for the ablation alone",
        )
    if tokenizer is None:
        raise ExportError(
            "a bare model has no tokenizer", "name a tokenizer.json, or one for each role"
        )
    roles = TOKENIZER_ROLES if config.y_decoder is not None else TOKENIZER_ROLES[:2]
    told = replace(told, tools=told.tools or tool_versions())
    return Source(config, open_roles(tokenizer, roles, templates), told, model, origin)


def _open_folder(folder: Path) -> checkpoint.Checkpoint | Origin:
    """A checkpoint that fits in memory easily as a whole, else the origin of its parts."""
    weights = folder / "model.safetensors"
    if weights.is_file() and weights.stat().st_size < WHOLE_BYTES:
        return checkpoint.load(folder)
    return own_checkpoint(folder)


def tool_versions() -> dict[str, str]:
    """Versions of what takes part in an export."""
    versions = {}
    for name in TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "source"
    return versions
