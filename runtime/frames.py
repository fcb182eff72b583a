"""Pictures as numpy arrays, as the core takes them: single frames and whole windows.

A picture is uint8: [H, W, 3] for "rgb" and "bgr", [H, W] for "gray". "nv12" and "i420" are either
one array [H * 3/2, W] with the chroma behind the luma, as OpenCV, V4L2 and GStreamer give them
(even sizes), or a tuple of planes, which may have padded rows: (luma [H, W], chroma [h, w, 2]), or
(luma [H, W], u [h, w], v [h, w]), with h and w half of H and W, rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.errors import ArgumentError, check

Pixels = npt.NDArray[np.uint8]
Picture = Pixels | tuple[Pixels, ...]
PixelFormat = Literal["rgb", "bgr", "gray", "nv12", "i420"]
# What luma and chroma mean; "full": luma 0-255. The first is OpenCV's.
YuvStandard = Literal["bt601", "bt709", "bt601-full", "bt709-full"]

_FORMATS: dict[str, int] = {
    "rgb": lib.VLJ_RGB24,
    "bgr": lib.VLJ_BGR24,
    "gray": lib.VLJ_GRAY8,
    "nv12": lib.VLJ_NV12,
    "i420": lib.VLJ_I420,
}
YUV_STANDARDS: dict[str, int] = {
    "bt601": lib.VLJ_BT601,
    "bt709": lib.VLJ_BT709,
    "bt601-full": lib.VLJ_BT601_FULL,
    "bt709-full": lib.VLJ_BT709_FULL,
}


class FrameStruct:
    """One reusable `vlj_frame`; it keeps the picture that it points at alive."""

    def __init__(self) -> None:
        self.struct: Any = ffi.new("vlj_frame *")
        self.struct.struct_size = ffi.sizeof("vlj_frame")
        self._planes: Any = None

    def set(
        self,
        picture: Picture,
        timestamp_ns: int,
        pixel_format: PixelFormat,
        yuv: YuvStandard = "bt601",
    ) -> Any:
        """Points at a picture; rows may be padded, pixels not. ArgumentError for another shape."""
        if pixel_format not in _FORMATS:
            raise ArgumentError(f"{pixel_format!r} is not one of {', '.join(_FORMATS)}")
        if yuv not in YUV_STANDARDS:
            raise ArgumentError(f"yuv {yuv!r} is not one of {', '.join(YUV_STANDARDS)}")
        planes = _planes_of(picture, pixel_format)
        self._planes = planes = [_rows_packed(plane) for plane in planes]
        frame = self.struct
        frame.format = _FORMATS[pixel_format]
        frame.yuv = YUV_STANDARDS[yuv]
        frame.height, frame.width = planes[0].shape[:2]
        for i, plane in enumerate(planes):
            frame.planes[i] = ffi.cast("uint8_t *", plane.ctypes.data)
            frame.stride_bytes[i] = plane.strides[0]
        frame.timestamp_ns = timestamp_ns
        return frame


def _rows_packed(plane: Pixels) -> Pixels:
    """The plane, copied where the values of a row don't lie side by side."""
    inner = plane.strides[-1] == 1 and (plane.ndim == 2 or plane.strides[1] == plane.shape[2])
    return plane if inner and plane.strides[0] > 0 else np.ascontiguousarray(plane)


def _planes_of(picture: Picture, pixel_format: PixelFormat) -> list[Pixels]:
    if pixel_format in ("nv12", "i420"):
        return _yuv_planes(picture, pixel_format)
    pixels = np.asarray(picture)
    shape = "[height, width]" if pixel_format == "gray" else "[height, width, 3]"
    wanted = pixels.ndim == 2 if pixel_format == "gray" else pixels.shape[2:] == (3,)
    if pixels.dtype != np.uint8 or not wanted:
        raise _misfit(pixel_format, shape, [pixels])
    return [pixels]


def _yuv_planes(picture: Picture, pixel_format: PixelFormat) -> list[Pixels]:
    if isinstance(picture, tuple):
        planes = [np.asarray(plane) for plane in picture]
        if planes and planes[0].ndim == 2:
            height, width = planes[0].shape
            half = ((height + 1) // 2, (width + 1) // 2)
            others = [(*half, 2)] if pixel_format == "nv12" else [half, half]
            right = all(plane.dtype == np.uint8 for plane in planes)
            if right and [plane.shape for plane in planes[1:]] == others:
                return planes
        wanted = "luma [H, W], chroma [h, w, 2]" if pixel_format == "nv12" else "luma, u, v"
        raise _misfit(pixel_format, f"({wanted}) with h, w half of H, W rounded up", planes)
    pixels = np.asarray(picture)
    rows, width = pixels.shape if pixels.ndim == 2 else (0, 0)
    if pixels.dtype != np.uint8 or rows == 0 or rows % 3 or width % 2:
        raise _misfit(pixel_format, "[height * 3/2, width] of even sizes, or planes", [pixels])
    height = rows // 3 * 2
    if pixel_format == "nv12":
        return [pixels[:height], pixels[height:].reshape(height // 2, width // 2, 2)]
    chroma = np.ascontiguousarray(pixels[height:]).reshape(2, height // 2, width // 2)
    return [pixels[:height], chroma[0], chroma[1]]


def _misfit(pixel_format: str, wanted: str, found: Sequence[npt.NDArray[Any]]) -> ArgumentError:
    has = ", ".join(f"{plane.dtype} {list(plane.shape)}" for plane in found)
    return ArgumentError(f"a {pixel_format} picture is uint8 {wanted}, this one is {has}")


def uniform_indices(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` frames spread evenly over `count`; repeats when there are too few."""
    return [min(count - 1, int((i + 0.5) * count / wanted)) for i in range(wanted)]


def make_window(
    pictures: Sequence[Picture] | Pixels,
    frames: int,
    height: int,
    width: int,
    resize_short_side: int,
    pixel_format: PixelFormat = "rgb",
    yuv: YuvStandard = "bt601",
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
        struct = frame.set(pictures[index], 0, pixel_format, yuv)
        planar = ffi.cast("uint8_t *", window[i].ctypes.data)
        check(
            lib.vlj_prepare_frame(
                struct, resize_short_side, height, width, planar, window[i].nbytes
            )
        )
    return window


def prepare_floats(
    picture: Picture,
    height: int,
    width: int,
    resize_short_side: int,
    pixel_format: PixelFormat = "rgb",
    *,
    yuv: YuvStandard = "bt601",
    half: bool = False,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    deviation: Sequence[float] = (1.0, 1.0, 1.0),
) -> npt.NDArray[np.float32] | npt.NDArray[np.float16]:
    """One picture as planes [3, height, width] of (value / 255 - mean) / deviation, RGB.

    float32, or float16 with `half`. For engines of the caller's own: a bundle's take bytes.
    """
    if len(mean) != 3 or len(deviation) != 3:
        raise ArgumentError(
            f"mean and deviation have {len(mean)} and {len(deviation)} values, not 3"
        )
    planar = np.empty((3, height, width), np.float16 if half else np.float32)
    check(
        lib.vlj_prepare_frame_floats(
            FrameStruct().set(picture, 0, pixel_format, yuv),
            resize_short_side,
            height,
            width,
            lib.VLJ_FLOAT16 if half else lib.VLJ_FLOAT32,
            ffi.new("float[3]", list(mean)),
            ffi.new("float[3]", list(deviation)),
            ffi.cast("void *", planar.ctypes.data),
            planar.nbytes,
        )
    )
    return planar
