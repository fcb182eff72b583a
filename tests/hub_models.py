"""Tiny random models of transformers, saved in the layouts of the hub, for the tests of loaders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vljepa_edge.model.config import VLJEPAConfig

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Weights without zeros, ones or repeats, so that nothing can be left out or swapped unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                base = 0.0 if "Gemma" in type(model).__name__ else 1.0
                parameter.copy_(base + 0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model.eval()


def save_vjepa2(folder: Path, crop: int = 64, frames: int = 8, layers: int = 3) -> Any:
    """A `VJEPA2Model`, its self-supervised predictor included, as on the hub."""
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        patch_size=16,
        crop_size=crop,
        frames_per_clip=frames,
        hidden_size=128,
        num_attention_heads=2,
        num_hidden_layers=layers,
        mlp_ratio=3.0,
        pred_hidden_size=64,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    model = randomise(VJEPA2Model(config), 1)
    model.save_pretrained(folder)  # type: ignore[operator]
    return model


def save_llama(folder: Path, layers: int = 5, shards: bool = False, **changes: Any) -> Any:
    """A `LlamaForCausalLM` with tied embeddings and Llama 3's rotary scaling."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings: dict[str, Any] = {
        "hidden_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 160,
        "vocab_size": 300,
        "rms_norm_eps": 1e-5,
        "rope_parameters": LLAMA3_ROPE,
        "tie_word_embeddings": True,
        "bos_token_id": 3,
        "eos_token_id": 4,
    }
    model = randomise(LlamaForCausalLM(LlamaConfig(**{**settings, **changes})), 2)
    model.save_pretrained(folder, max_shard_size="200KB" if shards else "5GB")  # type: ignore[operator]
    return model


def save_embedding_gemma(folder: Path, **changes: Any) -> tuple[Any, list[Tensor]]:
    """A bidirectional `Gemma3TextModel` in a sentence-transformers folder; its dense weights."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    settings: dict[str, Any] = {
        "vocab_size": 200,
        "hidden_size": 48,
        "intermediate_size": 72,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "max_position_embeddings": 64,
        "use_bidirectional_attention": True,
    }
    model = randomise(Gemma3TextModel(Gemma3TextConfig(**{**settings, **changes})), 3)
    model.save_pretrained(folder)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(4)
    heads = [torch.randn(80, 48, generator=generator), torch.randn(48, 80, generator=generator)]
    modules = ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    _write(
        folder / "modules.json",
        [
            {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(zip(paths, modules, strict=True))
        ],
    )
    _write(folder / "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    for name, weight in zip(("2_Dense", "3_Dense"), heads, strict=True):
        dense = {
            "in_features": weight.shape[1],
            "out_features": weight.shape[0],
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        _write(folder / name / "config.json", dense)
        save_file({"linear.weight": weight}, folder / name / "model.safetensors")
    return model, heads


def best_pt(
    llama: Any,
    gemma: Any,
    vision: Any | None,
    width: int,
    layers: int = 2,
    visual_width: int = 128,
) -> dict[str, Any]:
    """What open-vljepa's trainer saves, from models of transformers; `vision` None: left out."""
    generator = torch.Generator().manual_seed(12)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.1

    base, hidden, text = llama.model, llama.config.hidden_size, gemma.config.hidden_size
    state = {"predictor.embed_tokens.weight": base.embed_tokens.weight.bfloat16()}
    for i, layer in enumerate(base.layers[-layers:]):
        for name, value in layer.state_dict().items():
            state[f"predictor.layers.{i}.{name}"] = value
    state["predictor.norm.weight"] = base.norm.weight
    state["predictor.vis_proj.weight"] = noise(hidden, visual_width)
    state["predictor.vis_proj.bias"] = noise(hidden)
    state["predictor.out_proj.weight"] = noise(width, hidden)
    state["predictor.out_proj.bias"] = noise(width)
    for name, value in gemma.state_dict().items():
        state[f"y_encoder.model.{name}"] = value
    state["y_encoder.projector.weight"] = noise(width, text)
    state["y_encoder.projector.bias"] = noise(width)
    if vision is not None:
        for name, value in vision.state_dict().items():
            state[f"x_encoder.model.{name}"] = value
    config = {
        "encoder": {"model_name": "facebook/vjepa2-vitl-fpc64-256", "output_dim": None},
        "predictor": {"llama_name": "meta-llama/Llama-3.2-1B", "proj_dim": 1536},
        "y_encoder": {"model_name": "google/embeddinggemma-300m", "proj_dim": 1536},
        "data": {"num_frames": 8, "image_size": 256},
        "training": {"temperature": 0.05, "bf16": True},
    }
    detached = {name: value.detach().clone() for name, value in state.items()}
    return {"epoch": 7, "model_state_dict": detached, "loss": 1.25, "config": config}


def assert_parity(case: str, found: Tensor, expected: Tensor, limit: float = 1e-5) -> None:
    """Equal to within `limit`; also a row of docs/weights.md's table, in the file PARITY_TABLE."""
    assert found.shape == expected.shape
    difference = float((found - expected).abs().max())
    if table := os.environ.get("PARITY_TABLE"):
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(f"| {case} | {difference:.1e} | {limit:.0e} |\n")
    assert difference <= limit, f"{case}: {difference:.2e}"


def pixels_for_upstream(
    frames: Tensor, config: VLJEPAConfig, dtype: torch.dtype = torch.float32
) -> Tensor:
    """uint8 [B,T,3,H,W] as transformers' processor hands it on."""
    mean = torch.tensor(config.mean, dtype=dtype).view(1, 1, 3, 1, 1)
    std = torch.tensor(config.std, dtype=dtype).view(1, 1, 3, 1, 1)
    return (frames.to(dtype) / 255 - mean) / std


def random_frames(batch: int, time: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (batch, time, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def edit_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
