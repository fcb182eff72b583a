"""A source's pictures as viewers, questions and the memory want them: BGR arrays and JPEG."""

from __future__ import annotations

from typing import Any

import numpy as np
from vljepa_edge.runtime.frames import Pixels


def as_bgr(picture: Any, pixel_format: str) -> Pixels:
    """A picture of a source's format -> BGR uint8 [H, W, 3]. YUV is read as BT.601, for looking."""
    import cv2

    if pixel_format == "bgr":
        return np.asarray(picture, np.uint8)
    if isinstance(picture, tuple):
        planes = [np.ascontiguousarray(plane) for plane in picture]
        width = planes[0].shape[1]
        if pixel_format == "i420":
            flat = np.concatenate([plane.reshape(-1) for plane in planes])
            picture = flat.reshape(-1, width)
        else:
            picture = np.concatenate([planes[0], planes[1].reshape(-1, width)])
    codes = {
        "rgb": cv2.COLOR_RGB2BGR,
        "gray": cv2.COLOR_GRAY2BGR,
        "nv12": cv2.COLOR_YUV2BGR_NV12,
        "i420": cv2.COLOR_YUV2BGR_I420,
    }
    return np.asarray(cv2.cvtColor(picture, codes[pixel_format]), np.uint8)


def jpeg(pixels: Pixels, longest_side: int, quality: int = 75) -> bytes | None:
    """A BGR picture uint8 [H, W, 3], made smaller where it is larger. None: it cannot be coded."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    coded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes() if coded else None
