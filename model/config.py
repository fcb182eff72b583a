"""Sizes of the four VL-JEPA components and the two presets, `paper` and `nano`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["visual+query", "query", "visual"]


@dataclass(frozen=True)
class XEncoderConfig:
    """V-JEPA 2 vision transformer (upstream: `VJEPA2Config` in transformers).

    V-JEPA 2.1 turns on the last three: its own rotation, spatial positions stretched to the grid it
    was trained on (16 of 256 pixels) whatever the real one, and a patch embedding of its own for
    single images.
    """

    width: int = 1024
    layers: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    patch: int = 16
    tubelet: int = 2
    layer_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_variant: Literal["v2", "v2.1"] = "v2"
    rope_trained_grid: int | None = None
    image_path: bool = False

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.width // self.heads


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3 frequency scaling (`rope_type: llama3`)."""

    factor: float = 32.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True)
class TransformerConfig:
    """A Llama-shaped stack: RMSNorm, grouped-query attention with RoPE, SwiGLU."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    vocabulary: int
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5


@dataclass(frozen=True)
class PredictorConfig:
    """Bidirectional Llama layers over visual and query tokens (paper, section 3).

    `causal` keeps Llama's mask, for the paper's ablation alone: such a model cannot be exported.
    """

    transformer: TransformerConfig
    visual_width: int
    max_query_tokens: int = 512
    pooling: Pooling = "visual+query"
    project_query: bool = False
    causal: bool = False


@dataclass(frozen=True)
class GemmaConfig:
    """What Gemma 3 text layers have beyond a `TransformerConfig` (upstream: `Gemma3TextConfig`).

    `full_layers` see the whole text; the others see `reach` tokens to either side and rotate with
    `local_rope_theta`. `query_scale` is upstream's query_pre_attn_scalar.
    """

    full_layers: tuple[int, ...]
    sliding_window: int = 512
    local_rope_theta: float = 10_000.0
    query_scale: float = 256.0

    @property
    def reach(self) -> int:
        """Tokens seen to either side: transformers turns n into |i - j| < n // 2 + 1."""
        return self.sliding_window // 2


@dataclass(frozen=True)
class YEncoderConfig:
    """Bidirectional text encoder, mean pool, linear head.

    Llama-shaped layers, or Gemma 3's where `gemma` is given. `dense_widths` are the outputs of
    EmbeddingGemma's own bias-free linear layers between pool and head, where those are kept.
    """

    transformer: TransformerConfig
    max_tokens: int = 512
    gemma: GemmaConfig | None = None
    dense_widths: tuple[int, ...] = ()


@dataclass(frozen=True)
class YDecoderConfig:
    """Prefix LM: one embedding -> `prefix_tokens` soft tokens -> text."""

    transformer: TransformerConfig
    prefix_tokens: int = 8
    max_new_tokens: int = 64

    @property
    def cache_length(self) -> int:
        """KV columns: soft tokens, begin token and all new tokens."""
        return self.prefix_tokens + 1 + self.max_new_tokens


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids shared by the tokenizer and the Y-Decoder."""

    pad: int = 0
    begin: int = 1
    end: int = 2


@dataclass(frozen=True)
class VLJEPAConfig:
    """A whole model. `frames` x `image_size`^2 pixels at `fps` make one window."""

    name: str
    frames: int
    image_size: int
    resize_short_side: int
    fps: float
    stride: int
    embedding_width: int
    x_encoder: XEncoderConfig
    predictor: PredictorConfig
    y_encoder: YEncoderConfig
    y_decoder: YDecoderConfig | None
    special_tokens: SpecialTokens = field(default_factory=SpecialTokens)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Visual tokens along time, height and width."""
        side = self.image_size // self.x_encoder.patch
        return self.frames // self.x_encoder.tubelet, side, side

    @property
    def visual_tokens(self) -> int:
        """N: visual tokens of one window."""
        time, height, width = self.grid
        return time * height * width

    def to_json(self) -> str:
        """The whole configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> VLJEPAConfig:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        return _build(cls, json.loads(text))

    @classmethod
    def read(cls, path: Path) -> VLJEPAConfig:
        """Reads a config.json."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def _transformer(values: dict[str, Any]) -> TransformerConfig:
    scaling = values.get("rope_scaling")
    return TransformerConfig(
        **{**values, "rope_scaling": RopeScaling(**scaling) if scaling else None}
    )


def _y_encoder(values: dict[str, Any]) -> dict[str, Any]:
    gemma = values.get("gemma")
    if gemma:
        gemma = GemmaConfig(**{**gemma, "full_layers": tuple(gemma["full_layers"])})
    return {**values, "gemma": gemma, "dense_widths": tuple(values.get("dense_widths", ()))}


def _build(cls: type[VLJEPAConfig], values: dict[str, Any]) -> VLJEPAConfig:
    nested = dict(values)
    nested["x_encoder"] = XEncoderConfig(**values["x_encoder"])
    for name, part in (
        ("predictor", PredictorConfig),
        ("y_encoder", YEncoderConfig),
        ("y_decoder", YDecoderConfig),
    ):
        if values.get(name) is not None:
            inner = dict(values[name])
            inner["transformer"] = _transformer(inner["transformer"])
            if name == "y_encoder":
                inner = _y_encoder(inner)
            nested[name] = part(**inner)
    nested["special_tokens"] = SpecialTokens(**values["special_tokens"])
    nested["mean"] = tuple(values["mean"])
    nested["std"] = tuple(values["std"])
    return cls(**nested)


def nano(vocabulary: int = 2048) -> VLJEPAConfig:
    """The embedded default: 8 frames x 128^2, about 7.6 M parameters, trained on sprite world."""

    def stack(layers: int) -> TransformerConfig:
        return TransformerConfig(
            width=192,
            layers=layers,
            heads=3,
            kv_heads=3,
            head_dim=64,
            mlp_width=512,
            vocabulary=vocabulary,
        )

    return VLJEPAConfig(
        name="nano",
        frames=8,
        image_size=128,
        resize_short_side=128,
        fps=8.0,
        stride=2,
        embedding_width=256,
        x_encoder=XEncoderConfig(width=192, layers=6, heads=3),
        predictor=PredictorConfig(transformer=stack(3), visual_width=192, max_query_tokens=512),
        y_encoder=YEncoderConfig(transformer=stack(2), max_tokens=64),
        y_decoder=YDecoderConfig(transformer=stack(2), prefix_tokens=4, max_new_tokens=32),
    )


def paper(frames: int = 16) -> VLJEPAConfig:
    """The paper's 1.6 B model; the Y-Decoder is ours, in the shape of SmolLM2-135M."""
    llama = TransformerConfig(
        width=2048,
        layers=8,
        heads=32,
        kv_heads=8,
        head_dim=64,
        mlp_width=8192,
        vocabulary=128_256,
        rope_theta=500_000.0,
        rope_scaling=RopeScaling(),
    )
    smollm2 = TransformerConfig(
        width=576,
        layers=30,
        heads=9,
        kv_heads=3,
        head_dim=64,
        mlp_width=1536,
        vocabulary=49_152,
        rope_theta=100_000.0,
    )
    embedding_gemma = TransformerConfig(
        width=768,
        layers=24,
        heads=3,
        kv_heads=1,
        head_dim=256,
        mlp_width=1152,
        vocabulary=262_144,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
    )
    return VLJEPAConfig(
        name="paper",
        frames=frames,
        image_size=256,
        resize_short_side=292,
        fps=8.0,
        stride=frames // 2,
        embedding_width=1536,
        x_encoder=XEncoderConfig(),
        predictor=PredictorConfig(transformer=llama, visual_width=1024),
        y_encoder=YEncoderConfig(
            transformer=embedding_gemma, gemma=GemmaConfig(full_layers=(5, 11, 17, 23))
        ),
        y_decoder=YDecoderConfig(transformer=smollm2, prefix_tokens=8, max_new_tokens=64),
    )


PRESETS = {"nano": nano, "paper": paper}
