"""NV12, I420 and float planes from Python: camera buffers as they lie, and a stream of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from vljepa_edge.runtime.errors import ArgumentError
from vljepa_edge.runtime.events import EmbeddingEvent
from vljepa_edge.runtime.frames import make_window, prepare_floats
from vljepa_edge.runtime.model import load
from vljepa_edge.runtime.options import StreamOptions
from vljepa_edge.runtime.sources import IterableSource

HEIGHT, WIDTH = 60, 88


def scene(seed: int) -> np.ndarray:
    """RGB uint8 [HEIGHT, WIDTH, 3], smooth, so that subsampled chroma loses little."""
    small = np.random.default_rng(seed).integers(40, 216, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def i420(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)


def nv12(picture: np.ndarray) -> np.ndarray:
    packed = i420(picture)
    chroma = packed[HEIGHT:].reshape(2, -1)
    return np.vstack([packed[:HEIGHT], chroma.T.reshape(HEIGHT // 2, WIDTH)])


def window(picture: object, pixel_format: str, **options: str) -> np.ndarray:
    return make_window([picture], 2, 32, 32, 36, pixel_format, **options)[0]  # type: ignore[arg-type, list-item]


def test_packed_nv12_and_i420_are_the_rgb_picture() -> None:
    picture = scene(1)
    expected = window(cv2.cvtColor(i420(picture), cv2.COLOR_YUV2RGB_I420), "rgb").astype(int)
    for packed, pixel_format in ((i420(picture), "i420"), (nv12(picture), "nv12")):
        assert packed.shape == (HEIGHT * 3 // 2, WIDTH)
        assert np.abs(window(packed, pixel_format) - expected).max() <= 2


def test_planes_with_padded_rows_are_the_packed_picture() -> None:
    packed = nv12(scene(2))
    padded = np.full((HEIGHT * 3 // 2, WIDTH + 40), 99, np.uint8)
    padded[:, :WIDTH] = packed
    luma = padded[:HEIGHT, :WIDTH]
    chroma = padded[HEIGHT:, :WIDTH]
    pairs = np.lib.stride_tricks.as_strided(
        chroma, (HEIGHT // 2, WIDTH // 2, 2), (chroma.strides[0], 2, 1)
    )
    expected = window(packed, "nv12")
    np.testing.assert_array_equal(window((luma, pairs), "nv12"), expected)
    split = (luma, pairs[..., 0], pairs[..., 1])  # every second byte: copied
    np.testing.assert_array_equal(window(split, "i420"), expected)


def test_the_standard_counts() -> None:
    packed = nv12(scene(3))
    windows = [window(packed, "nv12", yuv=name) for name in ("bt601", "bt709", "bt601-full")]
    assert all((windows[0] != other).mean() > 0.5 for other in windows[1:])


def test_a_stream_of_nv12_is_the_stream_of_its_rgb() -> None:
    """End to end: the embeddings of a camera's buffers, against those of OpenCV's conversion."""
    frames = [nv12(scene(i // 8)) for i in range(32)]
    bgr = [cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_NV12) for frame in frames]

    def run(pictures: list[np.ndarray], pixel_format: str) -> np.ndarray:
        timed = ((picture, i * 125_000_000) for i, picture in enumerate(pictures))
        source = IterableSource(timed, pixel_format=pixel_format)  # type: ignore[arg-type]
        options = StreamOptions(emit_embeddings=True, text="none")
        with load(threads=1) as model, model.stream(source, options=options) as stream:
            return np.stack([e.embedding for e in stream if isinstance(e, EmbeddingEvent)])

    ours, reference = run(frames, "nv12"), run(bgr, "bgr")
    assert len(ours) == len(reference) > 3
    assert (ours * reference).sum(1).min() > 0.999
    assert (ours[0] * ours[-1]).sum() < 0.999  # what is seen does change


def test_float_planes_are_the_bytes_normalised() -> None:
    packed = nv12(scene(4))
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = window(packed, "nv12").astype(np.float64) / 255
    expected = (expected - np.reshape(mean, (3, 1, 1))) / np.reshape(deviation, (3, 1, 1))
    floats = prepare_floats(packed, 32, 32, 36, "nv12", mean=mean, deviation=deviation)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, expected, atol=1e-6)
    halves = prepare_floats(packed, 32, 32, 36, "nv12", half=True, mean=mean, deviation=deviation)
    np.testing.assert_array_equal(halves, floats.astype(np.float16))
    tiny = prepare_floats(packed, 32, 32, 36, "nv12", half=True, deviation=(3e4, 1e-5, 1.0))
    wide = prepare_floats(packed, 32, 32, 36, "nv12", deviation=(3e4, 1e-5, 1.0))
    with np.errstate(over="ignore"):  # subnormal halves, and infinity
        np.testing.assert_array_equal(tiny, wide.astype(np.float16))


@pytest.mark.parametrize(
    ("picture", "pixel_format", "message"),
    [
        (np.zeros((61, 88), np.uint8), "nv12", r"\[height \* 3/2, width\]"),
        (np.zeros((90, 87), np.uint8), "i420", "even sizes"),
        (np.zeros((90, 88, 3), np.uint8), "nv12", "this one is uint8"),
        (np.zeros((90, 88), np.float32), "nv12", "float32"),
        ((np.zeros((60, 88), np.uint8),) * 2, "nv12", r"chroma \[h, w, 2\]"),
        ((np.zeros((60, 88), np.uint8),) * 3, "i420", "half of H, W"),
        ((), "i420", "luma, u, v"),
        (np.zeros((60, 88), np.uint8), "rgb", r"\[height, width, 3\]"),
        (np.zeros((60, 88, 3), np.uint8), "yuyv", "is not one of rgb"),
    ],
)
def test_refusals(picture: object, pixel_format: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        window(picture, pixel_format)


def test_an_unknown_standard_is_refused() -> None:
    with pytest.raises(ArgumentError, match="bt2020"):
        window(nv12(scene(5)), "nv12", yuv="bt2020")
