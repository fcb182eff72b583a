"""Attention kernels against float64: rotation, masks, grouped heads, odd lengths, hot scores."""

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
        ("qkv", ctypes.c_void_p),
        ("qkv_is_bfloat16", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("cosine", "sine", "mask", "out")),
        ("out_scale", ctypes.c_float),
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

    def run(self, name: str, parts: int = 1, bfloat16: bool = False, scale: float = 0.0) -> Floats:
        """Through the kernels of that name, heads in `parts` calls; `bfloat16`: qkv is given so."""
        found = library().vlj_attention_kernels_named
        found.restype = ctypes.POINTER(Kernels)
        kernels = found(name.encode())
        tokens, width = self.cosine.shape
        out = np.full((tokens, self.heads * width), 7, np.int8 if scale else np.float32)
        qkv = (self.qkv.view(np.uint32) >> 16).astype(np.uint16) if bfloat16 else self.qkv
        item = Attention(tokens, self.heads, self.kv_heads, width, qkv.ctypes.data, bfloat16)
        item.cosine, item.sine = self.cosine.ctypes.data, self.sine.ctypes.data
        item.mask = None if self.mask is None else self.mask.ctypes.data
        item.out, item.out_scale = out.ctypes.data, scale
        address = ctypes.addressof(item)
        size = kernels.contents.scratch_bytes(address)
        scratch = np.full(size + ALIGNMENT, 0xAB, np.uint8)  # what is in it must not matter
        aligned = -(-scratch.ctypes.data // ALIGNMENT) * ALIGNMENT
        for heads in np.array_split(np.arange(self.heads), parts):
            kernels.contents.run(address, int(heads[0]), len(heads), aligned)
        assert (scratch[aligned - scratch.ctypes.data + size :] == 0xAB).all()
        return out.astype(np.float32)

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
    """`heat`: deviation of scores. `masked`: share of keys that are masked off; None: no mask."""
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


def error(found: Floats, exact: NDArray[np.float64]) -> float:
    """Root mean square of the difference over that of the result."""
    return float(np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean()))


CASES = {
    "one token": make(1),
    "two": make(2, masked=0.5),
    "31": make(31),
    "33, grouped": make(33, 6, 2),
    "64, masked": make(64, masked=0.3),
    "257, grouped and masked": make(257, 4, 1, masked=0.2),
    "288": make(288, 3, 3, masked=0.0),
    "513": make(513, 2, 1),
    "cold": make(100, heat=0.0),
    "warm": make(200, heat=6.0),
    "hot": make(300, heat=60.0),
    "hot, masked": make(300, heat=60.0, masked=0.5),
    "very hot, masked": make(100, heat=3000.0, masked=0.5),
    "all masked but one": make(70, heat=20.0, masked=1.0),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_kernel = pytest.mark.parametrize("name", names())


@every_case
def test_generic_is_float32(case: Case) -> None:
    np.testing.assert_allclose(case.run("generic"), case.exact(), atol=5e-4, rtol=1e-3)


def test_any_even_width() -> None:
    case = make(40, 4, 2, width=6, masked=0.3)
    np.testing.assert_allclose(case.run("generic"), case.exact(), atol=1e-5)


@needs_amx
@every_case
def test_amx_is_as_exact_as_torch_in_bfloat16(case: Case) -> None:
    """PyTorch's attention of queries, keys and values that were rotated in float32, as here."""
    torch = pytest.importorskip("torch")
    tokens, width = case.cosine.shape
    rows = torch.from_numpy(case.qkv).reshape(tokens, -1, width).transpose(0, 1)
    turned = rows * torch.from_numpy(case.cosine)
    turned += rows.roll(width // 2, 2) * torch.from_numpy(case.sine)
    ends = case.heads, case.heads + case.kv_heads
    group = case.heads // case.kv_heads
    queries = turned[: ends[0]]
    keys, values = (
        x.repeat_interleave(group, 0) for x in (turned[ends[0] : ends[1]], rows[ends[1] :])
    )
    q, k, v = (x[None].to(torch.bfloat16) for x in (queries, keys, values))
    mask = None
    if case.mask is not None:
        mask = torch.from_numpy(case.mask).to(torch.bfloat16).expand(1, 1, tokens, tokens)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=1.0)[0]
    merged = theirs.float().transpose(0, 1).reshape(tokens, -1).numpy()
    ours = error(case.run("amx"), case.exact())
    assert ours < 1.2 * error(merged, case.exact())
    assert ours < 0.025  # hot scores: a rounded one may pass over another


@needs_amx
@pytest.mark.parametrize("edge", [0.9, 1.1])
def test_where_the_quick_way_ends(edge: float) -> None:
    """Scores at the bound below which no maximum is looked for, all of one sign: the worst case."""
    case = make(96, 1, 1)
    power = 79.9 * edge * np.log(2)
    rows = np.zeros((96, 3, 64), np.float32)
    rows[:, 0, 0], rows[:, 1, 0] = -np.sqrt(power), np.sqrt(power)
    rows[:, 1, 0] *= np.linspace(0.97, 1, 96)
    rows[:, 2] = case.qkv.reshape(96, 3, 64)[:, 2]
    still = np.ones((96, 64), np.float32), np.zeros((96, 64), np.float32)
    for sign in (1, -1):
        rows[:, 0] *= sign
        one = Case(1, 1, rows.reshape(96, -1).copy(), *still, None)
        assert error(one.run("amx"), one.exact()) < 0.1  # of scores of 55, rounded to 8 bits


@every_kernel
def test_heads_in_several_calls(name: str) -> None:
    case = make(70, 6, 2, masked=0.2)
    whole = case.run(name)
    for parts in (2, 3, 4, 6):
        np.testing.assert_array_equal(case.run(name, parts), whole)


@every_kernel
def test_bfloat16_in(name: str) -> None:
    case = make(45, 4, 2, masked=0.2)
    case.qkv.view(np.uint32)[:] &= 0xFFFF0000  # what BF16 holds
    np.testing.assert_array_equal(case.run(name, bfloat16=True), case.run(name))


@every_kernel
def test_int8_out(name: str) -> None:
    case, scale = make(77, 2, 1), 0.004
    floats = np.clip(np.rint(case.run(name) / np.float32(scale)), -128, 127)
    found = case.run(name, scale=scale)
    assert np.abs(found - floats).max() <= 1 and (found == floats).mean() > 0.999
    assert found.min() == -128 and found.max() == 127  # saturated


@every_kernel
def test_partial_masks_and_shifts(name: str) -> None:
    """Masks needn't be 0 or -1e9; the same added to all of one changes nothing."""
    case = make(90, 2, 2)
    mask = np.random.default_rng(1).normal(0, 3, 90).astype(np.float32)
    exact = Case(2, 2, case.qkv, case.cosine, case.sine, mask).exact()
    for shift in (0.0, 50.0, -3000.0):
        one = Case(2, 2, case.qkv, case.cosine, case.sine, mask + np.float32(shift))
        assert error(one.run(name), exact) < 0.006


@every_kernel
@pytest.mark.parametrize("where", ["query", "key", "value"])
def test_nan_is_not_hidden(name: str, where: str) -> None:
    case = make(40, 1, 1)
    column = {"query": 5, "key": 70, "value": 130}[where]
    case.qkv[12, column] = np.nan
    found = np.isnan(case.run(name))
    assert found[12].all() if where == "query" else found.any(axis=1).all()
