"""Windows of 16, 32 and 64 frames of 256²: up to 8,192 visual tokens, few layers and heads.

Positions, grids and tables are those of the full size. What is left out is repetition: at 64 frames
the scores of all 32 heads of one Predictor layer take 8.7 GB, twice, on ONNX Runtime.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from export_models import random_model
from vljepa_edge.export.golden import golden_frames
from vljepa_edge.export.onnx_export import export_component
from vljepa_edge.model.config import VLJEPAConfig, paper

FRAMES = [16, 32, pytest.param(64, marks=[pytest.mark.full_size, pytest.mark.timeout(1800)])]


def config(frames: int) -> VLJEPAConfig:
    """One layer of each stack with heads of the paper's width, and a small vocabulary."""
    base = paper(frames)
    stack = dataclasses.replace(
        base.predictor.transformer,
        width=128,
        layers=1,
        heads=4,
        kv_heads=2,
        mlp_width=128,
        vocabulary=64,
    )
    return dataclasses.replace(
        base,
        embedding_width=48,
        x_encoder=dataclasses.replace(base.x_encoder, width=128, layers=1, heads=2),
        predictor=dataclasses.replace(base.predictor, transformer=stack, visual_width=128),
        y_encoder=dataclasses.replace(
            base.y_encoder, transformer=dataclasses.replace(stack, rope_scaling=None), gemma=None
        ),
        y_decoder=None,
    )


@pytest.mark.parametrize("frames", FRAMES)
@torch.no_grad()
def test_long_windows_compute_what_pytorch_computes(frames: int, tmp_path: Path) -> None:
    model = random_model(config(frames))
    tokens = model.config.visual_tokens
    assert tokens == 128 * frames
    clip = golden_frames(model.config)
    visual = model.x_encoder(torch.from_numpy(clip))
    assert same(export_component("x_encoder", model, tmp_path).path, {"frames": clip}, visual)

    generator = torch.Generator().manual_seed(1)
    query = torch.randn(2, 9, 128, generator=generator)
    mask = torch.ones(2, 9)
    mask[1, 5:] = 0
    rows = [model.predictor(visual, query[i : i + 1], mask[i : i + 1]) for i in range(2)]
    feeds = {"visual_tokens": visual, "query_embeddings": query, "query_mask": mask}
    arrays = {name: value.numpy() for name, value in feeds.items()}
    assert same(export_component("predictor", model, tmp_path).path, arrays, torch.cat(rows))


def same(path: Path, feeds: dict[str, np.ndarray], expected: torch.Tensor) -> bool:
    """Every row to within 1e-4 and cosine 0.99999."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, feeds)[0].astype(np.float64)
    wanted = expected.double().numpy()
    dots = (found * wanted).sum(-1)
    cosines = dots / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert np.abs(found - wanted).max() <= 1e-4, np.abs(found - wanted).max()
    assert cosines.min() >= 0.99999, cosines.min()
    return True
