"""Batches drawn by worker processes are those that the caller would draw."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import cv2
import numpy as np
import torch
from vljepa_edge import world
from vljepa_edge.model.data import WorldBatches, batches

cv2.setNumThreads(4)
cv2.GaussianBlur(np.zeros((2048, 2048, 3), np.uint8), (0, 0), 9)  # starts its threads
drawn = WorldBatches(world.WorldConfig.of(2), "video", batch=2, seed=3, steps=3)
here = list(batches(drawn, 1, workers=0))
cv2.setNumThreads(4)
cv2.GaussianBlur(np.zeros((2048, 2048, 3), np.uint8), (0, 0), 9)
ahead = list(batches(drawn, 1, workers=1))
assert len(here) == len(ahead) == 2
for one, other in zip(here, ahead, strict=True):
    assert torch.equal(one.frames, other.frames) and one.texts == other.texts
print("same")
"""


def test_workers_after_opencv_had_threads() -> None:
    """A forked worker used to wait for ever for threads of its parent's OpenCV."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert ran.stdout == "same\n", ran.stderr
