"""Batches drawn by worker processes are those that the caller would draw."""

from __future__ import annotations

import subprocess
import sys

# In a worker OpenCV changes its threads, as a dataset may: those that its parent had are not there.
PROGRAM = """
import cv2
import numpy as np
from torch.utils.data import Dataset
from vljepa_edge.model.drawing_ahead import drawn_ahead

PICTURE = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)

def blurred(step):
    return cv2.GaussianBlur(PICTURE, (0, 0), 3 + step)

class Blurred(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, step):
        cv2.setNumThreads(2)
        return blurred(step)

cv2.setNumThreads(4)
here = [blurred(step) for step in (1, 2)]  # starts its threads
for one, other in zip(here, drawn_ahead(Blurred(), range(1, 3), 1), strict=True):
    assert (one == np.asarray(other)).all()
print("same")
"""


def test_workers_after_opencv_had_threads() -> None:
    """A forked worker used to wait for ever for threads of its parent's OpenCV."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == "same\n", ran.stderr
