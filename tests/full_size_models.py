"""Models of transformers at the size of the real checkpoints, with random weights, in hub layouts.

Saved in BF16, as most checkpoints on the hub are, and one at a time: memory is one model's.
"""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path
from typing import Any

import torch
from export_models import small_tokenizer
from hub_models import best_pt, randomise
from vljepa_edge.model.config import paper

# One more than the Predictor takes: its layers are the last ones.
LLAMA_LAYERS = 9


def vjepa2() -> Any:
    """V-JEPA 2 ViT-L, its self-supervised predictor included."""
    from transformers import VJEPA2Config, VJEPA2Model

    return randomise(VJEPA2Model(VJEPA2Config()), 1)


def llama(layers: int = LLAMA_LAYERS) -> Any:
    """Llama-3.2-1B with so many of its 16 layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    c = paper().predictor.transformer
    scaling = dataclasses.asdict(c.rope_scaling) if c.rope_scaling is not None else {}
    scaling["original_max_position_embeddings"] = scaling.pop("original_positions")
    config = LlamaConfig(
        hidden_size=c.width,
        num_hidden_layers=layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        head_dim=c.head_dim,
        intermediate_size=c.mlp_width,
        vocab_size=c.vocabulary,
        rms_norm_eps=c.norm_eps,
        max_position_embeddings=131_072,
        rope_parameters={"rope_type": "llama3", "rope_theta": c.rope_theta, **scaling},
        tie_word_embeddings=True,
    )
    return randomise(LlamaForCausalLM(config), 2)


def embedding_gemma() -> Any:
    """EmbeddingGemma-300M's transformer."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    c = paper().y_encoder.transformer
    config = Gemma3TextConfig(
        vocab_size=c.vocabulary,
        hidden_size=c.width,
        intermediate_size=c.mlp_width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        head_dim=c.head_dim,
        query_pre_attn_scalar=256,
        sliding_window=512,
        max_position_embeddings=2048,
        use_bidirectional_attention=True,
    )
    return randomise(Gemma3TextModel(config), 4)


def smollm2() -> Any:
    """SmolLM2-135M."""
    from transformers import LlamaConfig, LlamaForCausalLM

    decoder = paper().y_decoder
    assert decoder is not None
    c = decoder.transformer
    config = LlamaConfig(
        hidden_size=c.width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        head_dim=c.head_dim,
        intermediate_size=c.mlp_width,
        vocab_size=c.vocabulary,
        rms_norm_eps=c.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return randomise(LlamaForCausalLM(config), 6)


def save_hub(folder: Path) -> dict[str, Path]:
    """The four folders by component, each with a stand-in tokenizer beside its weights."""
    makers = {
        "x_encoder": vjepa2,
        "predictor": llama,
        "y_encoder": embedding_gemma,
        "y_decoder": smollm2,
    }
    for name, make in makers.items():
        make().bfloat16().save_pretrained(folder / name, max_shard_size="1GB")
        small_tokenizer().save(str(folder / name / "tokenizer.json"))
        gc.collect()
    return {name: folder / name for name in makers}


def save_best_pt(path: Path) -> None:
    """The public VL-JEPA's file without its frozen X-Encoder."""
    text = embedding_gemma().bfloat16()
    saved = best_pt(llama(8).bfloat16(), text, None, 1536, layers=8, visual_width=1024)
    torch.save(saved, path)
