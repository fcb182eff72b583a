"""`saccadic` (PyPI, imported as `saccade`): V-JEPA 2's encoder alone, whole windows or streamed.

Its encoder wraps transformers' `VJEPA2Model`, which gets the checkpoint's X-Encoder here. Two ways
of running it are timed:

- whole windows (`FrozenEncoder`), as its README's first example; transformers' model would also run
  V-JEPA 2's self-supervised predictor, which is left out here, in its favour;
- causal streaming (`StreamingEncoder`): a stride of new frames against cached keys and values. What
  comes out is another function of the frames, which has to be trained, so no cosine is told.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from typing import Any

import numpy as np

from ...model.config import XEncoderConfig
from .subjects import Floats, Given, Missing, Subject

NAME = "saccadic"
_INSTALL = "pip install saccadic (its torchao, decord and fvcore are not needed: --no-deps will do)"


def saccadic_group(given: Given) -> list[Subject | Missing]:
    """Whole windows, and streaming."""
    try:
        import torch
        from saccade.config import CheckpointSpec, ModelConfig, StreamingConfig
        from saccade.model import FrozenEncoder
        from saccade.streaming import StreamingEncoder, apply_causal_lora
    except ImportError as error:
        return [Missing(NAME, f"{error}; {_INSTALL}")]
    sizes, config = given.config.x_encoder, given.config
    if sizes.rope_variant != "v2":
        return [Missing(NAME, "it knows V-JEPA 2, and this X-Encoder is V-JEPA 2.1's")]
    if given.threads:
        torch.set_num_threads(given.threads)
    name = f"{NAME} {version(NAME)}"

    def wrapped() -> Any:
        spec = CheckpointSpec(
            name="peer", hf_repo_id="", params_m=0.0, frames=config.frames,
            resolution=config.image_size, embed_dim=sizes.width,
            patch_size=sizes.patch, tubelet_size=sizes.tubelet,
        )  # fmt: skip
        told = ModelConfig(
            frames=config.frames, resolution=config.image_size, device="cpu", dtype="float32"
        )
        return FrozenEncoder(_backbone(given), spec, told)

    whole = wrapped()
    frames = torch.from_numpy(given.window)[None]
    mean = torch.tensor(config.mean).view(1, 1, 3, 1, 1)
    std = torch.tensor(config.std).view(1, 1, 3, 1, 1)

    def normalised(pictures: Any) -> Any:
        return (pictures.float() / 255 - mean) / std

    def encode() -> Any:
        with torch.inference_mode():
            return whole(normalised(frames))

    found: list[Subject | Missing] = [
        Subject(f"{name}, encoder FP32", encode, None, lambda: _flat(encode()))
    ]
    try:
        settings = StreamingConfig(
            window=config.frames // sizes.tubelet, cache_max_frames=config.frames // sizes.tubelet,
            lora_targets=[],
        )  # fmt: skip
        causal = wrapped()
        apply_causal_lora(causal, settings)
        streaming = StreamingEncoder(causal.eval(), settings)
        at = 0

        def step() -> None:
            nonlocal at
            with torch.inference_mode():
                for _ in range(given.stride):
                    streaming.step(normalised(frames[:, at % config.frames])[:, 0])
                    at += 1

        for _ in range(-(-config.frames // given.stride)):
            step()  # a whole window lies in the cache, as it does all the time
        found.append(
            Subject(f"{name}, causal streaming, {given.stride} new frames", step, None, None)
        )
    except Exception as error:
        found.append(Missing(f"{name}, causal streaming", f"{type(error).__name__}: {error}"))
    return found


def _flat(tokens: Any) -> Floats:
    return np.asarray(tokens[0].float().numpy(), np.float32).ravel()


def _backbone(given: Given) -> Any:
    """transformers' model with the checkpoint's X-Encoder; its own predictor is never run."""
    import torch
    from transformers import VJEPA2Config, VJEPA2Model

    sizes, config = given.config.x_encoder, given.config
    # The predictor that is passed over may be as small as it can.
    settings = VJEPA2Config(
        patch_size=sizes.patch, tubelet_size=sizes.tubelet, crop_size=config.image_size,
        frames_per_clip=config.frames, hidden_size=sizes.width, num_attention_heads=sizes.heads,
        num_hidden_layers=sizes.layers, mlp_ratio=sizes.mlp_ratio,
        layer_norm_eps=sizes.layer_norm_eps,
        pred_hidden_size=64, pred_num_attention_heads=1, pred_num_hidden_layers=1,
    )  # fmt: skip
    model: Any = VJEPA2Model(settings)
    model.eval()
    own = given.origin.load("x_encoder").state_dict()
    with torch.no_grad():
        missing, _ = model.encoder.load_state_dict(upstream_names(own, sizes), strict=False)
    if missing:
        raise ValueError(f"transformers' encoder wants {missing[:3]}, which the checkpoint lacks")
    model.forward = functools.partial(model.forward, skip_predictor=True)
    return model


def upstream_names(own: dict[str, Any], sizes: XEncoderConfig) -> dict[str, Any]:
    """Our X-Encoder's tensors by transformers' names: the way back of model/loaders/vjepa2.py."""
    theirs: dict[str, Any] = {}
    for kind in ("weight", "bias"):
        theirs[f"embeddings.patch_embeddings.proj.{kind}"] = own[f"patch_embed.{kind}"]
        theirs[f"layernorm.{kind}"] = own[f"norm.{kind}"]
        for number in range(sizes.layers):
            ours, layer = f"blocks.{number}", f"layer.{number}"
            parts = own[f"{ours}.attention.qkv.{kind}"].chunk(3)
            for part, rows in zip(("query", "key", "value"), parts, strict=True):
                theirs[f"{layer}.attention.{part}.{kind}"] = rows
            theirs[f"{layer}.attention.proj.{kind}"] = own[f"{ours}.attention.proj.{kind}"]
            for norm in ("norm1", "norm2"):
                theirs[f"{layer}.{norm}.{kind}"] = own[f"{ours}.{norm}.{kind}"]
            for linear in ("fc1", "fc2"):
                theirs[f"{layer}.mlp.{linear}.{kind}"] = own[f"{ours}.{linear}.{kind}"]
    return theirs
