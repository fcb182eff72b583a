"""The losses of Table 5(c) and two more, against float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.model.losses import LOSSES, embedding_loss, info_nce, sigreg

SCALE = torch.tensor(2.0)


def unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    rows = rng.standard_normal((count, width))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def vicreg64(x: np.ndarray, y: np.ndarray) -> float:
    width = x.shape[1]
    total = 25 * float(((x - y) ** 2).sum(1).mean())
    for rows in (x, y):
        z = rows * np.sqrt(width)
        total += 25 * float(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean()) / 2
        covariance = np.cov(z.T)
        np.fill_diagonal(covariance, 0)
        total += float((covariance**2).sum()) / width
    return total


def sigreg64(rows: np.ndarray, directions: np.ndarray) -> float:
    z = rows @ directions
    t = np.linspace(-5, 5, 17)
    found = np.exp(1j * z[..., None] * t).mean(0)
    wanted = np.exp(-(t**2) / 2)
    inside = np.abs(found - wanted) ** 2 * wanted
    integral = ((inside[:, 1:] + inside[:, :-1]) / 2 * np.diff(t)).sum(1)
    return float(len(rows) * integral.mean())


@given(st.integers(2, 12), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_losses_against_float64(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = unit(rng, count, 8), unit(rng, count, 8)
    generator = torch.Generator().manual_seed(seed)
    drawn = [F.normalize(torch.randn(8, 256, generator=generator), dim=0) for _ in range(2)]
    spread = sum(
        sigreg64(rows * np.sqrt(8), d.double().numpy())
        for rows, d in zip((x, y), drawn, strict=True)
    )
    distance = float(((x - y) ** 2).sum(1).mean())
    logits = np.exp(2.0) * x @ y.T
    rows = -np.diag(logits) + np.log(np.exp(logits).sum(1))
    columns = -np.diag(logits) + np.log(np.exp(logits).sum(0))
    expected = {
        "infonce": (rows.mean() + columns.mean()) / 2,
        "cosine": float((1 - (x * y).sum(1)).mean()),
        "l1": float(np.abs(x - y).sum(1).mean()),
        "l2": distance,
        "vicreg": vicreg64(x, y),
        "sigreg": 0.95 * distance + 0.05 * spread / 2,
    }
    assert set(expected) == set(LOSSES)
    for name in LOSSES:
        found = embedding_loss(
            name,
            torch.tensor(x).float(),
            torch.tensor(y).float(),
            SCALE,
            generator=torch.Generator().manual_seed(seed),
        )
        assert float(found) == pytest.approx(expected[name], rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_pulls_predictions_to_their_targets(name: str) -> None:
    torch.manual_seed(1)
    target = F.normalize(torch.randn(32, 16), dim=-1)
    free = torch.randn(32, 16, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.05)
    before = float((F.normalize(free, dim=-1) * target).sum(-1).mean().detach())
    for _ in range(120):
        loss = embedding_loss(name, F.normalize(free, dim=-1), target, SCALE)  # type: ignore[arg-type]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert bool(torch.isfinite(free.grad).all())  # type: ignore[union-attr]
        optimizer.step()
    after = float((F.normalize(free, dim=-1) * target).sum(-1).mean().detach())
    assert abs(before) < 0.2 and after > 0.6


@pytest.mark.parametrize(
    ("name", "resists"),
    [("cosine", False), ("l1", False), ("l2", False), ("infonce", True), ("vicreg", True),
     ("sigreg", True)],
)  # fmt: skip
def test_which_losses_resist_collapse(name: str, resists: bool) -> None:
    """All rows in one point is the optimum of a distance, and dear to what regularises."""
    torch.manual_seed(2)
    spread = F.normalize(torch.randn(64, 8), dim=-1)
    point = spread[:1].expand(64, 8)
    near = F.normalize(spread + 0.02 * torch.randn(64, 8), dim=-1)
    generator = torch.Generator().manual_seed(3)
    collapsed = embedding_loss(name, point, point, torch.tensor(3.0), generator=generator)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    apart = embedding_loss(name, near, spread, torch.tensor(3.0), generator=generator)  # type: ignore[arg-type]
    assert (float(collapsed) > float(apart)) == resists


def test_normal_rows_are_near_to_normal() -> None:
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(512, 16, generator=generator)
    normal = float(sigreg(rows, generator))
    assert float(sigreg(rows * 2, generator)) > 5 * normal
    assert float(sigreg(rows.abs(), generator)) > 5 * normal


def test_names_are_checked_and_infonce_is_the_one_in_use() -> None:
    rows = F.normalize(torch.randn(4, 8), dim=-1)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = True
    assert torch.equal(
        embedding_loss("infonce", rows, rows, SCALE, same=same), info_nce(rows, rows, SCALE, same)
    )
    with pytest.raises(ValueError, match="no loss 'hinge'"):
        embedding_loss("hinge", rows, rows, SCALE)  # type: ignore[arg-type]
