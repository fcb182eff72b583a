"""Small random models for the tests of export, with every form that a configuration can choose."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from vljepa_edge.model.config import (
    PredictorConfig,
    TransformerConfig,
    VLJEPAConfig,
    XEncoderConfig,
    YDecoderConfig,
    YEncoderConfig,
    nano,
)
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.vl_jepa import VLJEPA

SENTENCES = (
    "what is happening?",
    "what colour is the cat?",
    "a red cat jumps up and down",
    "two blue dogs turn left below a house",
    "how many apples are there? seven",
)


def small_config(**changes: Any) -> VLJEPAConfig:
    """A few ten thousand parameters; grouped-query attention; 4 frames of 48x48."""

    def stack(layers: int) -> TransformerConfig:
        return TransformerConfig(
            width=32, layers=layers, heads=4, kv_heads=2, head_dim=16, mlp_width=48, vocabulary=300
        )

    config = VLJEPAConfig(
        name="small",
        frames=4,
        image_size=48,
        resize_short_side=54,
        fps=4.0,
        stride=1,
        embedding_width=24,
        x_encoder=XEncoderConfig(width=64, layers=2, heads=2),
        predictor=PredictorConfig(transformer=stack(1), visual_width=64, max_query_tokens=40),
        y_encoder=YEncoderConfig(transformer=stack(1), max_tokens=32),
        y_decoder=YDecoderConfig(transformer=stack(2), prefix_tokens=3, max_new_tokens=12),
    )
    return dataclasses.replace(config, **changes)


def random_model(config: VLJEPAConfig, seed: int = 0) -> VLJEPA:
    """Random weights without any zeros or ones in them, so that nothing can be left out unseen."""
    torch.manual_seed(seed)
    model = VLJEPA(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif parameter.ndim <= 1:
                parameter.copy_(0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
    return model


def nano_model() -> VLJEPA:
    return random_model(nano(vocabulary=300), seed=1)


def small_tokenizer() -> Tokenizer:
    return train_tokenizer(SENTENCES * 4, 300)


def random_frames(config: VLJEPAConfig, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, config.frames, 3, config.image_size, config.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def run(session: onnxruntime.InferenceSession, **inputs: Any) -> NDArray[np.float32]:
    """The first output."""
    arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    first: NDArray[np.float32] = session.run(None, arrays)[0]
    return first
