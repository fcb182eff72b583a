"""The smallest model with all components, for tests that export it or train it."""

from __future__ import annotations

import dataclasses

from vljepa_edge.model.config import TransformerConfig, VLJEPAConfig, nano


def tiny_config(
    vocabulary: int, *, frames: int, resize_short_side: int = 32, max_new_tokens: int | None = None
) -> VLJEPAConfig:
    """Frames of 32x32; one layer of everything; `max_new_tokens` None: nano's."""

    def small(part: TransformerConfig) -> TransformerConfig:
        return dataclasses.replace(
            part, width=32, layers=1, heads=2, kv_heads=2, head_dim=16, mlp_width=64
        )

    config = nano(vocabulary)
    assert config.y_decoder is not None
    return dataclasses.replace(
        config,
        name="tiny",
        frames=frames,
        image_size=32,
        resize_short_side=resize_short_side,
        embedding_width=32,
        x_encoder=dataclasses.replace(config.x_encoder, width=48, layers=1, heads=1),
        predictor=dataclasses.replace(
            config.predictor, transformer=small(config.predictor.transformer), visual_width=48
        ),
        y_encoder=dataclasses.replace(
            config.y_encoder, transformer=small(config.y_encoder.transformer)
        ),
        y_decoder=dataclasses.replace(
            config.y_decoder,
            transformer=small(config.y_decoder.transformer),
            max_new_tokens=max_new_tokens or config.y_decoder.max_new_tokens,
        ),
    )
