"""A VL-JEPA put together from hub folders, one per component, whole or one component at a time.

Only the backbones are trained: the projections between them are fresh. It is the start of a
training, and shows what a trained model of these sizes costs; it predicts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..config import PredictorConfig, SpecialTokens, VLJEPAConfig
from ..vl_jepa import VLJEPA
from . import embedding_gemma, llama, smollm2, vjepa2
from .fill import Progress, finished, on_meta


@dataclass(frozen=True)
class Parts:
    """Where each component comes from: hub folders, or a .pt file for the X-Encoder."""

    x_encoder: Path
    predictor: Path
    y_encoder: Path
    y_decoder: Path | None = None


def read_config(
    parts: Parts,
    name: str = "assembled",
    frames: int = 16,
    fps: float = 8.0,
    embedding_width: int = 1536,
    predictor_layers: int = 8,
    dense_heads: bool = False,
) -> VLJEPAConfig:
    """The configuration that fits these folders.

    The Predictor takes the last `predictor_layers` layers; `dense_heads` keeps EmbeddingGemma's own
    linear heads; pictures are cut as V-JEPA 2 was trained (256 out of 292 pixels).
    """
    stack, _ = llama.read_last_layers(parts.predictor, predictor_layers)
    x_encoder = vjepa2.read_config(parts.x_encoder)
    side = vjepa2.read_image_size(parts.x_encoder)
    decoder, special = None, SpecialTokens()
    if parts.y_decoder is not None:
        decoder = smollm2.read_config(parts.y_decoder)
        special = smollm2.read_special_tokens(parts.y_decoder)
    return VLJEPAConfig(
        name=name,
        frames=frames,
        image_size=side,
        resize_short_side=side * 256 // 224,
        fps=fps,
        stride=max(1, frames // 2),
        embedding_width=embedding_width,
        x_encoder=x_encoder,
        predictor=PredictorConfig(stack, visual_width=x_encoder.width),
        y_encoder=embedding_gemma.read_config(parts.y_encoder, dense_heads),
        y_decoder=decoder,
        special_tokens=special,
    )


def load_component(
    name: str,
    parts: Parts,
    config: VLJEPAConfig,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Module:
    """One component (`x_encoder`, `predictor`, `y_encoder`, `y_decoder`) in float32."""
    if name == "x_encoder":
        return vjepa2.load(parts.x_encoder, config, progress)
    if name == "predictor":
        return llama.load_predictor(parts.predictor, config, seed, progress)
    if name == "y_encoder":
        return embedding_gemma.load(parts.y_encoder, config, seed, progress)
    if name != "y_decoder" or parts.y_decoder is None:
        raise ValueError(f"no folder is named for the component {name!r}")
    return smollm2.load(parts.y_decoder, config, seed, progress)


def load(
    parts: Parts, config: VLJEPAConfig, seed: int = 0, progress: Progress | None = None
) -> VLJEPA:
    """The whole model in float32."""
    model = on_meta(lambda: VLJEPA(config))
    for name in ("x_encoder", "predictor", "y_encoder", "y_decoder"):
        if getattr(model, name) is not None:
            setattr(model, name, load_component(name, parts, config, seed, progress))
    model.logit_scale = nn.Parameter(torch.tensor(2.66))  # as VLJEPA starts it
    return finished(model)
