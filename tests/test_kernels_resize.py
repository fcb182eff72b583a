"""vlj_prepare_frame against Pillow's BILINEAR resize and a centre crop, per instruction set."""

from __future__ import annotations

import native
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native import BGR24, GRAY8, RGB24, Bytes
from PIL import Image


@pytest.fixture(params=native.supported_isas(), autouse=True, scope="module")
def isa(request: pytest.FixtureRequest) -> object:
    """Each test runs once per instruction set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLJ_ISA", request.param)
        yield request.param


def resized_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The recipe of preprocess.h: the shorter side to short_side, the longer rounded down."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def pillow(
    picture: Bytes, short_side: int, height: int, width: int, mode: str | None = None
) -> np.ndarray:
    """[h, w, 3] or [h, w] -> planar [3, height, width]; mode "F" is in floats, without rounding."""
    size = resized_size(picture.shape[1], picture.shape[0], short_side)
    top, left = round((size[1] - height) / 2), round((size[0] - width) / 2)
    planes = [picture] * 3 if picture.ndim == 2 else [picture[:, :, i] for i in range(3)]
    resized = [
        np.asarray(Image.fromarray(p).convert(mode).resize(size, Image.Resampling.BILINEAR))
        for p in planes
    ]
    return np.stack(resized)[:, top : top + height, left : left + width]


def assert_close(found: Bytes, picture: Bytes, short_side: int) -> None:
    recipe = (short_side, *found.shape[1:])
    assert np.abs(found.astype(int) - pillow(picture, *recipe).astype(int)).max() <= 1
    # Pillow's bytes are rounded twice. Against the exact filter only our own rounding is left.
    assert np.abs(found.astype(float) - pillow(picture, *recipe, mode="F")).max() <= 0.52


def random_picture(seed: int, shape: tuple[int, ...]) -> Bytes:
    """Noise, hard edges and extremes: what shows rounding and wrong taps best."""
    random = np.random.default_rng(seed)
    kind = seed % 3
    if kind == 0:
        return random.integers(0, 256, shape, np.uint8)
    if kind == 1:
        return (random.integers(0, 2, shape) * 255).astype(np.uint8)
    ramp = np.linspace(0, 255, shape[1])[None, :, None] + np.arange(shape[0])[:, None, None]
    coloured = ramp + random.integers(0, 8, (1, 1, 3))
    return (
        (coloured if len(shape) == 3 else coloured[:, :, 0])
        .astype(int)
        .clip(0, 255)
        .astype(np.uint8)
    )


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 420),
    height=st.integers(1, 420),
    crop=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    extra=st.integers(0, 40),
    pixel_format=st.sampled_from([RGB24, BGR24, GRAY8]),
    padding=st.sampled_from([0, 1, 13, 64]),
    seed=st.integers(0, 2**31),
)
@example(width=128, height=128, crop=(128, 128), extra=0, pixel_format=RGB24, padding=0, seed=0)
@example(width=1, height=1, crop=(33, 17), extra=3, pixel_format=RGB24, padding=0, seed=1)
@example(width=11, height=420, crop=(9, 9), extra=0, pixel_format=GRAY8, padding=0, seed=2)
def test_equals_pillow(
    width: int,
    height: int,
    crop: tuple[int, int],
    extra: int,
    pixel_format: int,
    padding: int,
    seed: int,
) -> None:
    short_side = max(crop) + extra
    if max(width, height) * short_side > min(width, height) * 6000:
        width = height  # Pillow resizes the whole picture, not the crop alone
    picture = random_picture(seed, (height, width) if pixel_format == GRAY8 else (height, width, 3))
    stride = width * (1 if pixel_format == GRAY8 else 3) + padding if padding else 0
    found = native.prepare_frame(picture, pixel_format, short_side, *crop, stride)
    upright = picture[:, :, ::-1].copy() if pixel_format == BGR24 else picture
    assert_close(found, upright, short_side)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (720, 1280), (3840, 2160)])
@pytest.mark.parametrize("short_side", [128, 146])
def test_camera_sizes(size: tuple[int, int], short_side: int) -> None:
    picture = random_picture(size[0] * 3, (size[1], size[0], 3))
    found = native.prepare_frame(picture, RGB24, short_side, 128, 128)
    assert_close(found, picture, short_side)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_constant_picture_stays_constant(value: int) -> None:
    for size in ((37, 1000), (128, 128), (5, 5)):
        picture = np.full((*size, 3), value, np.uint8)
        assert (native.prepare_frame(picture, RGB24, 146, 128, 128) == value).all()


def test_same_size_is_a_copy() -> None:
    picture = random_picture(0, (146, 200, 3))
    found = native.prepare_frame(picture, RGB24, 146, 128, 128)
    assert (found == picture[9:137, 36:164].transpose(2, 0, 1)).all()


def test_instruction_sets_agree_bit_for_bit(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = random_picture(0, (517, 733, 3))
    found = native.prepare_frame(picture, RGB24, 146, 127, 129)
    monkeypatch.setenv("VLJ_ISA", "generic")
    assert (found == native.prepare_frame(picture, RGB24, 146, 127, 129)).all()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"pixel_format": 9}, "VLJ_E_FRAME_FORMAT", "frame.format is 9"),
        ({"stride": 29}, "VLJ_E_ARGUMENT", "expected at least 30"),
        ({"short_side": 7}, "VLJ_E_ARGUMENT", "resize_short_side is 7"),
        ({"width": 40}, "VLJ_E_FRAME_SIZE", "becomes 17 x 12"),
        ({"height": 0}, "VLJ_E_ARGUMENT", "window is 8 x 0"),
    ],
)
def test_bad_frames(change: dict[str, int], status: str, words: str) -> None:
    arguments = {
        "pixel_format": RGB24,
        "short_side": 12,
        "height": 8,
        "width": 8,
        "stride": 30,
    } | change
    with pytest.raises(native.NativeError, match=words) as caught:
        native.prepare_frame(np.zeros((7, 10, 3), np.uint8), **arguments)
    assert caught.value.status == status
