"""Y-Encoder from `google/embeddinggemma-300m`: Gemma 3 text layers, read bidirectionally.

Layout: a sentence-transformers folder. The transformer lies at its root (config.json, safetensors,
names `layers.0.self_attn.q_proj.weight`); `modules.json` names two bias-free linear heads, in
`2_Dense` and `3_Dense`, between its mean pool and its normalisation.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..checkpoint import CheckpointError
from ..config import GemmaConfig, TransformerConfig, VLJEPAConfig, YEncoderConfig
from ..y_encoder import YEncoder
from .fill import Progress, Recipe, Stored, fill, finished, fresh, on_meta
from .hub_config import HubConfig, check_sizes
from .llama import IGNORED, open_model
from .torch_file import open_tensors


def read_config(folder: Path, dense_heads: bool = False) -> YEncoderConfig:
    """The Y-Encoder's sizes, with the folder's own linear heads or without (as open-vljepa does).

    CheckpointError for a causal Gemma and for forms that ours does not have.
    """
    hub = HubConfig.read(folder / "config.json")
    hub.require("model_type", "gemma3_text")
    hub.require("use_bidirectional_attention", True)
    hub.require("hidden_activation", "gelu_pytorch_tanh", None)
    hub.require("attention_bias", False, None)
    hub.require("attn_logit_softcapping", None)
    layers, heads = hub.integer("num_hidden_layers"), hub.integer("num_attention_heads")
    global_theta, local_theta = _thetas(hub)
    return YEncoderConfig(
        transformer=TransformerConfig(
            width=hub.integer("hidden_size"),
            layers=layers,
            heads=heads,
            kv_heads=hub.integer("num_key_value_heads", heads),
            head_dim=hub.integer("head_dim", 256),
            mlp_width=hub.integer("intermediate_size"),
            vocabulary=hub.integer("vocab_size"),
            rope_theta=global_theta,
            norm_eps=hub.number("rms_norm_eps", 1e-6),
        ),
        max_tokens=min(512, hub.integer("max_position_embeddings", 2048)),
        gemma=GemmaConfig(
            full_layers=_full_layers(hub, layers),
            sliding_window=hub.integer("sliding_window", 4096),
            local_rope_theta=local_theta,
            query_scale=hub.number("query_pre_attn_scalar", 256),
        ),
        dense_widths=tuple(_dense_width(path) for path in _dense(folder)) if dense_heads else (),
    )


def load(
    folder: Path, config: VLJEPAConfig, seed: int = 0, progress: Progress | None = None
) -> YEncoder:
    """The Y-Encoder with EmbeddingGemma's weights in float32.

    Its head to the shared space is fresh, from `seed`, and has to be trained. The linear heads are
    read where the configuration has `dense_widths`.
    """
    found = read_config(folder, dense_heads=bool(config.y_encoder.dense_widths))
    ours = config.y_encoder
    where = folder / "config.json"
    check_sizes(where, found.transformer, ours.transformer, "Y-Encoder")
    if found.gemma != ours.gemma or found.dense_widths != ours.dense_widths:
        raise CheckpointError(
            f"{where}: {found.gemma} with dense heads {found.dense_widths}, expected {ours.gemma} "
            f"with {ours.dense_widths}"
        )
    encoder = on_meta(lambda: YEncoder(config))
    with open_model(folder) as source:
        fill(encoder, stack_recipe(ours.transformer.layers), source, IGNORED, progress)
    if ours.dense_widths:
        for head, path in zip(encoder.dense, _dense(folder), strict=True):
            with open_tensors(path / "model.safetensors") as source:
                fill(head, {"weight": Stored(("linear.weight",))}, source)
    fresh(encoder, ["projector"], seed)
    return finished(encoder)


def stack_recipe(layers: int) -> Recipe:
    """Token table, layers and norm: our names are upstream's."""
    parts = [
        *(f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj")),
        *(f"self_attn.{part}" for part in ("q_norm", "k_norm")),
        *(f"mlp.{part}" for part in ("gate_proj", "up_proj", "down_proj")),
        *("input_layernorm", "post_attention_layernorm"),
        *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ]
    names = ["embed_tokens.weight", "norm.weight"]
    names += [f"layers.{i}.{part}.weight" for i in range(layers) for part in parts]
    return {name: Stored((name,)) for name in names}


def _full_layers(hub: HubConfig, layers: int) -> tuple[int, ...]:
    kinds = hub.get("layer_types")
    if kinds is None:
        every = hub.integer("sliding_window_pattern", 6)
        return tuple(i for i in range(layers) if (i + 1) % every == 0)
    if len(kinds) != layers or not set(kinds) <= {"full_attention", "sliding_attention"}:
        raise hub.refusal("layer_types", f"full_attention or sliding_attention for {layers} layers")
    return tuple(i for i, kind in enumerate(kinds) if kind == "full_attention")


def _thetas(hub: HubConfig) -> tuple[float, float]:
    """Rotary bases of full and sliding layers, from `rope_parameters` or the older fields."""
    new = hub.group("rope_parameters")
    if not new.values:
        hub.require("rope_scaling", None)
        return hub.number("rope_theta", 1e6), hub.number("rope_local_base_freq", 1e4)
    full, sliding = new.group("full_attention"), new.group("sliding_attention")
    for rope in (full, sliding):
        rope.require("rope_type", "default", None)
    return full.number("rope_theta", 1e6), sliding.number("rope_theta", 1e4)


def _dense(folder: Path) -> list[Path]:
    """The folders of the linear heads, once modules.json has been seen to be EmbeddingGemma's."""
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        folders = [folder / module["path"] for module in modules]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: no list of sentence-transformers modules: {error}"
        ) from None
    dense = [at for kind, at in zip(kinds, folders, strict=True) if kind == "Dense"]
    if kinds != ["Transformer", "Pooling", *["Dense"] * len(dense), "Normalize"] or not dense:
        raise CheckpointError(
            f"{path}: {', '.join(kinds)}; expected Transformer, Pooling, Dense, ..., Normalize"
        )
    pooling = HubConfig.read(folders[1] / "config.json")
    if pooling.get("pooling_mode") != "mean":  # the field of newer versions
        pooling.require("pooling_mode_mean_tokens", True)
    return dense


def _dense_width(folder: Path) -> int:
    hub = HubConfig.read(folder / "config.json")
    hub.require("bias", False)
    hub.require("activation_function", "torch.nn.modules.linear.Identity")
    return hub.integer("out_features")
