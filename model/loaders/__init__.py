"""Checkpoint loaders, one file per published layout. See docs/weights.md.

`vjepa2` X-Encoder · `llama` Predictor · `embedding_gemma` Y-Encoder · `smollm2` Y-Decoder ·
`open_vljepa` the public VL-JEPA · `assemble` hub folders put together · `own` our own format.
"""
