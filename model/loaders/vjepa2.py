"""X-Encoder from V-JEPA 2 and 2.1 checkpoints, in transformers' layout or facebookresearch's.

transformers (`facebook/vjepa2-vitl-fpc64-256` and its sisters): a folder with safetensors, names
`encoder.layer.0.attention.query.weight`. facebookresearch/vjepa2: a .pt with `ema_encoder`,
`target_encoder` and `encoder`, names `module.backbone.blocks.0.attn.qkv.weight`; 2.1 has
`norms_block` in place of `norm`, and its modality embeddings, which are added to the biases here.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..checkpoint import CheckpointError
from ..config import VLJEPAConfig, XEncoderConfig
from ..x_encoder import XEncoder
from .fill import Progress, Recipe, Stored, fill, finished, on_meta
from .hub_config import HubConfig
from .tensor_source import Renamed, TensorSource, below
from .torch_file import SUFFIXES, open_tensors

# The distilled 2.1 models are the EMA; elsewhere the target encoder is what upstream evaluates.
ENTRIES = ("ema_encoder", "target_encoder", "encoder")

_HUB_PATCHES = "embeddings.patch_embeddings.proj.weight"
_PATCHES = "patch_embed.proj.weight"


def read_config(path: Path) -> XEncoderConfig:
    """The X-Encoder's sizes: from config.json, or from the tensors of an upstream .pt file."""
    if path.suffix in SUFFIXES:
        with _open(path) as source:
            return _sizes(source)
    hub = HubConfig.read(path / "config.json")
    hub.require("model_type", "vjepa2")
    hub.require("hidden_act", "gelu", None)
    hub.require("qkv_bias", True, None)
    hub.require("in_chans", 3, None)
    return XEncoderConfig(
        width=hub.integer("hidden_size"),
        layers=hub.integer("num_hidden_layers"),
        heads=hub.integer("num_attention_heads"),
        mlp_ratio=hub.number("mlp_ratio", 4.0),
        patch=hub.integer("patch_size", 16),
        tubelet=hub.integer("tubelet_size", 2),
        layer_norm_eps=hub.number("layer_norm_eps", 1e-6),
    )


def read_image_size(path: Path) -> int:
    """The side of the pictures that the checkpoint was made for; 384 for V-JEPA 2.1's .pt files."""
    if path.suffix in SUFFIXES:
        with _open(path) as source:
            return 384 if _is_v21(source) else 256
    return HubConfig.read(path / "config.json").integer("crop_size", 256)


def load(path: Path, config: VLJEPAConfig, progress: Progress | None = None) -> XEncoder:
    """The X-Encoder with the weights of a folder, a .safetensors or a .pt file, in float32.

    CheckpointError where the file does not hold exactly this encoder; other parts of V-JEPA 2 (its
    own predictor, a classifier's head) are passed over.
    """
    with _open(path) as source:
        return load_from(source, config, progress)


def load_from(
    source: TensorSource, config: VLJEPAConfig, progress: Progress | None = None
) -> XEncoder:
    """As `load`, from an open source of either layout."""
    source = _cleaned(source)
    encoder = on_meta(lambda: XEncoder(config))
    if _HUB_PATCHES in source.names():
        if config.x_encoder.rope_variant != "v2":
            raise CheckpointError(f"{source.path}: V-JEPA 2, but the model is set to V-JEPA 2.1")
        fill(encoder, _hub_recipe(config.x_encoder), source, progress=progress)
        return finished(encoder)
    if _is_v21(source) != (config.x_encoder.rope_variant == "v2.1"):
        found = "2.1" if _is_v21(source) else "2"
        raise CheckpointError(
            f"{source.path}: V-JEPA {found}, but the model's rope_variant is "
            f"{config.x_encoder.rope_variant}: their features are not interchangeable"
        )
    # Unused: fixed positions that rotation replaced, and the norms of earlier output levels.
    ignored = [r"pos_embed", r"norms_block\.\d+\.(weight|bias)"]
    if not config.x_encoder.image_path:
        ignored += [r"patch_embed_img\.proj\.(weight|bias)", r"img_mod_embed"]
    fill(encoder, _upstream_recipe(config.x_encoder, source), source, ignored, progress)
    return finished(encoder)


def _open(path: Path) -> TensorSource:
    return _cleaned(open_tensors(path, ENTRIES))


def _cleaned(source: TensorSource) -> TensorSource:
    """The encoder's tensors alone, without the prefixes that wrappers have left."""
    names = source.names()
    for prefix in ("", "encoder.", "vjepa2.encoder.", "model.encoder."):
        if prefix + _HUB_PATCHES in names:
            return Renamed(source, below(prefix))
    return Renamed(source, lambda name: re.sub(r"^(?:module\.|backbone\.)+", "", name))


def _is_v21(source: TensorSource) -> bool:
    return any(name.startswith("norms_block.") for name in source.names())


def _sizes(source: TensorSource) -> XEncoderConfig:
    names = source.names()
    for needed in (_PATCHES, "blocks.0.mlp.fc1.weight"):
        if needed not in names:
            raise CheckpointError(f"{source.path}: no {needed}; not a V-JEPA 2 encoder")
    width, _, tubelet, patch, _ = source.shape(_PATCHES)
    hidden = source.shape("blocks.0.mlp.fc1.weight")[0]
    v21 = _is_v21(source)
    return XEncoderConfig(
        width=width,
        layers=len({name.split(".")[1] for name in names if name.startswith("blocks.")}),
        heads=16 if width == 1280 else width // 64,  # ViT-H has heads of 80, all others of 64
        mlp_ratio=_ratio(hidden, width),
        patch=patch,
        tubelet=tubelet,
        rope_variant="v2.1" if v21 else "v2",
        rope_trained_grid=256 // patch if v21 else None,
        image_path="patch_embed_img.proj.weight" in names,
    )


def _ratio(hidden: int, width: int) -> float:
    """The ratio that gives `hidden` again, as upstream rounds it: int(width * ratio)."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _hub_recipe(c: XEncoderConfig) -> Recipe:
    recipe: dict[str, Stored] = {}
    for kind in ("weight", "bias"):
        recipe[f"patch_embed.{kind}"] = Stored((f"embeddings.patch_embeddings.proj.{kind}",))
        recipe[f"norm.{kind}"] = Stored((f"layernorm.{kind}",))
        for i in range(c.layers):
            ours, theirs = f"blocks.{i}", f"layer.{i}"
            recipe[f"{ours}.attention.qkv.{kind}"] = Stored(
                tuple(f"{theirs}.attention.{part}.{kind}" for part in ("query", "key", "value"))
            )
            recipe[f"{ours}.attention.proj.{kind}"] = Stored((f"{theirs}.attention.proj.{kind}",))
            for norm in ("norm1", "norm2"):
                recipe[f"{ours}.{norm}.{kind}"] = Stored((f"{theirs}.{norm}.{kind}",))
            for linear in ("fc1", "fc2"):
                recipe[f"{ours}.{linear}.{kind}"] = Stored((f"{theirs}.mlp.{linear}.{kind}",))
    return recipe


def _upstream_recipe(c: XEncoderConfig, source: TensorSource) -> Recipe:
    names = source.names()
    norm = "norm"
    if _is_v21(source):  # the last of one norm per output level is the final norm
        norm = f"norms_block.{max(int(n.split('.')[1]) for n in names if 'norms_block.' in n)}"
    recipe: dict[str, Stored] = {}
    for kind in ("weight", "bias"):
        recipe[f"norm.{kind}"] = Stored((f"{norm}.{kind}",))
        for i in range(c.layers):
            block = f"blocks.{i}"
            for linear in ("qkv", "proj"):
                recipe[f"{block}.attention.{linear}.{kind}"] = Stored(
                    (f"{block}.attn.{linear}.{kind}",)
                )
            for layer_norm in ("norm1", "norm2"):
                recipe[f"{block}.{layer_norm}.{kind}"] = Stored((f"{block}.{layer_norm}.{kind}",))
            for linear in ("fc1", "fc2"):
                recipe[f"{block}.{linear}.{kind}"] = Stored((f"{block}.mlp.{linear}.{kind}",))
    embeddings = [("patch_embed", "patch_embed", "video_mod_embed")]
    if c.image_path:
        embeddings.append(("image_patch_embed", "patch_embed_img", "img_mod_embed"))
    for ours, theirs, modality in embeddings:
        recipe[f"{ours}.weight"] = Stored((f"{theirs}.proj.weight",))
        added = (modality,) if _is_v21(source) else ()
        recipe[f"{ours}.bias"] = Stored((f"{theirs}.proj.bias",), added)
    return recipe
