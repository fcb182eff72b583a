"""Training losses: between predicted and target embeddings (the paper's Table 5c, and two with
regularisers against collapse), and the Y-Decoder's cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["infonce", "cosine", "l1", "l2", "vicreg", "sigreg"]
LOSSES: tuple[LossName, ...] = get_args(LossName)

MAX_LOGIT_SCALE = 4.6052  # ln 100
# A row that has no label of a kind.
NO_LABEL = -100

# VICReg (arXiv 2105.04906, section 4.2): weights of invariance, variance and covariance.
_VICREG_WEIGHTS = (25.0, 25.0, 1.0)
_VICREG_EPS = 1e-4
# SIGReg (LeJEPA, arXiv 2511.08544): share of the regulariser, random directions, and the
# quadrature of the Epps-Pulley statistic.
_SIGREG_SHARE = 0.05
_SIGREG_DIRECTIONS = 256
_SIGREG_KNOTS = 17
_SIGREG_REACH = 5.0


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


def of_labels(
    rows: Tensor,
    labels: Tensor,
    texts: Sequence[Tensor],
    weights: Sequence[float],
    logit_scale: Tensor,
) -> Tensor:
    """Cross-entropy of unit rows [R,E] against whole vocabularies of label texts: one unit [V,E] a
    kind, its true text in `labels` int64 [R,kinds], `NO_LABEL` where there is none; weighted sum
    over kinds of the mean over the rows that have one."""
    scale = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
    loss = rows.new_zeros(())
    for kind, (vocabulary, weight) in enumerate(zip(texts, weights, strict=True)):
        known = (labels[:, kind] != NO_LABEL).nonzero()[:, 0]
        if len(known):
            logits = scale * rows[known] @ vocabulary.T
            loss = loss + weight * F.cross_entropy(logits, labels[known, kind])
    return loss


def cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cosine over rows [B,E], of any length."""
    return (1 - F.cosine_similarity(predicted, target, dim=-1)).mean()


def l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over rows [B,E] of the sum of absolute differences."""
    return (predicted - target).abs().sum(-1).mean()


def l2(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over rows [B,E] of the squared distance."""
    return (predicted - target).square().sum(-1).mean()


def vicreg(predicted: Tensor, target: Tensor) -> Tensor:
    """VICReg of unit rows [B,E], B > 1, brought to a mean square of 1 an entry: squared distance,
    plus what keeps each dimension's spread at 1 and dimensions uncorrelated, on both sides."""
    width = predicted.shape[1]
    invariance = (predicted - target).square().sum(-1).mean()
    spread, mixing = predicted.new_zeros(()), predicted.new_zeros(())
    for rows in (predicted, target):
        centred = (rows - rows.mean(0)) * width**0.5
        covariance = centred.T @ centred / (len(rows) - 1)
        deviation = (covariance.diagonal() + _VICREG_EPS).sqrt()
        spread = spread + F.relu(1 - deviation).mean() / 2
        mixed = covariance.square().sum() - covariance.diagonal().square().sum()
        mixing = mixing + mixed / width
    on_distance, on_spread, on_mixing = _VICREG_WEIGHTS
    return on_distance * invariance + on_spread * spread + on_mixing * mixing


def sigreg(rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """How far rows [B,E] are from an isotropic normal distribution, over random directions.

    Epps-Pulley: B times the integral over t of |mean(exp(itz)) - exp(-t^2/2)|^2 exp(-t^2/2), for
    the rows' projection z on each direction, by the trapezoid rule on -5..5; the mean of all.
    """
    shape = (rows.shape[1], _SIGREG_DIRECTIONS)
    directions = F.normalize(torch.randn(shape, generator=generator, dtype=rows.dtype), dim=0)
    t = torch.linspace(-_SIGREG_REACH, _SIGREG_REACH, _SIGREG_KNOTS, dtype=rows.dtype)
    normal = torch.exp(-t.square() / 2)
    turned = (rows @ directions.to(rows.device))[..., None] * t.to(rows.device)
    normal = normal.to(rows.device)
    error = (turned.cos().mean(0) - normal).square() + turned.sin().mean(0).square()
    statistic = torch.trapezoid(error * normal, t.to(rows.device), dim=-1)
    return len(rows) * statistic.mean()


def embedding_loss(
    name: LossName,
    predicted: Tensor,
    target: Tensor,
    logit_scale: Tensor,
    *,
    same: Tensor | None = None,
    extra: Tensor | None = None,
    extra_same: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A loss by its name, between unit rows predicted [B,E] and target [B,E].

    InfoNCE alone looks at `logit_scale`, `same`, `extra` and `extra_same`; SIGReg alone draws from
    `generator`. Cosine, L1 and L2 hold nothing apart: they need a Y-Encoder that stays as it is.
    Raises ValueError for another name.
    """
    if name == "infonce":
        return info_nce(predicted, target, logit_scale, same, extra, extra_same)
    if name == "cosine":
        return cosine(predicted, target)
    if name == "l1":
        return l1(predicted, target)
    if name == "l2":
        return l2(predicted, target)
    if name == "vicreg":
        return vicreg(predicted, target)
    if name == "sigreg":
        # Unit rows of an isotropic cloud have entries of variance 1/E.
        scale = predicted.shape[1] ** 0.5
        spread = (sigreg(predicted * scale, generator) + sigreg(target * scale, generator)) / 2
        return (1 - _SIGREG_SHARE) * l2(predicted, target) + _SIGREG_SHARE * spread
    raise ValueError(f"no loss {name!r}; one of {', '.join(LOSSES)}")


def next_token(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of logits [B,L,V] against ids [B,L] where mask [B,L] is 1."""
    loss = F.cross_entropy(logits.flatten(0, 1).float(), token_ids.flatten(), reduction="none")
    weights = mask.float().flatten()
    return (loss * weights).sum() / weights.sum()
