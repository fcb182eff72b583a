"""Rotary position tables, computed once: V-JEPA 2's 3-D form in float64, Llama's as upstream.

They are real also where a module is built on the meta device, as the checkpoint loaders do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import RopeScaling, TransformerConfig, XEncoderConfig


def video_tables(config: XEncoderConfig, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """C and S, float32 [N, head_dim], so that rotate(x) = x*C + swap(x)*S with `swap_pairs` below.

    The head is cut in three equal axes (time, height, width); what is left over stays unrotated.
    V-JEPA 2 tiles its 10 frequencies over interleaved pairs; 2.1 repeats each of them
    (`rotate_queries_or_keys` in transformers' modeling_vjepa2.py and in facebookresearch/vjepa2),
    and stretches height and width over the grid it was trained on.
    """
    axis = 2 * ((config.head_dim // 3) // 2)
    time, height, width = grid
    index = torch.arange(time * height * width, device="cpu")
    positions = (index // (height * width), (index // width) % height, index % width)
    steps = (1.0, _spatial_step(config, height), _spatial_step(config, width))
    frequencies = torch.arange(axis // 2, dtype=torch.float64, device="cpu")
    omega = config.rope_theta ** -(frequencies / (axis / 2))
    cosines, sines = [], []
    for position, step in zip(positions, steps, strict=True):
        angle = step * position.double()[:, None] * omega  # [N, axis/2]
        if config.rope_variant == "v2":
            angle = angle.repeat(1, 2)
        else:
            angle = angle.repeat_interleave(2, dim=1)
        cosines.append(angle.cos())
        sines.append(angle.sin())
    rest = config.head_dim - 3 * axis
    cosines.append(torch.ones(len(index), rest, dtype=torch.float64, device="cpu"))
    sines.append(torch.zeros(len(index), rest, dtype=torch.float64, device="cpu"))
    return torch.cat(cosines, 1).float(), torch.cat(sines, 1).float()


def _spatial_step(config: XEncoderConfig, patches: int) -> float:
    if config.rope_trained_grid is None or patches == 1:
        return 1.0
    return (config.rope_trained_grid - 1) / (patches - 1)


def swap_pairs(x: Tensor) -> Tensor:
    """(x0, x1, x2, x3, ...) -> (-x1, x0, -x3, x2, ...) along the last axis."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    return torch.stack((-pairs[..., 1], pairs[..., 0]), -1).flatten(-2)


def text_tables(config: TransformerConfig, length: int) -> tuple[Tensor, Tensor]:
    """Llama's cos and sin, float32 [length, head_dim]; rotate(x) = x*cos + rotate_half(x)*sin.

    Frequencies and angles are rounded to float32 on the way, in the order of transformers'
    modeling_rope_utils.py and of Llama's own code: the published weights were trained with these
    tables. Exact angles differ by 7e-5 at 1,000 positions and by 5e-4 at 8,000.
    """
    exponent = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")
    omega = 1.0 / config.rope_theta ** (exponent / config.head_dim)
    if config.rope_scaling is not None:
        omega = _scale_llama3(omega, config.rope_scaling)
    angle = torch.arange(length, dtype=torch.float32, device="cpu")[:, None] * omega
    angle = torch.cat((angle, angle), 1)
    return angle.cos(), angle.sin()


def _scale_llama3(omega: Tensor, scaling: RopeScaling) -> Tensor:
    wavelength = 2 * math.pi / omega
    low = scaling.original_positions / scaling.low_freq_factor
    high = scaling.original_positions / scaling.high_freq_factor
    smooth = (scaling.original_positions / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    mixed = (1 - smooth) * omega / scaling.factor + smooth * omega
    scaled = torch.where(wavelength > low, omega / scaling.factor, omega)
    between = (wavelength <= low) & (wavelength >= high)
    return torch.where(between, mixed, scaled)


def rotate_half(x: Tensor) -> Tensor:
    """(a, b) -> (-b, a) for the two halves of the last axis."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), -1)
