"""What the Predictor's gated MLPs multiply beyond what INT8 holds well is weighed in training."""

from __future__ import annotations

import pytest
import tiny_training
import torch
from vljepa_edge.model import transformer
from vljepa_edge.model.contrastive_stage import contrastive_step
from vljepa_edge.model.data import WorldBatches, corpus
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.transformer import LOUD, excess_of
from vljepa_edge.model.vl_jepa import VLJEPA


def test_excess_is_what_goes_beyond() -> None:
    product = torch.tensor([[[0.5, -LOUD, LOUD + 3], [-LOUD - 1, 0.0, LOUD + 2]]])
    assert float(excess_of(product)) == 3.0
    assert float(excess_of(product.clamp(-LOUD, LOUD))) == 0.0


def test_the_loss_pushes_loud_channels_down(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    monkeypatch.setattr(transformer, "LOUD", 0.01)  # an untrained model is quiet
    model = VLJEPA(tiny_training.tiny_config()).train()
    tokenizer = train_tokenizer(corpus(tiny_training.tiny_world(), 1, 50), 400)
    batch = WorldBatches(tiny_training.tiny_world(), "query", 4, 1, 10, 1)[0]
    parts = [
        contrastive_step(model, tokenizer, batch, autocast=False, quiet=quiet)
        for quiet in (0.0, 1.0)
    ]
    excess = model.predictor.excess()
    torch.testing.assert_close(parts[1] - parts[0], excess, atol=1e-4, rtol=1e-3)
    excess.backward(retain_graph=True)
    with torch.no_grad():
        for layer in model.predictor.layers:
            for part in (layer.gate_proj, layer.up_proj):
                part.weight -= 0.002 * part.weight.grad / part.weight.grad.std()
    contrastive_step(model, tokenizer, batch, autocast=False, quiet=1.0)
    after = model.predictor.excess()
    assert after.item() < 0.9 * excess.item()


def test_nothing_is_kept_unless_asked() -> None:
    model = VLJEPA(tiny_training.tiny_config()).train()
    tokenizer = train_tokenizer(corpus(tiny_training.tiny_world(), 1, 50), 400)
    batch = WorldBatches(tiny_training.tiny_world(), "query", 4, 1, 10, 1)[0]
    contrastive_step(model, tokenizer, batch, autocast=False)
    with pytest.raises(RuntimeError, match="watch"):
        model.predictor.excess()
    model.eval()
    model.predictor.watch(True)
    x = torch.zeros(1, 4, model.config.predictor.transformer.width)
    model.predictor.layers[0].feed_forward(x)
    with pytest.raises(RuntimeError, match="watch"):
        model.predictor.excess()
