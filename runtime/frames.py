"""Pictures as numpy arrays, as the core takes them: single frames and whole windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError, check

Pixels = npt.NDArray[np.uint8]
PixelFormat = Literal["rgb", "bgr", "gray"]

_FORMATS: dict[str, int] = {"rgb": lib.VLJ_RGB24, "bgr": lib.VLJ_BGR24, "gray": lib.VLJ_GRAY8}


class FrameStruct:
    """One reusable `vlj_frame`; it keeps the picture that it points at alive."""

    def __init__(self) -> None:
        self.struct: Any = ffi.new("vlj_frame *")
        self.struct.struct_size = ffi.sizeof("vlj_frame")
        self._pixels: Any = None

    def set(self, pixels: Pixels, timestamp_ns: int, pixel_format: PixelFormat) -> Any:
        """Pixels uint8 [H, W, 3], or [H, W] for gray; rows may be padded, pixels not."""
        pixels = np.asarray(pixels)
        wanted = 2 if pixel_format == "gray" else 3
        if (
            pixels.dtype != np.uint8
            or pixels.ndim != wanted
            or (wanted == 3 and pixels.shape[2] != 3)
        ):
            shape = "[height, width]" if wanted == 2 else "[height, width, 3]"
            raise ArgumentError(
                f"a {pixel_format} picture is uint8 {shape}, "
                f"this one is {pixels.dtype} {list(pixels.shape)}"
            )
        inner_packed = pixels.strides[1] == (1 if wanted == 2 else 3) and pixels.strides[-1] == 1
        if not inner_packed or pixels.strides[0] < 0:
            pixels = np.ascontiguousarray(pixels)
        self._pixels = pixels
        frame = self.struct
        frame.format = _FORMATS[pixel_format]
        frame.height, frame.width = pixels.shape[:2]
        frame.planes[0] = ffi.cast("uint8_t *", pixels.ctypes.data)
        frame.stride_bytes[0] = pixels.strides[0]
        frame.timestamp_ns = timestamp_ns
        return frame


def uniform_indices(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` frames spread evenly over `count`; repeats when there are too few."""
    return [min(count - 1, int((i + 0.5) * count / wanted)) for i in range(wanted)]


def make_window(
    pictures: Sequence[Pixels] | Pixels,
    frames: int,
    height: int,
    width: int,
    resize_short_side: int,
    pixel_format: PixelFormat = "rgb",
) -> Pixels:
    """Any number of pictures -> one window uint8 [frames, 3, height, width], taken evenly.

    One picture is repeated, as in the paper.
    """
    if len(pictures) == 0:
        raise ArgumentError("there is no picture to look at: frames is empty")
    window = np.empty((frames, 3, height, width), np.uint8)
    frame = FrameStruct()
    previous = -1
    for i, index in enumerate(uniform_indices(len(pictures), frames)):
        if index == previous:
            window[i] = window[i - 1]
            continue
        previous = index
        struct = frame.set(pictures[index], 0, pixel_format)
        planar = ffi.cast("uint8_t *", window[i].ctypes.data)
        check(
            lib.vlj_prepare_frame(
                struct, resize_short_side, height, width, planar, window[i].nbytes
            )
        )
    return window
