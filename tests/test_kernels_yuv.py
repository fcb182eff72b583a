"""NV12 and I420 frames against OpenCV's colour conversion and then Pillow's resize in floats."""

from __future__ import annotations

import cv2
import native
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native import BT601, BT601_FULL, BT709, BT709_FULL, I420, NV12, Bytes
from PIL import Image

WEIGHTS = {  # kr, kb, luma offset, luma and chroma scale
    BT601: (0.299, 0.114, 16, 255 / 219, 255 / 224),
    BT709: (0.2126, 0.0722, 16, 255 / 219, 255 / 224),
    BT601_FULL: (0.299, 0.114, 0, 1, 1),
    BT709_FULL: (0.2126, 0.0722, 0, 1, 1),
}


@pytest.fixture(params=native.supported_isas(), autouse=True, scope="module")
def isa(request: pytest.FixtureRequest) -> object:
    """Each test runs once per instruction set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLJ_ISA", request.param)
        yield request.param


def planes_of(picture: Bytes, standard: int) -> tuple[Bytes, tuple[Bytes, Bytes]]:
    """RGB [h, w, 3] -> luma and chroma; chroma is the mean of its (up to) four pixels."""
    kr, kb, offset, luma_scale, chroma_scale = WEIGHTS[standard]
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    halves = []
    for colour, weight in ((blue, kb), (red, kr)):
        full = (colour - luma) / (2 * (1 - weight)) / chroma_scale + 128
        full = np.pad(full, ((0, full.shape[0] % 2), (0, full.shape[1] % 2)), mode="edge")
        halves.append((full[::2, ::2] + full[1::2, ::2] + full[::2, 1::2] + full[1::2, 1::2]) / 4)
    u, v = (np.rint(half).clip(0, 255).astype(np.uint8) for half in halves)
    return np.rint(luma / luma_scale + offset).clip(0, 255).astype(np.uint8), (u, v)


def to_rgb(luma: Bytes, chroma: tuple[Bytes, Bytes], standard: int) -> np.ndarray:
    """The standards' formula at full size in float64, each chroma sample for 2 x 2 pixels."""
    kr, kb, offset, luma_scale, chroma_scale = WEIGHTS[standard]
    height, width = luma.shape
    u, v = (
        (plane.repeat(2, 0).repeat(2, 1)[:height, :width] - 128.0) * chroma_scale
        for plane in chroma
    )
    y = (luma.astype(np.float64) - offset) * luma_scale
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue])


def resize(planes: np.ndarray, short_side: int, height: int, width: int) -> np.ndarray:
    """Pillow's BILINEAR in floats and the centre crop, per plane."""
    h, w = planes.shape[1:]
    size = (int(short_side * w / h), short_side) if w > h else (short_side, int(short_side * h / w))
    top, left = round((size[1] - height) / 2), round((size[0] - width) / 2)
    resized = [
        np.asarray(Image.fromarray(p.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        for p in planes
    ]
    return np.stack(resized)[:, top : top + height, left : left + width]


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    crop=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    pixel_format=st.sampled_from([NV12, I420]),
    standard=st.sampled_from(list(WEIGHTS)),
    seed=st.integers(0, 2**31),
)
def test_equals_conversion_then_resize(
    width: int,
    height: int,
    crop: tuple[int, int],
    pixel_format: int,
    standard: int,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    luma = random.integers(0, 256, (height, width), np.uint8)
    half = ((height + 1) // 2, (width + 1) // 2)
    chroma = (random.integers(0, 256, half, np.uint8), random.integers(0, 256, half, np.uint8))
    short_side = max(crop) + seed % 20
    found = native.prepare_yuv(luma, chroma, pixel_format, standard, short_side, *crop)
    expected = resize(to_rgb(luma, chroma, standard), short_side, *crop).clip(0, 255)
    assert np.abs(found - expected).max() <= 0.6


@pytest.mark.parametrize("size", [(240, 320), (270, 480), (1080, 1920)])
def test_equals_opencv_on_a_picture(size: tuple[int, int]) -> None:
    random = np.random.default_rng(size[0])
    small = random.integers(40, 216, (9, 16, 3), np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))
    luma, chroma = planes_of(picture, BT601)
    stacked = np.concatenate([luma, np.stack(chroma, -1).reshape(size[0] // 2, size[1])])
    converted = np.moveaxis(cv2.cvtColor(stacked, cv2.COLOR_YUV2RGB_NV12), -1, 0)
    expected = np.rint(resize(converted, 146, 128, 128)).astype(int)
    found = native.prepare_yuv(luma, chroma, NV12, BT601, 146, 128, 128)
    assert np.abs(found - expected).max() <= 1
    # What went in comes out again, but for what half-size chroma loses.
    original = resize(np.moveaxis(picture, -1, 0), 146, 128, 128)
    assert np.abs(found - original).mean() < 1.0


def test_the_standard_makes_a_difference() -> None:
    luma = np.full((64, 64), 120, np.uint8)
    chroma = (np.full((32, 32), 90, np.uint8), np.full((32, 32), 200, np.uint8))
    seen = {
        tuple(native.prepare_yuv(luma, chroma, I420, standard, 32, 32, 32)[:, 5, 5])
        for standard in WEIGHTS
    }
    assert len(seen) == 4
