"""Training losses: bi-directional InfoNCE and the Y-Decoder's cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_LOGIT_SCALE = 4.6052  # ln 100


def info_nce(
    predicted: Tensor,
    target: Tensor,
    logit_scale: Tensor,
    same: Tensor | None = None,
    extra: Tensor | None = None,
    extra_same: Tensor | None = None,
) -> Tensor:
    """Bi-directional InfoNCE between unit rows predicted [B,E] and target [B,E].

    `same` bool [B,B]: other pairs of the batch that mean the same; they are no negatives.
    `extra` [X,E]: more text negatives for the video-to-text direction; `extra_same` bool [B,X]
    tells which of them aren't.
    """
    scale = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
    logits = scale * predicted @ target.T
    if same is not None:
        twins = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(twins, -1e4)
    rows = logits
    if extra is not None:
        more = scale * predicted @ extra.T
        if extra_same is not None:
            more = more.masked_fill(extra_same, -1e4)
        rows = torch.cat((logits, more), 1)
    labels = torch.arange(len(predicted), device=predicted.device)
    return (F.cross_entropy(rows, labels) + F.cross_entropy(logits.T, labels)) / 2


def next_token(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of logits [B,L,V] against ids [B,L] where mask [B,L] is 1."""
    loss = F.cross_entropy(logits.flatten(0, 1).float(), token_ids.flatten(), reduction="none")
    weights = mask.float().flatten()
    return (loss * weights).sum() / weights.sum()
