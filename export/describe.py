"""A model's configuration as the manifest of its bundle."""

from __future__ import annotations

from ..model.config import VLJEPAConfig
from .manifest import (
    SCHEMA_VERSION,
    DecoderRecord,
    GateSettings,
    Manifest,
    ModelRecord,
    Preprocessing,
    Provenance,
    Window,
)


def describe(config: VLJEPAConfig, gate: GateSettings, provenance: Provenance) -> Manifest:
    """The manifest of a model, its files apart."""
    decoder = None
    if config.y_decoder is not None:
        c = config.y_decoder.transformer
        decoder = DecoderRecord(
            prefix_tokens=config.y_decoder.prefix_tokens,
            width=c.width,
            kv_planes=2 * c.layers,
            kv_heads=c.kv_heads,
            head_size=c.head_dim,
            cache_length=config.y_decoder.cache_length,
            vocabulary=c.vocabulary,
            begin_token=config.special_tokens.begin,
            end_token=config.special_tokens.end,
            max_new_tokens=config.y_decoder.max_new_tokens,
        )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        precision="fp32",
        window=Window(
            frames=config.frames,
            height=config.image_size,
            width=config.image_size,
            fps=config.fps,
            stride=config.stride,
            tubelet_frames=config.x_encoder.tubelet,
            patch_pixels=config.x_encoder.patch,
        ),
        preprocessing=Preprocessing(
            resize_short_side=config.resize_short_side,
            resize_filter="bilinear_antialias",
            crop="center",
            channels="rgb",
            mean=config.mean,
            std=config.std,
        ),
        model=ModelRecord(
            visual_tokens=config.visual_tokens,
            visual_width=config.x_encoder.width,
            query_width=config.predictor.transformer.width,
            max_query_tokens=config.predictor.max_query_tokens,
            embedding_width=config.embedding_width,
            text_max_tokens=config.y_encoder.max_tokens,
            pooling=config.predictor.pooling,
            rope_variant=config.x_encoder.rope_variant,
        ),
        decoder=decoder,
        gate=gate,
        components={},
        tokenizers={},
        token_embeddings=(),
        queries=(),
        phrase_banks=(),
        golden=None,
        provenance=provenance,
    )
