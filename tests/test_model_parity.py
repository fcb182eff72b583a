"""Our components against transformers' own modules, tiny random configurations, float32."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from vljepa_edge.model.config import (
    PredictorConfig,
    RopeScaling,
    TransformerConfig,
    VLJEPAConfig,
    XEncoderConfig,
    nano,
)
from vljepa_edge.model.predictor import Predictor
from vljepa_edge.model.x_encoder import XEncoder

transformers = pytest.importorskip("transformers")


def _config(**changes: object) -> VLJEPAConfig:
    return dataclasses.replace(nano(vocabulary=300), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", [2, 8])
def test_x_encoder_equals_vjepa2(frames: int) -> None:
    from transformers import VJEPA2Config, VJEPA2Model

    torch.manual_seed(0)
    reference = VJEPA2Model(
        VJEPA2Config(
            patch_size=16,
            crop_size=64,
            frames_per_clip=frames,
            tubelet_size=2,
            hidden_size=128,
            num_attention_heads=2,
            num_hidden_layers=3,
            mlp_ratio=4.0,
            pred_hidden_size=128,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
        )
    ).eval()
    config = _config(
        frames=frames, image_size=64, x_encoder=XEncoderConfig(width=128, layers=3, heads=2)
    )
    ours = XEncoder(config).eval()
    theirs = reference.encoder.state_dict()
    own = ours.state_dict()
    own["patch_embed.weight"] = theirs["embeddings.patch_embeddings.proj.weight"]
    own["patch_embed.bias"] = theirs["embeddings.patch_embeddings.proj.bias"]
    for i in range(3):
        source, target = f"layer.{i}.", f"blocks.{i}."
        for kind in ("weight", "bias"):
            own[f"{target}attention.qkv.{kind}"] = torch.cat(
                [theirs[f"{source}attention.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            own[f"{target}attention.proj.{kind}"] = theirs[f"{source}attention.proj.{kind}"]
            for norm in ("norm1", "norm2"):
                own[f"{target}{norm}.{kind}"] = theirs[f"{source}{norm}.{kind}"]
            for linear in ("fc1", "fc2"):
                own[f"{target}{linear}.{kind}"] = theirs[f"{source}mlp.{linear}.{kind}"]
    for kind in ("weight", "bias"):
        own[f"norm.{kind}"] = theirs[f"layernorm.{kind}"]
    ours.load_state_dict(own)

    pixels = torch.randint(0, 256, (2, frames, 3, 64, 64), dtype=torch.uint8)
    mean = torch.tensor(config.mean).view(1, 1, 3, 1, 1)
    std = torch.tensor(config.std).view(1, 1, 3, 1, 1)
    with torch.no_grad():
        expected = reference(
            pixel_values_videos=(pixels / 255 - mean) / std, skip_predictor=True
        ).last_hidden_state
        found = ours(pixels)
    assert found.shape == (2, frames // 2 * 16, 128)
    assert (found - expected).abs().max() <= 2e-5


@pytest.mark.parametrize("scaling", [None, RopeScaling(8.0, 1.0, 4.0, 64)])
def test_predictor_layers_equal_llama_without_causal_mask(scaling: RopeScaling | None) -> None:
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(1)
    stack = TransformerConfig(
        width=96,
        layers=2,
        heads=6,
        kv_heads=2,
        head_dim=16,
        mlp_width=160,
        vocabulary=300,
        rope_scaling=scaling,
    )
    rope: dict[str, object] = {"rope_type": "default", "rope_theta": stack.rope_theta}
    if scaling is not None:
        rope = {
            "rope_type": "llama3",
            "rope_theta": stack.rope_theta,
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_positions,
        }
    reference = LlamaModel(
        LlamaConfig(
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=16,
            intermediate_size=160,
            vocab_size=300,
            rms_norm_eps=stack.norm_eps,
            rope_parameters=rope,
        )
    ).eval()
    ours = Predictor(_config(predictor=PredictorConfig(stack, visual_width=192))).eval()
    own = ours.state_dict()
    for name, value in reference.state_dict().items():
        own[name.replace(".mlp.", ".")] = value
    ours.load_state_dict(own)

    visual, query = torch.randn(2, 24, 192), torch.randn(2, 5, 96)
    mask = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    with torch.no_grad():
        found, _ = ours.hidden(visual, query, mask)
        inputs = torch.cat((ours.vis_proj(visual), query), 1)
        whole = torch.cat((torch.ones(2, 24), mask), 1)
        bias = ((1 - whole) * -1e9)[:, None, None, :].expand(2, 1, 29, 29)
        expected = reference(inputs_embeds=inputs, attention_mask=bias).last_hidden_state
    real = whole.bool()
    assert (found[real] - expected[real]).abs().max() <= 1e-5
