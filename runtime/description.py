"""What an open model is: the fields of `vlj_model_description` as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from vljepa_edge.runtime._core import ffi
from vljepa_edge.runtime.options import DECODE_WHEN


@dataclass(frozen=True)
class ModelDescription:
    """Sizes and defaults of a bundle. A window is `frames` pictures of height x width, `stride`
    samples apart.
    """

    format_version: int
    name: str
    precision: str
    backend: str
    bundle_sha256: str
    component_mask: int
    frames: int
    height: int
    width: int
    stride: int
    fps: float
    resize_short_side: int
    visual_tokens: int
    visual_width: int
    query_width: int
    max_query_tokens: int
    embedding_width: int
    text_max_tokens: int
    decoder_prefix_tokens: int
    decoder_width: int
    decoder_cache_length: int
    decoder_vocabulary: int
    decoder_max_new_tokens: int
    decoder_planes: int
    decoder_kv_heads: int
    decoder_head_dim: int
    query_count: int
    phrase_bank_count: int
    decode_when: str  # never, onset, close or both


_DECODE_NAMES = {number: name for name, number in DECODE_WHEN.items()}


def from_core(core: Any) -> ModelDescription:
    """Copies a filled `vlj_model_description`."""
    values: dict[str, Any] = {}
    for field in fields(ModelDescription):
        value = getattr(core, field.name)
        if field.name == "decode_when":
            value = _DECODE_NAMES[value]
        elif isinstance(value, ffi.CData):
            value = ffi.string(value).decode("utf-8", "replace")
        values[field.name] = value
    return ModelDescription(**values)
