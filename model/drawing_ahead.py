"""Batches drawn ahead by worker processes, one step each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import cv2
from torch.utils.data import DataLoader, Dataset

Drawn = TypeVar("Drawn")


def drawn_ahead(dataset: Dataset[Drawn], steps: range, workers: int) -> Iterator[Drawn]:
    """The dataset's items of these steps, in order; `workers` 0: drawn by the caller."""
    # Workers are forked, and OpenCV in one waits for ever for threads that its parent had started:
    # the parent lets go of them first. One thread is what each worker draws with, too.
    cv2.setNumThreads(1)
    loader: DataLoader[Drawn] = DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
    )
    return iter(loader)
