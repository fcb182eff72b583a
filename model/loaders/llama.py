"""Llama-shaped checkpoints: sizes, names, tied tables; the Predictor from a model's last layers.

Layout: a hub folder with config.json and safetensors (`meta-llama/Llama-3.2-1B`), names
`model.layers.0.self_attn.q_proj.weight`, with or without the leading `model.`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from ..checkpoint import CheckpointError
from ..config import RopeScaling, TransformerConfig, VLJEPAConfig
from ..predictor import Predictor
from .fill import Progress, Stored, fill, finished, fresh, on_meta
from .hub_config import HubConfig, check_sizes
from .tensor_source import Renamed, TensorSource
from .torch_file import open_tensors

HEAD, TABLE = "lm_head.weight", "embed_tokens.weight"
_ROWS = 4096


def read_config(folder: Path) -> TransformerConfig:
    """The whole stack of a Llama-shaped model. CheckpointError for forms that ours lacks."""
    hub = HubConfig.read(folder / "config.json")
    hub.require("model_type", "llama", "mistral")
    hub.require("hidden_act", "silu", None)
    for name in ("attention_bias", "mlp_bias"):
        hub.require(name, False, None)
    hub.require("sliding_window", None)
    width, heads = hub.integer("hidden_size"), hub.integer("num_attention_heads")
    rope_theta, rope_scaling = _rope(hub)
    return TransformerConfig(
        width=width,
        layers=hub.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=hub.integer("num_key_value_heads", heads),
        head_dim=hub.integer("head_dim", width // heads),
        mlp_width=hub.integer("intermediate_size"),
        vocabulary=hub.integer("vocab_size"),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        norm_eps=hub.number("rms_norm_eps", 1e-6),
    )


def read_last_layers(folder: Path, layers: int) -> tuple[TransformerConfig, int]:
    """The stack of a model's last `layers` layers, and the index of the first of them."""
    whole = read_config(folder)
    first = whole.layers - layers
    if first < 0:
        raise CheckpointError(
            f"{folder / 'config.json'}: num_hidden_layers is {whole.layers}, the Predictor takes "
            f"the last {layers}"
        )
    return dataclasses.replace(whole, layers=layers), first


def load_predictor(
    folder: Path, config: VLJEPAConfig, seed: int = 0, progress: Progress | None = None
) -> Predictor:
    """The Predictor with the token table, last layers and norm of a Llama, in float32.

    Its projections are fresh, from `seed`: it has to be trained before it predicts anything.
    """
    c = config.predictor.transformer
    found, first = read_last_layers(folder, c.layers)
    where = folder / "config.json"
    check_sizes(where, found, c, "Predictor")
    predictor = on_meta(lambda: Predictor(config))
    with open_model(folder) as source:
        check_tied(source, HubConfig.read(where), part=None)
        unused = "|".join(str(i) for i in range(first)) or r"(?!)"
        ignored = [*IGNORED, rf"layers\.(?:{unused})\..*"]
        fill(predictor, stack_recipe(c.layers, first), source, ignored, progress)
    linears = ["vis_proj", "out_proj"] + ["query_proj"] * config.predictor.project_query
    fresh(predictor, linears, seed)
    return finished(predictor)


IGNORED = (r"lm_head\.weight", r".*rotary_emb\.inv_freq")
"""Names of a causal LM that the layers don't need; `check_tied` looks at the head."""


def stack_recipe(layers: int, first: int = 0) -> dict[str, Stored]:
    """Token table, `layers` layers from `first` on, and norm."""
    recipe = {name: Stored((name,)) for name in (TABLE, "norm.weight")}
    for i in range(layers):
        ours, theirs = f"layers.{i}", f"layers.{first + i}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            recipe[f"{ours}.{norm}.weight"] = Stored((f"{theirs}.{norm}.weight",))
        for part in ("q", "k", "v", "o"):
            name = f"self_attn.{part}_proj.weight"
            recipe[f"{ours}.{name}"] = Stored((f"{theirs}.{name}",))
        for part in ("gate", "up", "down"):
            stored = Stored((f"{theirs}.mlp.{part}_proj.weight",))
            recipe[f"{ours}.{part}_proj.weight"] = stored
    return recipe


def open_model(folder: Path) -> TensorSource:
    """The tensors of a text model, without the `model.` that a causal LM puts before them."""
    return Renamed(open_tensors(folder), lambda name: name.removeprefix("model."))


def check_tied(source: TensorSource, hub: HubConfig, part: str | None) -> None:
    """Refuses a head that is not the token table, where that matters.

    `part` names a component that has one table for both; with None, only a file that contradicts
    its own config.json is refused.
    """
    tied = bool(hub.get("tie_word_embeddings", True))
    if HEAD not in source.names() or TABLE not in source.names():
        if part is not None and not tied and TABLE in source.names():
            raise CheckpointError(
                f"{source.path}: config.json says tie_word_embeddings false, but {HEAD} is missing"
            )
        return
    if not tied and part is None:
        return
    if not _equal(source, HEAD, TABLE):
        reason = (
            "though config.json ties them: the checkpoint is damaged"
            if tied
            else f"and the {part} has one table for both: choose a model with tied embeddings"
        )
        raise CheckpointError(f"{source.path}: {HEAD} differs from {TABLE}, {reason}")


def _equal(source: TensorSource, one: str, other: str) -> bool:
    shape = source.shape(one)
    return shape == source.shape(other) and all(
        torch.equal(
            source.rows(one, start, start + _ROWS), source.rows(other, start, start + _ROWS)
        )
        for start in range(0, shape[0], _ROWS)
    )


def _rope(hub: HubConfig) -> tuple[float, RopeScaling | None]:
    """theta and Llama 3's scaling, from transformers 5's `rope_parameters` or the older fields."""
    rope = hub.group("rope_parameters")
    theta = rope.number("rope_theta", 10_000.0)
    if not rope.values:
        rope = hub.group("rope_scaling")
        theta = hub.number("rope_theta", 10_000.0)
    rope.require("partial_rotary_factor", 1.0, None)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise CheckpointError(f"{hub.path}: rope_type is {kind!r}, expected default or llama3")
    return theta, RopeScaling(
        factor=rope.number("factor"),
        low_freq_factor=rope.number("low_freq_factor"),
        high_freq_factor=rope.number("high_freq_factor"),
        original_positions=rope.integer("original_max_position_embeddings"),
    )
