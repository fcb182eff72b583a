"""X-Encoder: V-JEPA 2's vision transformer, frames in, visual tokens out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attention
from .config import VLJEPAConfig, XEncoderConfig
from .rope import swap_pairs, video_tables


class Attention(nn.Module):
    """Multi-head self-attention with 3-D rotary positions."""

    def __init__(self, config: XEncoderConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x [B,N,D], cos and sin [N,head_dim] -> [B,N,D]."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, self.head_dim)
        qk = qkv[:, :, :2]
        cos, sin = cos.to(qk.dtype)[:, None, None], sin.to(qk.dtype)[:, None, None]
        qk = qk * cos + swap_pairs(qk) * sin
        q, k = qk.permute(2, 0, 3, 1, 4)  # each [B,h,N,d]
        out = attention(q, k, qkv[:, :, 2].transpose(1, 2))
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block with an exact GELU MLP."""

    def __init__(self, config: XEncoderConfig) -> None:
        super().__init__()
        hidden = int(config.width * config.mlp_ratio)
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x [B,N,D] -> [B,N,D]."""
        x = x + self.attention(self.norm1(x), cos, sin)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


class XEncoder(nn.Module):
    """uint8 frames [B,T,3,H,W] (RGB) -> visual tokens float [B,N,D], N = T/2 * H/16 * W/16.

    T may be any multiple of the tubelet (an image is one frame repeated); H and W any multiple of
    the patch: positions follow the real grid, never the configured one. With an image path (V-JEPA
    2.1) T may also be 1. Its embeddings of the two modalities are constants added to every patch,
    so they live in the biases of the two patch embeddings.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: VLJEPAConfig) -> None:
        super().__init__()
        self.config = config.x_encoder
        c = self.config
        kernel = (c.tubelet, c.patch, c.patch)
        self.patch_embed = nn.Conv3d(3, c.width, kernel_size=kernel, stride=kernel)
        if c.image_path:
            kernel = (1, c.patch, c.patch)
            self.image_patch_embed = nn.Conv3d(3, c.width, kernel_size=kernel, stride=kernel)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width, eps=c.layer_norm_eps)
        for name, values in (("mean", config.mean), ("std", config.std)):
            pixels = 255 * torch.tensor(values, device="cpu").view(1, 3, 1, 1, 1)
            self.register_buffer(name, pixels, persistent=False)
        self._tables: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}
        self.apply(_initialise)

    def tables(self, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Rotary tables of a grid (time, height, width), kept once made."""
        if grid not in self._tables:
            self._tables[grid] = video_tables(self.config, grid)
        return self._tables[grid]

    def folded_patch_embed(self, image: bool = False) -> tuple[Tensor, Tensor]:
        """Weight [D, 3*tubelet*patch*patch] and bias [D] that take raw 0..255 pixels."""
        convolution = self.image_patch_embed if image else self.patch_embed
        weight = convolution.weight / self.std
        assert convolution.bias is not None
        bias = convolution.bias - (weight * self.mean).sum((1, 2, 3, 4))
        return weight.flatten(1), bias

    def is_image(self, frames: int) -> bool:
        """Whether so many frames take the image path."""
        return frames == 1 and self.config.image_path

    def embed(self, frames: Tensor) -> Tensor:
        """uint8 [B,T,3,H,W] -> patch embeddings [B,N,D], normalisation folded into the weights."""
        c = self.config
        batch, time, _, height, width = frames.shape
        image = self.is_image(time)
        p, t = c.patch, 1 if image else c.tubelet
        patches = frames.view(batch, time // t, t, 3, height // p, p, width // p, p)
        # [B, t, 2, 3, h, p, w, p] -> [B, t, h, w, 3, 2, p, p] -> [B, N, 3*2*p*p]
        patches = patches.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3)
        weight, bias = self.folded_patch_embed(image)
        return F.linear(patches.to(weight.dtype), weight, bias)

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [B,T,3,H,W] -> [B,N,D]. Raises ValueError where T, H or W don't fit the tubelet."""
        _, time, _, height, width = frames.shape
        c = self.config
        tubelet = 1 if self.is_image(time) else c.tubelet
        if time % tubelet or height % c.patch or width % c.patch:
            raise ValueError(
                f"X-Encoder: frames of {time}x{height}x{width} are no multiple of the tubelet "
                f"{c.tubelet}x{c.patch}x{c.patch}"
            )
        cos, sin = self.tables((time // tubelet, height // c.patch, width // c.patch))
        x = self.embed(frames)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)  # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    """Truncated normal weights of deviation 0.02, zero biases, as upstream."""
    if isinstance(module, (nn.Linear, nn.Conv3d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
