"""The five components as graphs: their names, tensors, dynamic axes and example inputs.

Names, order, types and shapes are the core's contract (`vlj_component` in vljepa.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from .predictor import PredictorGraph
from .x_encoder import XEncoderGraph
from .y_decoder import YDecoderGraph, YDecoderPrefixGraph, decoder_config
from .y_encoder import YEncoderGraph

NAMES = ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. A text in `shape` names a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ComponentSpec:
    """What a component takes and gives, in order."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def component_names(config: VLJEPAConfig) -> tuple[str, ...]:
    """The components that a model of this configuration has."""
    return NAMES if config.y_decoder is not None else NAMES[:3]


def component_spec(name: str, config: VLJEPAConfig) -> ComponentSpec:
    """The interface of component `name`."""
    embedding = config.embedding_width
    visual = (1, config.visual_tokens, config.x_encoder.width)
    if name == "x_encoder":
        size = config.image_size
        return _spec(
            name,
            [("frames", "uint8", (1, config.frames, 3, size, size))],
            [("visual_tokens", "float32", visual)],
        )
    if name == "predictor":
        query = ("query_count", "query_length", config.predictor.transformer.width)
        return _spec(
            name,
            [
                ("visual_tokens", "float32", visual),
                ("query_embeddings", "float32", query),
                ("query_mask", "float32", query[:2]),
            ],
            [("predicted_embedding", "float32", ("query_count", embedding))],
        )
    if name == "y_encoder":
        return _spec(
            name,
            [("token_ids", "int64", (1, "token_count"))],
            [("text_embedding", "float32", (1, embedding))],
        )
    decoder = decoder_config(config)
    c = decoder.transformer
    if name == "y_decoder_prefix":
        return _spec(
            name,
            [("embedding", "float32", (1, embedding))],
            [("soft_tokens", "float32", (1, decoder.prefix_tokens, c.width))],
        )
    planes, cache = 2 * c.layers, decoder.cache_length
    return _spec(
        name,
        [
            ("input_embeddings", "float32", (1, "token_count", c.width)),
            ("positions", "int64", ("token_count",)),
            ("attention_mask", "float32", ("token_count", "cache_and_token_count")),
            ("kv_cache", "float32", (planes, c.kv_heads, cache, c.head_dim)),
        ],
        [
            ("logits", "float32", (1, c.vocabulary)),
            ("kv_new", "float32", (planes, c.kv_heads, "token_count", c.head_dim)),
        ],
    )


def _spec(
    name: str,
    inputs: Sequence[tuple[str, str, tuple[int | str, ...]]],
    outputs: Sequence[tuple[str, str, tuple[int | str, ...]]],
) -> ComponentSpec:
    return ComponentSpec(
        name,
        tuple(TensorSpec(*tensor) for tensor in inputs),
        tuple(TensorSpec(*tensor) for tensor in outputs),
    )


def component_graph(name: str, model: VLJEPA) -> nn.Module:
    """Component `name` of `model` in its exportable form, in evaluation mode."""
    config = model.config
    if name == "x_encoder":
        return XEncoderGraph(config, model.x_encoder).eval()
    if name == "predictor":
        return PredictorGraph(config, model.predictor).eval()
    if name == "y_encoder":
        return YEncoderGraph(config, model.y_encoder).eval()
    if model.y_decoder is None:
        raise ValueError(f"model {config.name} has no component {name}")
    if name == "y_decoder_prefix":
        return YDecoderPrefixGraph(config, model.y_decoder).eval()
    return YDecoderGraph(config, model.y_decoder).eval()


def example_inputs(name: str, config: VLJEPAConfig) -> tuple[Tensor, ...]:
    """Inputs to trace with. Dynamic axes get sizes that equal no other, nor 0 or 1."""
    sizes = {"query_count": 3, "query_length": 5, "token_count": 7}
    if name == "y_decoder":
        sizes["cache_and_token_count"] = decoder_config(config).cache_length + sizes["token_count"]
    inputs = []
    for tensor in component_spec(name, config).inputs:
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape]
        inputs.append(torch.ones(shape, dtype=getattr(torch, tensor.dtype)))
    return tuple(inputs)


def dynamic_shapes(name: str, config: VLJEPAConfig) -> tuple[dict[int, Any], ...] | None:
    """What torch.export needs to know of the dynamic axes; None where all is static."""
    most = {
        "query_count": 1 << 16,
        "query_length": config.predictor.max_query_tokens,
        "token_count": config.y_encoder.max_tokens,
    }
    if name == "y_decoder":
        most["token_count"] = decoder_config(config).cache_length
    axes = {axis: torch.export.Dim(axis, min=1, max=limit) for axis, limit in most.items()}
    if name == "y_decoder":
        axes["cache_and_token_count"] = axes["token_count"] + decoder_config(config).cache_length
    shapes = tuple(
        {i: axes[axis] for i, axis in enumerate(tensor.shape) if isinstance(axis, str)}
        for tensor in component_spec(name, config).inputs
    )
    return shapes if any(shapes) else None
