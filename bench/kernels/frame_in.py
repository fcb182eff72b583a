"""Frame in: 1280 x 720 NV12 -> planar RGB 256 x 256, against OpenCV on one thread."""

from __future__ import annotations

import ctypes
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .turns import take_turns

WIDTH, HEIGHT, SHORT_SIDE, CROP = 1280, 720, 292, 256
NV12 = 3
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Frame(ctypes.Structure):
    """vlj_frame"""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("format", ctypes.c_int),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("planes", ctypes.c_void_p * 3),
        ("stride_bytes", ctypes.c_size_t * 3),
        ("timestamp_ns", ctypes.c_int64),
        ("yuv", ctypes.c_int),
    ]


def measure(library: ctypes.CDLL, rounds: int) -> dict[str, Any]:
    """Ours makes its tables once, as a stream does. OpenCV gets its buffers where it takes them."""
    cv2.setNumThreads(1)
    picture = np.random.default_rng(0).integers(16, 236, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    host = ctypes.create_string_buffer(4096)
    plan = ctypes.c_void_p()
    assert library.vlj_host_init(host, None) == 0
    sizes = (WIDTH, HEIGHT, SHORT_SIDE, CROP, CROP)
    assert library.vlj_preprocessor_open(host, *sizes, ctypes.byref(plan)) == 0
    frame = Frame(ctypes.sizeof(Frame), NV12, WIDTH, HEIGHT)
    frame.planes[0] = picture.ctypes.data
    frame.planes[1] = picture.ctypes.data + WIDTH * HEIGHT
    planar = np.empty((3, CROP, CROP), np.uint8)
    run = library.vlj_preprocessor_run
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]

    def ours() -> None:
        assert run(plan, ctypes.addressof(frame), planar.ctypes.data) == 0

    wide = SHORT_SIDE * WIDTH // HEIGHT
    left, top = round((wide - CROP) / 2), round((SHORT_SIDE - CROP) / 2)
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    small = np.empty((SHORT_SIDE, wide, 3), np.uint8)
    mean, deviation = (np.array(v, np.float32) for v in (MEAN, DEVIATION))

    def converted(interpolation: int) -> NDArray[np.uint8]:
        cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_NV12, dst=rgb)
        cv2.resize(rgb, (wide, SHORT_SIDE), dst=small, interpolation=interpolation)
        return small[top : top + CROP, left : left + CROP]

    def usual() -> NDArray[np.float32]:
        values = converted(cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(((values - mean) / deviation).transpose(2, 0, 1))

    def fastest() -> NDArray[np.uint8]:
        """uint8, no normalisation, no antialias: less than ours does; planes by cv2.split."""
        return np.stack(cv2.split(converted(cv2.INTER_LINEAR)))

    def resized_first() -> NDArray[np.uint8]:
        """Planes resized by themselves and coloured small: OpenCV's fewest bytes."""
        luma = cv2.resize(picture[:HEIGHT], (wide & ~1, SHORT_SIDE), interpolation=cv2.INTER_LINEAR)
        chroma = picture[HEIGHT:].reshape(HEIGHT // 2, WIDTH // 2, 2)
        half = (wide // 2, SHORT_SIDE // 2)
        chroma = cv2.resize(chroma, half, interpolation=cv2.INTER_LINEAR)
        colours = cv2.cvtColorTwoPlane(luma, chroma, cv2.COLOR_YUV2RGB_NV12)
        return np.stack(cv2.split(colours[top : top + CROP, left : left + CROP]))

    def antialiased() -> NDArray[np.uint8]:
        """INTER_AREA: the quality that is nearest to ours."""
        return np.stack(cv2.split(converted(cv2.INTER_AREA)))

    contenders = {
        "ours": ours,
        "cvtColor + resize + normalise + transpose": usual,
        "cvtColor + resize, uint8": fastest,
        "resize of planes + cvtColor, uint8": resized_first,
        "cvtColor + INTER_AREA, uint8": antialiased,
    }
    what = f"NV12 {WIDTH}x{HEIGHT} to planar RGB {CROP}x{CROP}, OpenCV {cv2.__version__}"
    result = take_turns(what, contenders, rounds, repeats=5).to_json("ours")
    library.vlj_preprocessor_close(plan)
    return result
