"""X-Encoder from V-JEPA 2 and 2.1 checkpoints, against transformers and the published formulae.

The references run in float64: their own rounding is as large as ours.
"""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hub_models import assert_parity, pixels_for_upstream, random_frames, save_vjepa2
from torch import Tensor
from vljepa_edge.model.config import VLJEPAConfig, XEncoderConfig, nano
from vljepa_edge.model.loaders import vjepa2

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("vjepa2")
    return folder, save_vjepa2(folder).double()


def _config(x_encoder: XEncoderConfig) -> VLJEPAConfig:
    return dataclasses.replace(nano(300), x_encoder=x_encoder)


def test_sizes_are_read_from_the_folder(hub: tuple[Path, Any]) -> None:
    found = vjepa2.read_config(hub[0])
    assert found == XEncoderConfig(width=128, layers=3, heads=2, mlp_ratio=3.0)
    assert vjepa2.read_image_size(hub[0]) == 64


@pytest.mark.parametrize("frames", [2, 8, 16])
@pytest.mark.parametrize("side", [64, 96])
@torch.no_grad()
def test_equals_transformers(hub: tuple[Path, Any], frames: int, side: int) -> None:
    """Side 96 is not the checkpoint's: transformers is told so, ours sees it."""
    folder, theirs = hub
    config = _config(vjepa2.read_config(folder))
    ours = vjepa2.load(folder, config)
    clip = random_frames(2, frames, side, side)
    for layer in theirs.encoder.layer:
        layer.attention.grid_size = side // 16
    expected = theirs(
        pixel_values_videos=pixels_for_upstream(clip, config, torch.float64), skip_predictor=True
    ).last_hidden_state
    assert_parity(f"X-Encoder, V-JEPA 2, {frames} frames of {side}²", ours(clip), expected)


@torch.no_grad()
def test_a_grid_that_is_not_square(hub: tuple[Path, Any]) -> None:
    folder, theirs = hub
    config = _config(vjepa2.read_config(folder))
    clip = random_frames(1, 4, 48, 80)  # 2 x 3 x 5 tokens

    def positions(self: Any, x: Tensor, masks: Any = None) -> tuple[Tensor, ...]:
        t, h, w = torch.meshgrid(*(torch.arange(n) for n in (2, 3, 5)), indexing="ij")
        return t.flatten(), h.flatten(), w.flatten()

    attentions = [layer.attention for layer in theirs.encoder.layer]
    for attention in attentions:
        attention.get_position_ids = types.MethodType(positions, attention)
    expected = theirs(
        pixel_values_videos=pixels_for_upstream(clip, config, torch.float64), skip_predictor=True
    ).last_hidden_state
    for attention in attentions:
        del attention.get_position_ids
    found = vjepa2.load(folder, config)(clip)
    assert_parity("X-Encoder, V-JEPA 2, 4 frames of 48×80", found, expected)


@torch.no_grad()
def test_an_image_is_one_frame_repeated(hub: tuple[Path, Any]) -> None:
    folder, theirs = hub
    config = _config(vjepa2.read_config(folder))
    ours = vjepa2.load(folder, config)
    image = random_frames(1, 1, 64, 64)
    for layer in theirs.encoder.layer:
        layer.attention.grid_size = 4
    expected = theirs(
        pixel_values_videos=pixels_for_upstream(image, config, torch.float64), skip_predictor=True
    ).last_hidden_state
    assert_parity("X-Encoder, V-JEPA 2, image", ours(image.repeat(1, 2, 1, 1, 1)), expected)
    with pytest.raises(ValueError, match="1x64x64 are no multiple of the tubelet"):
        ours(image)


@torch.no_grad()
def test_the_upstream_file_gives_the_same_encoder(hub: tuple[Path, Any], tmp_path: Path) -> None:
    folder, theirs = hub
    upstream = {f"module.backbone.{k}": v.float() for k, v in _upstream_names(theirs).items()}
    upstream["module.backbone.pos_embed"] = torch.zeros(1, 64, 128)
    others = {name: torch.zeros_like(value) for name, value in upstream.items()}
    path = tmp_path / "vitl.pt"
    torch.save(
        {"encoder": others, "predictor": {}, "target_encoder": upstream, "epoch": 3, "lr": 1e-4},
        path,
    )
    config = _config(dataclasses.replace(vjepa2.read_config(folder)))
    clip = random_frames(1, 4, 64, 64)
    assert vjepa2.read_config(path) == config.x_encoder
    assert torch.equal(vjepa2.load(path, config)(clip), vjepa2.load(folder, config)(clip))


def _upstream_names(theirs: Any) -> dict[str, Tensor]:
    state = theirs.encoder.state_dict()
    found = {}
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embeddings.proj.{kind}"]
        found[f"norm.{kind}"] = state[f"layernorm.{kind}"]
        for i in range(len(theirs.encoder.layer)):
            source, block = f"layer.{i}", f"blocks.{i}"
            qkv = [state[f"{source}.attention.{p}.{kind}"] for p in ("query", "key", "value")]
            found[f"{block}.attn.qkv.{kind}"] = torch.cat(qkv)
            found[f"{block}.attn.proj.{kind}"] = state[f"{source}.attention.proj.{kind}"]
            for norm in ("norm1", "norm2"):
                found[f"{block}.{norm}.{kind}"] = state[f"{source}.{norm}.{kind}"]
            for linear in ("fc1", "fc2"):
                found[f"{block}.mlp.{linear}.{kind}"] = state[f"{source}.mlp.{linear}.{kind}"]
    return found


# V-JEPA 2.1. No installable package runs it (transformers 5.23 has V-JEPA 2 only), so the reference
# below is written from its published formulae (facebookresearch/vjepa2, app/vjepa_2_1): rotation of
# true pairs, here as complex numbers; height and width stretched to a 16 x 16 grid; a modality
# embedding added to the patches; images through a tubelet of 1; the last of four norms.


def _v21_state(width: int = 128, layers: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(6)

    def linear(out: int, *inputs: int) -> Tensor:
        fan_in = int(torch.tensor(inputs).prod()) if inputs else 100
        return torch.randn(out, *inputs, generator=generator) / fan_in**0.5

    state = {
        "patch_embed.proj.weight": linear(width, 3, 2, 16, 16),
        "patch_embed.proj.bias": linear(width),
        "patch_embed_img.proj.weight": linear(width, 3, 1, 16, 16),
        "patch_embed_img.proj.bias": linear(width),
        "video_mod_embed": linear(width).view(1, 1, -1),
        "img_mod_embed": linear(width).view(1, 1, -1),
    }
    for i in range(layers):
        for name, (out, inputs) in {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
        }.items():
            state[f"blocks.{i}.{name}.weight"] = linear(out, inputs)
            state[f"blocks.{i}.{name}.bias"] = linear(out)
        for norm in ("norm1", "norm2"):
            state[f"blocks.{i}.{norm}.weight"] = 1 + linear(width)
            state[f"blocks.{i}.{norm}.bias"] = linear(width)
    for i in range(4):
        state[f"norms_block.{i}.weight"] = 1 + linear(width)
        state[f"norms_block.{i}.bias"] = linear(width)
    return state


def _v21_reference(state: dict[str, Tensor], pixels: Tensor, heads: int, layers: int) -> Tensor:
    """Normalised pixels float64 [B,T,3,H,W] -> features [B,N,D] by the published formulae."""
    batch, time, _, height, width = pixels.shape
    image = time == 1
    patches, modality = ("patch_embed_img", "img") if image else ("patch_embed", "video")
    kernel = (1 if image else 2, 16, 16)
    x = F.conv3d(
        pixels.transpose(1, 2),
        state[f"{patches}.proj.weight"],
        state[f"{patches}.proj.bias"],
        stride=kernel,
    )
    x = x.flatten(2).transpose(1, 2) + state[f"{modality}_mod_embed"]
    grid = (time // kernel[0], height // 16, width // 16)
    positions = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    stretch = (1.0, 15 / (grid[1] - 1), 15 / (grid[2] - 1))
    dim = x.shape[-1] // heads
    axis = 2 * ((dim // 3) // 2)
    omega = 1.0 / 10_000 ** (torch.arange(axis // 2, dtype=torch.float64) / (axis / 2))
    angles = [p.flatten()[:, None] * s * omega for p, s in zip(positions, stretch, strict=True)]
    turns = torch.polar(torch.ones(1, dtype=torch.float64), torch.cat(angles, 1))  # [N, 3*axis/2]

    def rotate(y: Tensor) -> Tensor:  # [B,h,N,d]; the last d - 3*axis stay
        pairs = torch.view_as_complex(y[..., : 3 * axis].unflatten(-1, (-1, 2)))
        return torch.cat((torch.view_as_real(pairs * turns).flatten(-2), y[..., 3 * axis :]), -1)

    def affine(y: Tensor, name: str) -> Tensor:
        return y @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(y: Tensor, name: str) -> Tensor:
        return F.layer_norm(
            y, y.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6
        )

    for i in range(layers):
        block = f"blocks.{i}"
        qkv = affine(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = qkv.view(batch, -1, 3, heads, dim).permute(2, 0, 3, 1, 4)
        weights = (rotate(q) @ rotate(k).transpose(-1, -2) * dim**-0.5).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        x = x + affine(mixed, f"{block}.attn.proj")
        hidden = F.gelu(affine(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + affine(hidden, f"{block}.mlp.fc2")
    return norm(x, "norms_block.3")


@pytest.fixture(scope="module")
def v21(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    state = _v21_state()
    path = tmp_path_factory.mktemp("v21") / "vjepa2_1_vitb.pt"
    wrapped = {f"module.backbone.{name}": value for name, value in state.items()}
    online = {name: torch.zeros_like(value) for name, value in wrapped.items()}
    torch.save({"ema_encoder": wrapped, "encoder": online, "predictor": {}}, path)
    return path, state


def test_v21_sizes_are_read_from_the_tensors(v21: tuple[Path, dict[str, Tensor]]) -> None:
    assert vjepa2.read_config(v21[0]) == XEncoderConfig(
        width=128,
        layers=2,
        heads=2,
        rope_variant="v2.1",
        rope_trained_grid=16,
        image_path=True,
    )
    assert vjepa2.read_image_size(v21[0]) == 384


@pytest.mark.parametrize("frames", [1, 2, 8, 16])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
@torch.no_grad()
def test_v21_equals_the_published_formulae(
    v21: tuple[Path, dict[str, Tensor]], frames: int, size: tuple[int, int]
) -> None:
    path, state = v21
    config = _config(vjepa2.read_config(path))
    clip = random_frames(2, frames, *size)
    wide = {name: value.double() for name, value in state.items()}
    expected = _v21_reference(
        wide, pixels_for_upstream(clip, config, torch.float64), heads=2, layers=2
    )
    found = vjepa2.load(path, config)(clip)
    assert_parity(f"X-Encoder, V-JEPA 2.1, {frames} frames of {size[0]}×{size[1]}", found, expected)


@torch.no_grad()
def test_v21_without_its_image_path(v21: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = v21
    whole = vjepa2.read_config(path)
    clip = random_frames(1, 4, 64, 64)
    video_only = _config(dataclasses.replace(whole, image_path=False))
    expected = vjepa2.load(path, _config(whole))(clip)
    assert torch.equal(vjepa2.load(path, video_only)(clip), expected)


def test_the_published_sizes() -> None:
    """ViT-B, L, H, g and G have about as many parameters as they are published with."""
    from vljepa_edge.model.loaders.fill import on_meta
    from vljepa_edge.model.x_encoder import XEncoder

    millions = {
        (768, 12, 12, 4.0): 80,
        (1024, 24, 16, 4.0): 300,
        (1280, 32, 16, 4.0): 600,
        (1408, 40, 22, 48 / 11): 1000,
        (1664, 48, 26, 64 / 13): 2000,
    }
    for (width, layers, heads, ratio), expected in millions.items():
        config = _config(XEncoderConfig(width, layers, heads, ratio))
        encoder = on_meta(lambda config=config: XEncoder(config))
        count = sum(parameter.numel() for parameter in encoder.parameters())
        assert abs(count / 1e6 - expected) < 0.1 * expected, (width, count)
