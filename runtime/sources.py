"""Where frames come from: a video file, a folder of pictures, a camera, or any iterable.

A source is iterated once and gives `SourceFrame`s. What is wrong with it is said in one sentence
that names it: as a SourceError when no more frames can come, as a notice when the frames that came
are good all the same.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from vljepa_edge.runtime.errors import SourceError
from vljepa_edge.runtime.frames import PixelFormat, Pixels, YuvStandard

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
TIMESTAMPS_FILE = "timestamps.txt"


class SourceFrame(NamedTuple):
    """One picture of its source's pixel format, its time, and its name for messages."""

    pixels: Pixels
    timestamp_ns: int
    name: str


class Source:
    """Base of all sources. `notices` grows while it is iterated; `live` sources pace themselves.

    Pictures are BGR uint8 [H, W, 3] as OpenCV gives them, unless `pixel_format` says otherwise.
    """

    live = False
    pixel_format: PixelFormat = "bgr"
    yuv: YuvStandard = "bt601"

    def __init__(self, name: str, frame_count: int | None = None) -> None:
        self.name = name
        self.frame_count = frame_count  # as the container tells; None: unknown
        self.notices: list[str] = []

    def __iter__(self) -> Iterator[SourceFrame]:
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the file or device."""


class IterableSource(Source):
    """Pictures that the caller makes: an iterable of (uint8 array, timestamp_ns).

    `vljepa_edge.runtime.frames` tells the shape of each pixel format: [H * 3/2, W] for NV12.
    """

    def __init__(
        self,
        frames: Iterable[tuple[Pixels, int]],
        name: str = "frames",
        pixel_format: PixelFormat = "bgr",
        yuv: YuvStandard = "bt601",
    ) -> None:
        super().__init__(name)
        self._frames = frames
        self.pixel_format = pixel_format
        self.yuv = yuv

    def __iter__(self) -> Iterator[SourceFrame]:
        for i, (pixels, timestamp_ns) in enumerate(self._frames):
            yield SourceFrame(pixels, int(timestamp_ns), f"frame {i}")


class VideoSource(Source):
    """A video file that OpenCV opens. Timestamps are the container's.

    OpenCV scales all frames to the first one's size: a change inside a file is not seen here.
    """

    def __init__(self, path: Path) -> None:
        check_readable(path)
        self._capture = _open_capture(str(path))
        if not self._capture.isOpened():
            raise SourceError(
                f"{path}: not a video that OpenCV can open, or one whose index is missing "
                "(a recording that was cut off); convert it with ffmpeg and try again"
            )
        import cv2

        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        super().__init__(str(path), int(count) if 0 < count < 1e9 else None)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(fps) if 0 < fps < 1000 else 25.0

    def __iter__(self) -> Iterator[SourceFrame]:
        import cv2

        frames = 0
        has_timestamps = True
        while True:
            taken, pixels = self._capture.read()
            if not taken or pixels is None:
                break
            at_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if frames == 1 and at_ms <= 0:
                has_timestamps = False  # a raw stream: count frames at its nominal rate
            at_ns = round(at_ms * 1e6) if has_timestamps else round(frames * 1e9 / self.fps)
            yield SourceFrame(pixels, at_ns, f"frame {frames}")
            frames += 1
        if frames == 0:
            raise SourceError(f"{self.name}: holds no frames that OpenCV can decode")
        # Containers without an index only estimate their frame count.
        if self.frame_count and frames < self.frame_count - max(2, self.frame_count // 100):
            self.notices.append(
                f"{self.name}: ends early: {frames} of {self.frame_count} frames could be decoded "
                "(truncated or damaged); what came before was used"
            )

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


class FolderSource(Source):
    """Pictures of a folder in natural order of their names.

    `timestamps.txt`, where there is one, gives times and order: a line `<nanoseconds> <file>` per
    picture. Without it pictures are `rate` a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._rate = rate
        try:
            self._pictures = self._listed(path) or [
                (None, file)
                for file in sorted(path.iterdir(), key=_natural_key)
                if file.suffix.lower() in PICTURE_SUFFIXES
            ]
        except SourceError:  # an OSError too
            raise
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
        if not self._pictures:
            kinds = " ".join(sorted(PICTURE_SUFFIXES))
            raise SourceError(f"{path}: the folder holds no pictures ({kinds})")
        super().__init__(str(path), len(self._pictures))

    @staticmethod
    def _listed(path: Path) -> list[tuple[int | None, Path]]:
        listing = path / TIMESTAMPS_FILE
        if not listing.exists():
            return []
        pictures: list[tuple[int | None, Path]] = []
        for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.fullmatch(r"\s*(-?\d+)\s+(\S.*?)\s*", line)
            if match is None:
                raise SourceError(
                    f"{listing}: line {number} is not `<nanoseconds> <file>`: {line!r}"
                )
            pictures.append((int(match[1]), path / match[2]))
        return pictures

    def __iter__(self) -> Iterator[SourceFrame]:
        import cv2

        for i, (listed_ns, file) in enumerate(self._pictures):
            check_readable(file)
            pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
            if pixels is None:
                raise SourceError(f"{file}: not a picture that OpenCV can read")
            timestamp_ns = round(i * 1e9 / self._rate) if listed_ns is None else listed_ns
            yield SourceFrame(pixels.astype(np.uint8, copy=False), timestamp_ns, file.name)


class CameraSource(Source):
    """A camera by index. Frames carry the time at which they came, and it never ends by itself."""

    live = True

    def __init__(self, index: int) -> None:
        super().__init__(f"camera {index}")
        self._capture = _open_capture(index)
        if not self._capture.isOpened():
            raise SourceError(
                f"{self.name}: cannot be opened; check /dev/video{index}, its permissions, "
                "and that no other program holds it"
            )

    def __iter__(self) -> Iterator[SourceFrame]:
        frames = 0
        while True:
            taken, pixels = self._capture.read()
            if not taken or pixels is None:
                raise SourceError(
                    f"{self.name}: gave no more frames after {frames}; is it still connected?"
                )
            yield SourceFrame(pixels, time.monotonic_ns(), f"frame {frames}")
            frames += 1

    def close(self) -> None:
        """Gives the device back."""
        self._capture.release()


class LimitedSource(Source):
    """The first `limit` frames of another source."""

    def __init__(self, source: Source, limit: int) -> None:
        count = source.frame_count
        super().__init__(source.name, min(count, limit) if count is not None else limit)
        self.live = source.live
        self.pixel_format = source.pixel_format
        self.yuv = source.yuv
        self.notices = source.notices
        self._source = source
        self._limit = limit

    def __iter__(self) -> Iterator[SourceFrame]:
        return islice(iter(self._source), self._limit)

    def close(self) -> None:
        """Closes the other source."""
        self._source.close()


def open_source(place: str | os.PathLike[str] | int, folder_rate: float = 8.0) -> Source:
    """A camera for a number, a folder of pictures for a directory, a video for any other path.

    `folder_rate` (pictures a second) is for folders without timestamps. Raises SourceError.
    """
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", str(place))
    path = Path(str(place))
    if camera and (isinstance(place, int) or str(place).startswith("/dev/") or not path.exists()):
        return CameraSource(int(camera[1]))
    if path.is_dir():
        return FolderSource(path, folder_rate)
    return VideoSource(path)


def check_readable(path: Path) -> None:
    """Raises SourceError for a file that is missing, unreadable or empty."""
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            return  # a pipe or device: opening it twice would take something from it
        path.open("rb").close()
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    if mode.st_size == 0:
        raise SourceError(f"{path}: the file is empty")


def _open_capture(place: str | int) -> Any:
    # FFmpeg's own messages would stand beside our one line. Read when OpenCV first opens a video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    import cv2

    return cv2.VideoCapture(place)


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """`frame2` before `frame10`."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", path.name)
    ]
