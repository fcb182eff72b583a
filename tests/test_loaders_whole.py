"""Whole models: the open-vljepa layout, hub folders put together, our own format in parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hub_models import (
    assert_parity,
    best_pt,
    pixels_for_upstream,
    random_frames,
    save_embedding_gemma,
    save_llama,
    save_vjepa2,
)
from vljepa_edge.model import checkpoint
from vljepa_edge.model.checkpoint import CheckpointError
from vljepa_edge.model.config import VLJEPAConfig, paper
from vljepa_edge.model.loaders import assemble, open_vljepa, own
from vljepa_edge.model.tokenizer import train_tokenizer

pytest.importorskip("transformers")


@dataclasses.dataclass
class Hub:
    """Three folders and the models of transformers that they hold."""

    parts: assemble.Parts
    vision: Any
    llama: Any
    gemma: Any

    def config(self, **changes: Any) -> VLJEPAConfig:
        config = assemble.read_config(self.parts, frames=4, embedding_width=40, predictor_layers=2)
        return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    folder = tmp_path_factory.mktemp("hub")
    parts = assemble.Parts(*(folder / name for name in ("vision", "llama", "gemma", "llama")))
    vision = save_vjepa2(parts.x_encoder)
    llama = save_llama(parts.predictor, layers=3)
    return Hub(parts, vision, llama, save_embedding_gemma(parts.y_encoder)[0])


def test_hub_folders_put_together(hub: Hub) -> None:
    config = hub.config()
    assert (config.image_size, config.resize_short_side, config.visual_tokens) == (64, 73, 32)
    model = assemble.load(hub.parts, config)
    assert not any(p.is_meta for p in model.parameters())
    with torch.no_grad():
        found = model.predict(random_frames(1, 4, 64, 64), torch.tensor([[5, 6]]), torch.ones(1, 2))
        text = model.y_encoder(torch.tensor([[7, 8, 9]]))
    assert found.shape == text.shape == (1, 40)
    assert torch.isfinite(found).all() and torch.isfinite(text).all()
    # One component at a time gives the same weights: what an export in processes does.
    for name in own.COMPONENTS:
        alone = assemble.load_component(name, hub.parts, config)
        for key, value in alone.state_dict().items():
            assert torch.equal(value, model.state_dict()[f"{name}.{key}"]), key


def test_our_own_format_one_component_at_a_time(hub: Hub, tmp_path: Path) -> None:
    model = assemble.load(hub.parts, hub.config())
    checkpoint.save(tmp_path, model, train_tokenizer(["a cat"], 300), {})
    for name in own.COMPONENTS:
        part = own.load_component(tmp_path, name)
        assert part.state_dict().keys() == getattr(model, name).state_dict().keys()
        for key, value in part.state_dict().items():
            assert torch.equal(value, model.state_dict()[f"{name}.{key}"]), key


def test_our_own_format_without_a_decoder(hub: Hub, tmp_path: Path) -> None:
    parts = dataclasses.replace(hub.parts, y_decoder=None)
    model = assemble.load(parts, hub.config(y_decoder=None))
    checkpoint.save(tmp_path, model, train_tokenizer(["a cat"], 300), {})
    with pytest.raises(CheckpointError, match="has no Y-Decoder"):
        own.load_component(tmp_path, "y_decoder")


@pytest.mark.parametrize("x_encoder", [False, True])
@torch.no_grad()
def test_open_vljepa_predicts_as_its_own_code(hub: Hub, tmp_path: Path, x_encoder: bool) -> None:
    """The reference is open-vljepa's forward pass, written out over modules of transformers."""
    saved = best_pt(hub.llama, hub.gemma, hub.vision if x_encoder else None, 40)
    torch.save(saved, tmp_path / "best.pt")
    config = hub.config(y_decoder=None)
    folder = None if x_encoder else hub.parts.x_encoder
    model = open_vljepa.load(tmp_path / "best.pt", folder, config)
    assert model.y_decoder is None
    assert abs(float(model.logit_scale.detach().exp()) - 1 / 0.05) < 1e-4

    state = saved["model_state_dict"]
    frames = random_frames(2, 4, 64, 64)
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    visual = hub.vision(
        pixel_values_videos=pixels_for_upstream(frames, config), skip_predictor=True
    ).last_hidden_state
    lifted = visual @ state["predictor.vis_proj.weight"].T + state["predictor.vis_proj.bias"]
    x = torch.cat((lifted, state["predictor.embed_tokens.weight"].float()[ids]), 1)
    whole = torch.cat((torch.ones(2, visual.shape[1]), mask), 1)
    base, length = hub.llama.model, x.shape[1]
    rotary = base.rotary_emb(x, torch.arange(length)[None])
    bias = ((1 - whole) * torch.finfo(torch.float32).min)[:, None, None, :]
    for layer in base.layers[-2:]:
        found = layer(
            x, attention_mask=bias.expand(2, 1, length, length), position_embeddings=rotary
        )
        x = found[0] if isinstance(found, tuple) else found
    x = base.norm(x)
    pooled = (x * whole[..., None]).sum(1) / whole.sum(1, keepdim=True)
    pooled = pooled @ state["predictor.out_proj.weight"].T + state["predictor.out_proj.bias"]
    expected = F.normalize(pooled, dim=-1)
    found = model.predict(frames, ids, mask)
    assert_parity("open-vljepa, predicted embedding", found, expected)

    hidden = hub.gemma(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    text = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    text = text @ state["y_encoder.projector.weight"].T + state["y_encoder.projector.bias"]
    expected = F.normalize(text, dim=-1)
    assert_parity("open-vljepa, text embedding", model.y_encoder(ids, mask), expected)


def test_open_vljepa_says_what_it_is(hub: Hub, tmp_path: Path) -> None:
    saved = best_pt(hub.llama, hub.gemma, None, 40)
    path = tmp_path / "best.pt"
    torch.save(saved, path)
    config = open_vljepa.read_config(path)
    assert config.predictor == paper(8).predictor and config.y_encoder == paper(8).y_encoder
    assert (config.frames, config.image_size, config.resize_short_side) == (8, 256, 256)
    assert config.y_decoder is None and config.embedding_width == 1536
    with pytest.raises(CheckpointError, match="leaves out the frozen X-Encoder; name the folder"):
        open_vljepa.load(path, None, hub.config(y_decoder=None))
    with pytest.raises(CheckpointError, match=r"misshapen embed_tokens.weight \(300, 96\), exp"):
        open_vljepa.load(
            path, hub.parts.x_encoder, dataclasses.replace(config, x_encoder=hub.config().x_encoder)
        )
    for section, field, value, message in (
        ("predictor", "disable_causal_mask", False, "its predictor is causal"),
        (
            "predictor",
            "llama_name",
            "x/Other-1B",
            "llama_name is x/Other-1B, expected Llama-3.2-1B",
        ),
    ):
        other = {**saved, "config": {**saved["config"], section: {field: value}}}
        torch.save(other, path)
        with pytest.raises(CheckpointError, match=message):
            open_vljepa.read_config(path)
    torch.save({"state": saved["model_state_dict"]}, path)
    with pytest.raises(CheckpointError, match="no model_state_dict; holds state"):
        open_vljepa.load(path)


def test_loading_keeps_one_copy_in_memory(tmp_path: Path) -> None:
    """Anonymous memory after each parameter never exceeds what has been filled by more than 8 MiB.

    The component has 60 MB in float32, more than half of it one table.
    """
    parts = assemble.Parts(tmp_path, tmp_path / "llama", tmp_path)
    save_llama(
        parts.predictor, hidden_size=576, intermediate_size=1024, layers=2, vocab_size=16_000
    )
    from vljepa_edge.model.config import PredictorConfig, nano
    from vljepa_edge.model.loaders import llama

    stack, _ = llama.read_last_layers(parts.predictor, 2)
    config = dataclasses.replace(nano(), predictor=PredictorConfig(stack, visual_width=24))
    excess: list[int] = []
    start = _anonymous_bytes()

    def progress(done: int, total: int) -> None:
        excess.append(_anonymous_bytes() - start - done)
        assert 0 <= done <= total

    predictor = llama.load_predictor(parts.predictor, config, progress=progress)
    assert sum(4 * p.numel() for p in predictor.parameters()) > 50e6
    assert max(excess) < 8 * 2**20


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    pytest.skip("this kernel does not tell anonymous memory")
