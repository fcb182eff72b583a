"""X-Encoder for export: uint8 frames in, visual tokens out, static shapes throughout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import x_encoder
from ..model.config import VLJEPAConfig
from ..model.rope import video_tables
from .blocks import Projection, rotate


class PatchEmbedding(nn.Module):
    """Tubelets of uint8 pixels to tokens in one matmul, the normalisation folded into its weights.

    The pixels are laid out as rows while they are still bytes, and cast last: measured faster on
    ONNX Runtime than Conv3d and Conv2d, and a quantised matmul can take the bytes as they are.
    """

    def __init__(self, config: VLJEPAConfig, convolution: nn.Conv3d) -> None:
        super().__init__()
        c = config.x_encoder
        assert convolution.bias is not None
        self.tubelet, self.patch = c.tubelet, c.patch
        self.grid = config.grid
        weight = convolution.weight.detach().double()  # [D,3,t,p,p]
        mean = 255 * torch.tensor(config.mean, dtype=torch.float64).view(1, 3, 1, 1, 1)
        std = 255 * torch.tensor(config.std, dtype=torch.float64).view(1, 3, 1, 1, 1)
        weight = weight / std
        bias = convolution.bias.detach().double() - (weight * mean).sum((1, 2, 3, 4))
        rows = weight.transpose(1, 2).flatten(1)  # [D, t*3*p*p], frame-major as the window is
        self.projection = Projection(rows, bias)

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [1,T,3,H,W] -> [1,N,D]."""
        time, height, width = self.grid
        t, p = self.tubelet, self.patch
        pixels = frames.reshape(time, t * 3, height, p, width, p).permute(0, 2, 4, 1, 3, 5)
        return self.projection(pixels.reshape(1, -1, t * 3 * p * p).float())  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with q, k and v as planes of one tensor.

    V-JEPA 2 rotates interleaved pairs (2i, 2i+1) with its own table per element. Permuting the rows
    of q and k within each head turns the pairs into halves (i, i + d/2), which leaves q.k as it is.
    """

    def __init__(self, attention: x_encoder.Attention) -> None:
        super().__init__()
        self.heads, self.head_dim = attention.heads, attention.head_dim
        shape = (3, self.heads, self.head_dim, -1)
        order = pairs_to_halves(self.head_dim)

        def regroup(parameter: Tensor) -> Tensor:
            q, k, v = parameter.detach().reshape(shape)
            q, k = q[:, order] * self.head_dim**-0.5, k[:, order]
            return torch.stack((q, k, v)).reshape(parameter.shape)

        self.qkv = Projection(regroup(attention.qkv.weight), regroup(attention.qkv.bias))
        self.out = Projection.of(attention.proj)

    def forward(self, x: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """x [1,N,D], c and s [N,d] -> [1,N,D]."""
        tokens = x.shape[1]
        heads = self.qkv(x).reshape(tokens, 3, self.heads, self.head_dim).permute(1, 2, 0, 3)
        qk, v = torch.split(heads, [2, 1])  # [2,h,N,d], [1,h,N,d]
        q, k = torch.split(rotate(qk, c, s), 1)
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(mixed.transpose(1, 2).reshape(1, tokens, -1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm block with an exact GELU MLP."""

    def __init__(self, block: x_encoder.Block) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = Attention(block.attention)
        self.fc1, self.fc2 = Projection.of(block.fc1), Projection.of(block.fc2)

    def forward(self, x: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """[1,N,D] -> [1,N,D]."""
        x = x + self.attention(self.norm1(x), c, s)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


class XEncoderGraph(nn.Module):
    """frames uint8 [1,T,3,H,W] -> visual_tokens float [1,N,D]."""

    c: Tensor
    s: Tensor

    def __init__(self, config: VLJEPAConfig, encoder: x_encoder.XEncoder) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config, encoder.patch_embed)
        self.blocks = nn.ModuleList(Block(block) for block in encoder.blocks)  # type: ignore[arg-type]
        self.norm = encoder.norm
        c, s = video_rotation(config)
        self.register_buffer("c", c)
        self.register_buffer("s", s)

    def forward(self, frames: Tensor) -> Tensor:
        """[1,T,3,H,W] -> [1,N,D]."""
        x = self.patch_embed(frames)
        for block in self.blocks:
            x = block(x, self.c, self.s)
        return self.norm(x)  # type: ignore[no-any-return]


def pairs_to_halves(head_dim: int) -> Tensor:
    """The order that takes pairs (2i, 2i+1) to halves (i, i + head_dim/2)."""
    return torch.cat((torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)))


def video_rotation(config: VLJEPAConfig) -> tuple[Tensor, Tensor]:
    """C and S [N, head_dim] of `blocks.rotate` for permuted heads, the signs in S."""
    order = pairs_to_halves(config.x_encoder.head_dim)
    cos, sin = video_tables(config.x_encoder, config.grid)
    c, s = cos[:, order], sin[:, order].clone()
    s[:, : s.shape[1] // 2] *= -1
    return c.contiguous(), s
