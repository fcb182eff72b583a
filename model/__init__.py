"""PyTorch VL-JEPA: four components, training on sprite world, checkpoints, first quality figures.

Export-first code: static shapes, additive masks, rotary positions as tables. See docs/model.md.
"""
