"""On PYTHONPATH, this makes camera 7 give 24 frames and go away (test_bad_input.py)."""

import cv2
import numpy as np

_VideoCapture = cv2.VideoCapture


class FakeCamera:
    frames = 0

    def isOpened(self):
        return True

    def read(self):
        self.frames += 1
        if self.frames > 24:
            return False, None
        return True, np.full((48, 64, 3), 10 * self.frames, np.uint8)

    def get(self, name):
        return 0.0

    def release(self):
        pass


def open_capture(place, *arguments):
    return FakeCamera() if place == 7 else _VideoCapture(place, *arguments)


cv2.VideoCapture = open_capture
