"""A contact sheet: one row per clip, its frames side by side under the caption."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from .clips import Clip
from .render import Image

_TEXT_PX = 18


def contact_sheet(clips: Iterable[Clip], columns: int = 2) -> Image:
    """Lay clips of one shape out for the eye, `columns` beside each other; RGB uint8 [H, W, 3]."""
    strips = []
    for clip in clips:
        strip = np.concatenate(list(clip.frames), axis=1)
        label = np.full((_TEXT_PX, strip.shape[1], 3), 255, np.uint8)
        cv2.putText(label, clip.caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1)
        strips.append(np.pad(np.concatenate([label, strip]), ((0, 4), (0, 8), (0, 0))))
    if not strips:
        raise ValueError("no clips to lay out")
    strips += [np.zeros_like(strips[0])] * (-len(strips) % columns)
    rows = [np.concatenate(strips[i : i + columns], axis=1) for i in range(0, len(strips), columns)]
    return np.concatenate(rows)
