"""Where calibration windows come from: sprite world, clips and folders, or a .npy of windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import world
from ..export.errors import ExportError
from ..runtime.description import ModelDescription
from ..runtime.errors import SourceError
from ..runtime.frames import Pixels, make_window
from ..runtime.sources import PICTURE_SUFFIXES, open_source

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
WORLD = "world"
# Fewer windows than this give ranges that later clips will leave.
ENOUGH_WINDOWS = 16
# One window in so many straddles a change of scene, as windows of a stream do.
_STRADDLING = 4


class Windows:
    """Windows uint8 [T,3,H,W] in a fixed order, each with a text that tells it ("" if unknown).

    `fingerprint` changes with anything that changes the windows, for resuming.
    """

    def __init__(self, name: str, about: ModelDescription) -> None:
        self.name = name
        self.about = about
        self.shape = (about.frames, 3, about.height, about.width)

    @property
    def count(self) -> int:
        """How many windows there are at most."""
        raise NotImplementedError

    @property
    def facts(self) -> str:
        """What the windows depend on."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """Hex digest of `facts` and the window's size."""
        return hashlib.sha256(f"{self.shape} {self.about.fps} {self.facts}".encode()).hexdigest()

    def __iter__(self) -> Iterator[tuple[Pixels, str]]:
        raise NotImplementedError


class WorldWindows(Windows):
    """Sprite world clips of the training split, none of which judging sees."""

    def __init__(self, about: ModelDescription, count: int, seed: int, version: int = 1) -> None:
        super().__init__("sprite world", about)
        self._count, self._seed, self._version = count, seed, version
        if about.height != about.width:
            raise ExportError(
                f"sprite world draws squares, the bundle wants {about.height}x{about.width}",
                "calibrate on clips",
            )

    @property
    def count(self) -> int:
        """As many as were asked for."""
        return self._count

    @property
    def facts(self) -> str:
        """Seed, number and version."""
        version = "" if self._version == 1 else f" version {self._version}"
        return f"world {self._seed} {self._count}{version}"

    def __iter__(self) -> Iterator[tuple[Pixels, str]]:
        about = self.about
        config = world.WorldConfig.of(
            self._version, size=about.height, frames=about.frames, fps=about.fps
        )
        for i in range(self._count):
            straddles = i % _STRADDLING == _STRADDLING - 1
            sample = world.sample_stream_clip if straddles else world.sample_clip
            clip = sample(self._seed, i, config, split="train")
            yield np.ascontiguousarray(clip.frames.transpose(0, 3, 1, 2)), clip.caption


class ClipWindows(Windows):
    """Windows of videos and picture folders, at the bundle's frame rate, spread over the clips."""

    def __init__(self, about: ModelDescription, clips: Sequence[Path], count: int) -> None:
        super().__init__(f"{len(clips)} clips", about)
        self._clips, self._count = list(clips), count
        # The last clips may get one window less.
        self._each = -(-count // len(self._clips))

    @property
    def count(self) -> int:
        """At most; short clips give fewer."""
        return self._count

    @property
    def facts(self) -> str:
        """Files, their sizes and times."""
        told = [(str(c), (stat := c.stat()).st_size, stat.st_mtime_ns) for c in sorted(self._clips)]
        return f"clips {self._count} {told}"

    def __iter__(self) -> Iterator[tuple[Pixels, str]]:
        given = 0
        for clip in self._clips:
            for window in self._windows(clip):
                if given == self._count:
                    return
                given += 1
                yield window, ""

    def _windows(self, clip: Path) -> Iterator[Pixels]:
        about = self.about
        source = open_source(clip, folder_rate=about.fps)
        frames: list[npt.NDArray[Any]] = []
        due_ns: float | None = None
        done = 0
        try:
            for frame in source:
                if due_ns is not None and frame.timestamp_ns < due_ns:
                    continue
                start = frame.timestamp_ns if due_ns is None else due_ns
                due_ns = max(start + 1e9 / about.fps, frame.timestamp_ns)
                frames.append(frame.pixels)
                if len(frames) == about.frames:
                    yield self._window(frames)
                    frames, done = [], done + 1
                    if done == self._each:
                        return
            if frames and not done:  # shorter than a window: its pictures, repeated evenly
                yield self._window(frames)
        finally:
            source.close()

    def _window(self, frames: Sequence[Pixels]) -> Pixels:
        a = self.about
        return make_window(frames, a.frames, a.height, a.width, a.resize_short_side, "bgr")


class StoredWindows(Windows):
    """A .npy of prepared windows, uint8 [n,T,3,H,W], read through a memory map."""

    def __init__(self, about: ModelDescription, path: Path, count: int) -> None:
        super().__init__(path.name, about)
        try:
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ExportError(f"{path}: not a .npy of windows", "numpy.save writes one") from error
        found = list(self._array.shape)
        if self._array.dtype != np.uint8 or tuple(found[1:]) != self.shape:
            wanted = ", ".join(map(str, ("n", *self.shape)))
            raise ExportError(
                f"{path}: holds {self._array.dtype} {found}, this bundle takes uint8 [{wanted}]",
                "prepare the windows for this bundle",
            )
        self._path, self._count = path, min(count, len(self._array))

    @property
    def count(self) -> int:
        """As many as are stored, or were asked for."""
        return self._count

    @property
    def facts(self) -> str:
        """The file."""
        stat = self._path.stat()
        return f"stored {self._path} {stat.st_size} {stat.st_mtime_ns} {self._count}"

    def __iter__(self) -> Iterator[tuple[Pixels, str]]:
        for i in range(self._count):
            yield np.ascontiguousarray(self._array[i]), ""


def open_windows(
    place: str, about: ModelDescription, count: int, seed: int = 7, version: int = 1
) -> Windows:
    """`world`, a video, a folder of videos, a folder of pictures, or a .npy of windows.

    `count`: windows at most; `version`: of sprite world. ExportError where there is none.
    """
    if place == WORLD:
        return WorldWindows(about, count, seed, version)
    path = Path(place)
    if path.suffix == ".npy" and path.is_file():
        stored = StoredWindows(about, path, count)
        return _not_empty(stored, place)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; name clips, or `world`")
    return _not_empty(ClipWindows(about, find_clips(path), count), place)


def find_clips(path: Path) -> list[Path]:
    """A file, the videos of a folder, or a folder of pictures as one clip. ExportError if none."""
    if path.is_file():
        return [path]
    files = sorted(path.iterdir())
    clips = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if not clips and any(file.suffix.lower() in PICTURE_SUFFIXES for file in files):
        return [path]
    if not clips:
        kinds = " ".join(sorted(VIDEO_SUFFIXES))
        raise ExportError(f"{path}: the folder holds no clips ({kinds}) and no pictures")
    return clips


def _not_empty(windows: Windows, place: str) -> Windows:
    if windows.count == 0:
        raise ExportError(f"{place}: no windows to calibrate on", "give at least one clip")
    return windows
