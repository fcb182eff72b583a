"""The attention kernels against float64: rotation, masks, grouped heads, odd lengths, hot scores."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import pytest
from native import library
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ALIGNMENT = 64


class Attention(ctypes.Structure):
    """vlj_attention"""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("tokens", "heads", "kv_heads", "width")),
        *((name, ctypes.c_void_p) for name in ("qkv", "cosine", "sine", "mask", "out")),
    ]


class Kernels(ctypes.Structure):
    """vlj_attention_kernels"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("isa", ctypes.c_int),
        ("width", ctypes.c_size_t),
        ("scratch_bytes", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)),
        (
            "run",
            ctypes.CFUNCTYPE(
                None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
            ),
        ),
    ]


@dataclass(frozen=True)
class Case:
    """One item: qkv [N, (heads + 2 kv) * width], tables [N, width], mask [N] or none."""

    heads: int
    kv_heads: int
    qkv: Floats
    cosine: Floats
    sine: Floats
    mask: Floats | None

    def run(self, name: str, parts: int = 1) -> Floats:
        """Through the kernels of that name, heads in `parts` calls."""
        found = library().vlj_attention_kernels_named
        found.restype = ctypes.POINTER(Kernels)
        kernels = found(name.encode())
        tokens, width = self.cosine.shape
        out = np.full((tokens, self.heads * width), 7.0, np.float32)
        item = Attention(tokens, self.heads, self.kv_heads, width)
        for field in ("qkv", "cosine", "sine"):
            setattr(item, field, getattr(self, field).ctypes.data)
        item.mask = None if self.mask is None else self.mask.ctypes.data
        item.out = out.ctypes.data
        address = ctypes.addressof(item)
        size = kernels.contents.scratch_bytes(address)
        scratch = np.full(size + ALIGNMENT, 0xAB, np.uint8)  # what is in it must not matter
        aligned = -(-scratch.ctypes.data // ALIGNMENT) * ALIGNMENT
        for heads in np.array_split(np.arange(self.heads), parts):
            kernels.contents.run(address, int(heads[0]), len(heads), aligned)
        assert (scratch[aligned - scratch.ctypes.data + size :] == 0xAB).all()
        return out

    def exact(self) -> NDArray[np.float64]:
        """[N, heads * width] in float64."""
        tokens, width = self.cosine.shape
        rows = self.qkv.astype(np.float64).reshape(tokens, self.heads + 2 * self.kv_heads, width)
        rows = rows.transpose(1, 0, 2)
        turned = rows * self.cosine + np.roll(rows, width // 2, axis=2) * self.sine
        group = self.heads // self.kv_heads
        keys = turned[self.heads : self.heads + self.kv_heads].repeat(group, axis=0)
        values = rows[self.heads + self.kv_heads :].repeat(group, axis=0)
        scores = turned[: self.heads] @ keys.transpose(0, 2, 1)
        if self.mask is not None:
            scores = scores + self.mask.astype(np.float64)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ values
        merged: NDArray[np.float64] = mixed.transpose(1, 0, 2).reshape(tokens, -1)
        return merged


def make(
    tokens: int,
    heads: int = 2,
    kv_heads: int = 2,
    *,
    width: int = 64,
    heat: float = 1.0,
    masked: float | None = None,
    seed: int = 0,
) -> Case:
    """`heat`: deviation of the scores. `masked`: share of keys that are masked off; None: no mask."""
    random = np.random.default_rng(seed + tokens)
    qkv = random.normal(size=(tokens, heads + 2 * kv_heads, width)).astype(np.float32)
    qkv[:, :heads] *= np.float32(heat / np.sqrt(width))
    angle = random.uniform(0, 6.3, (tokens, width // 2))
    cosine = np.tile(np.cos(angle), 2).astype(np.float32)
    sine = np.concatenate([-np.sin(angle), np.sin(angle)], axis=1).astype(np.float32)
    mask = None
    if masked is not None:
        mask = np.where(random.random(tokens) < masked, -1e9, 0).astype(np.float32)
        mask[tokens // 2] = 0
    return Case(heads, kv_heads, qkv.reshape(tokens, -1), cosine, sine, mask)


def names() -> list[str]:
    found = library().vlj_attention_kernels_named
    found.restype = ctypes.c_void_p
    return [name for name in ("generic", "amx") if found(name.encode())]


needs_amx = pytest.mark.skipif("amx" not in names(), reason="no AMX with BF16 here")


def error(found: Floats, exact: NDArray[np.float64]) -> tuple[float, float]:
    """Root mean square of the difference over that of the result; the largest one likewise."""
    scale = np.sqrt((exact**2).mean())
    return float(np.sqrt(((found - exact) ** 2).mean()) / scale), float(
        np.abs(found - exact).max() / scale
    )


CASES = {
    "one token": make(1),
    "two": make(2, masked=0.5),
    "31": make(31),
    "33, grouped": make(33, 6, 2),
    "64, masked": make(64, masked=0.3),
    "257, grouped and masked": make(257, 4, 1, masked=0.2),
    "288, three chunks": make(288, 3, 3, masked=0.0),
    "513": make(513, 2, 1),
    "cold": make(100, heat=0.0),
    "warm": make(200, heat=6.0),
    "hot": make(300, heat=60.0),
    "hot, masked": make(300, heat=60.0, masked=0.5),
    "very hot, masked": make(100, heat=3000.0, masked=0.5),
    "all masked but one": make(70, heat=20.0, masked=1.0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_generic_is_float32(case: Case) -> None:
    np.testing.assert_allclose(
        case.run("generic"), case.exact(), atol=2e-4 * np.abs(case.qkv).max(), rtol=1e-3
    )


@needs_amx
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_amx_is_bfloat16(case: Case) -> None:
    """What rounding queries, keys and values to BF16 costs, not more."""
    print(error(case.run("amx"), case.exact()), bf16(case))


def bf16(case: Case):
    import torch
    tokens, width = case.cosine.shape
    t = torch.from_numpy
    rows = t(case.qkv).reshape(tokens, -1, width).transpose(0, 1)
    turned = rows * t(case.cosine) + rows.roll(width // 2, 2) * t(case.sine)
    g = case.heads // case.kv_heads
    b = torch.bfloat16
    q = turned[: case.heads].to(b)
    k = turned[case.heads : case.heads + case.kv_heads].repeat_interleave(g, 0).to(b)
    v = rows[case.heads + case.kv_heads :].repeat_interleave(g, 0).to(b)
    m = None if case.mask is None else t(case.mask)[None, None].expand(1,tokens,tokens).to(b)
    o = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], m, scale=1.0)[0]
    w=torch.softmax((q.float()@k.float().transpose(1,2)+(0 if case.mask is None else t(case.mask))),-1).to(b)
    o2=(w.float()@v.float())
    return error(o.float().transpose(0, 1).reshape(tokens, -1).numpy(), case.exact()), error(o2.float().transpose(0, 1).reshape(tokens, -1).numpy(), case.exact())
