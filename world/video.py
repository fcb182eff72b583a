"""Writes streams as video files with their timeline beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from .render import Image
from .streams import Stream


def write_mp4(path: Path, frames: Iterable[Image], fps: float, size: tuple[int, int]) -> int:
    """Write RGB uint8 [H, W, 3] frames as MPEG-4 video; return how many.

    `size` is (height, width) in pixels. Raises `OSError` where the file cannot be written and
    `ValueError` for a frame of another size.
    """
    height, width = size
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(fps), (width, height)
    )
    if not writer.isOpened():
        raise OSError(f"cannot write {path}: no such folder, or OpenCV lacks an MPEG-4 encoder")
    count = 0
    try:
        for frame in frames:
            if frame.shape != (height, width, 3):
                raise ValueError(f"frame {count} is {frame.shape}, expected {(height, width, 3)}")
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
            count += 1
    finally:
        writer.release()
    return count


def write_timeline(path: Path, stream: Stream) -> None:
    """Write a stream's annotations as JSON: {"seed", "duration_s", "annotations": [...]}; see
    `Stream.timeline` for one annotation's fields."""
    content = {
        "seed": stream.seed,
        "duration_s": stream.duration_s,
        "annotations": stream.timeline(),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
